"""Which team is which customer at Stripe."""

from uuid import UUID
from zlib import crc32

import structlog
from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models.functions import Now

from accounts.models import Team
from credits.billing import client
from credits.billing.errors import Gone
from credits.models import StripeCustomer

logger = structlog.get_logger(__name__)


def customer_of(team: Team) -> StripeCustomer | None:
    return StripeCustomer.objects.filter(team=team, livemode=settings.STRIPE_LIVE_MODE, gone_at=None).first()


def ensure(team: Team) -> StripeCustomer:
    """A team's customer, made at Stripe when it is its first. Two at once make one: both send one key.

    Raises:
        BillingOff, StripeUnavailable.
    """
    if known := customer_of(team):
        return known
    gone = StripeCustomer.objects.filter(team=team, livemode=settings.STRIPE_LIVE_MODE, gone_at__isnull=False).count()
    facts = _facts(team)
    # Stripe refuses a key that comes again with other facts, and a team may have been renamed meanwhile.
    key = f"customer:{team.pk}:{gone}:{crc32(repr(facts).encode())}"
    made = client.create("customers", facts | {"metadata": {"djstripe_subscriber": str(team.pk)}}, key=key)
    return _remember(team, made["id"])


def describe(customer: StripeCustomer) -> bool:
    """Tell Stripe a team's name, and the address that its receipts go to. False where Stripe knows it no longer.

    Raises:
        BillingOff, StripeUnavailable.
    """
    try:
        client.update("customers", customer.customer_id, _facts(customer.team))
    except Gone:
        forget(customer)
        return False
    return True


def forget(customer: StripeCustomer) -> None:
    """Stripe does not know it any more: the next purchase makes another."""
    StripeCustomer.objects.filter(pk=customer.pk, gone_at=None).update(gone_at=Now())
    logger.warning("stripe_customer_gone", team=str(customer.team_id), customer=customer.customer_id)


def find(customer_id: str) -> StripeCustomer | None:
    """Whose customer it is; None where it is nobody's here. An event may come before our row: then Stripe knows.

    Raises:
        BillingOff, StripeUnavailable.
    """
    if known := StripeCustomer.objects.filter(customer_id=customer_id).select_related("team").first():
        return known
    try:
        found = client.fetch("customers", customer_id)
    except Gone:
        return None
    team = _team_named(str((found.get("metadata") or {}).get("djstripe_subscriber", "")))
    return _remember(team, customer_id) if team else None


def _facts(team: Team) -> client.Json:
    return {"email": team.email, "name": team.name}


def _team_named(name: str) -> Team | None:
    try:
        return Team.objects.filter(pk=UUID(name)).first()
    except ValueError:
        return None


def _remember(team: Team, customer_id: str) -> StripeCustomer:
    try:
        with transaction.atomic():
            made, _ = StripeCustomer.objects.get_or_create(
                customer_id=customer_id, defaults={"team": team, "livemode": settings.STRIPE_LIVE_MODE}
            )
    except IntegrityError:
        # The team has another one in use; this one is known, but nothing new is sold to it.
        made, _ = StripeCustomer.objects.get_or_create(
            customer_id=customer_id, defaults={"team": team, "livemode": settings.STRIPE_LIVE_MODE, "gone_at": Now()}
        )
    return made
