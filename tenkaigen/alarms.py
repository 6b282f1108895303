"""Alarms: what an operator must hear about at night. An ERROR log, a counter and a mail to ADMINS, in one call."""

import logging

import structlog
from django.dispatch import Signal

rang = Signal()  # with `name`; whoever counts them listens
logger = structlog.get_logger("tenkaigen.alarms")


class OnlyAlarms(logging.Filter):
    """Let a record through to the mail handler only when it is an alarm or an unhandled request error."""

    def filter(self, record: logging.LogRecord) -> bool:
        return record.name in {"tenkaigen.alarms", "django.request"}


def ring(name: str, **facts: object) -> None:
    """Alarm about `name` (stable, snake case) with the facts somebody needs to act."""
    logger.error(name, **facts)
    rang.send_robust(sender=None, name=name)
