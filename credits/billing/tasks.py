"""Celery entry points of billing. Delivering a message twice does the work once."""

from celery import shared_task


def ring() -> None:
    """Tell a worker that the inbox has something. A lost bell costs a minute: beat rings, too."""
    work_inbox.delay()


@shared_task(name="credits.work_inbox")
def work_inbox() -> None:
    from credits.billing import inbox

    inbox.work_off()


@shared_task(name="credits.settle_years")
def settle_years() -> None:
    """Every hour: the months of paid years that have begun."""
    from credits.billing import client, follow
    from credits.clock import now

    if client.is_on():
        follow.settle_years(now())


@shared_task(name="credits.sync_billing")
def sync_billing() -> None:
    """Every day: compare with Stripe, alarm about differences, forget what webhooks said long ago."""
    from credits.billing import client, mirror, reconcile

    if client.is_on():
        reconcile.check_and_alarm()
        reconcile.forget_old_calls()
        mirror.forget_again()
