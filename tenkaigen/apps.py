"""Loads the start-up checks, and gives migrations the time they need."""

from django.apps import AppConfig
from django.db import connections
from django.db.models.signals import post_migrate, pre_migrate

TIME_LIMITS = ("idle_in_transaction_session_timeout", "statement_timeout")


class TenkaigenConfig(AppConfig):
    name = "tenkaigen"

    def ready(self) -> None:
        from tenkaigen import checks  # noqa: F401

        # Django sends it for apps with models only, and this one has none: so from whichever comes.
        pre_migrate.connect(lift_time_limits, dispatch_uid="tenkaigen.lift_time_limits")
        post_migrate.connect(set_time_limits, dispatch_uid="tenkaigen.set_time_limits")


def lift_time_limits(using: str, **kwargs: object) -> None:
    """Let this connection think and work as long as it takes: a large migration does both inside one transaction.

    How long it may wait for a lock stays as it is, so that a deploy does not stand in everybody's way.
    """
    with connections[using].cursor() as cursor:
        for name in TIME_LIMITS:
            cursor.execute(f"SET {name} = 0")


def set_time_limits(using: str, **kwargs: object) -> None:
    """Go back to the limits of every connection."""
    with connections[using].cursor() as cursor:
        for name in TIME_LIMITS:
            cursor.execute(f"RESET {name}")
