"""Celery entry points about credits. Delivering a message twice does the work once."""

from celery import shared_task


@shared_task(name="credits.replenish")
def replenish() -> None:
    """Every hour: grant every team the month it is in."""
    from credits import plans

    plans.replenish_all()


@shared_task(name="credits.expire")
def expire() -> None:
    """Every hour: write off what is left of grants that have ended. They could not be spent any more before, either."""
    from credits import services

    services.expire_due()


@shared_task(name="credits.notify")
def notify() -> None:
    """Every ten minutes: tell teams that run low or are about to lose credits."""
    from credits import notices

    notices.notify_all()


@shared_task(name="credits.audit")
def audit() -> None:
    """Every night: prove the ledger from its entries; an alarm names what does not agree."""
    from credits import services

    services.audit()
