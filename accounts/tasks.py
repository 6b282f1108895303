"""Celery entry points of the accounts. Delivering a message twice does the work once."""

from celery import shared_task


@shared_task(name="accounts.clean_up")
def clean_up() -> None:
    """Every hour: delete what has been kept long enough."""
    from accounts import activity, services

    activity.delete_expired()
    services.erase_due()
