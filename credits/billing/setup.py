"""What Stripe must be told once: our plans as products and prices, the portal's rules, and where to send events.

Everything is looked up first and made only when it is missing, so it may run as often as one likes.
"""

from collections.abc import Iterator
from uuid import uuid4

from django.conf import settings
from django.urls import reverse

from credits.billing import client, inbox
from credits.billing.errors import Gone, NotForSale
from credits.models import PlanPrice, StripeSetup

CHEAPER_LATER = ("decreasing_item_amount", "shortening_interval")


def run(*, site_url: str, apply: bool) -> Iterator[str]:
    """Do what is missing, or with `apply` off only say it, one line each.

    Raises:
        BillingOff, StripeUnavailable.
        NotForSale: a price at Stripe is not what its row says.
    """
    setup, _ = StripeSetup.objects.get_or_create(livemode=settings.STRIPE_LIVE_MODE)
    yield from _prices(apply)
    yield from _portal(setup, apply)
    yield from _endpoint(setup, site_url, apply)


def _prices(apply: bool) -> Iterator[str]:
    for price in PlanPrice.objects.filter(is_active=True).select_related("plan"):
        about = f"{price.plan.slug} a {price.interval}: {price.price_cents / 100:.2f} {price.currency}"
        if price.stripe_price_id:
            _must_agree(price)
            yield f"price     {about} is {price.stripe_price_id}"
            continue
        if apply:
            product = _product(price)
            made = client.create(
                "prices",
                {
                    "product": product,
                    "currency": price.currency.lower(),
                    "unit_amount": price.price_cents,
                    "recurring": {"interval": price.interval},
                    "metadata": {"plan": price.plan.slug},
                },
                key=f"price:{price.pk}:{price.price_cents}:{price.currency}",
            )
            PlanPrice.objects.filter(pk=price.pk, stripe_price_id="").update(stripe_price_id=made["id"])
        yield f"price     {about} {'made' if apply else 'is missing'}"


def _must_agree(price: PlanPrice) -> None:
    try:
        found = client.fetch("prices", price.stripe_price_id)
    except Gone as error:
        raise NotForSale(f"Stripe knows no {price.stripe_price_id}; switch {price} off and add a new row.") from error
    recurring = found.get("recurring") or {}
    says = (found["unit_amount"], found["currency"].upper(), recurring.get("interval"), recurring.get("usage_type"))
    if says != (price.price_cents, price.currency, price.interval, "licensed"):
        raise NotForSale(f"{price.stripe_price_id} is {says} at Stripe, but {price} here is something else.")


def _product(price: PlanPrice) -> str:
    """The product of a plan: that of its other prices, or a new one."""
    siblings = PlanPrice.objects.filter(plan=price.plan).exclude(stripe_price_id="")
    for sibling in siblings:
        return str(client.fetch("prices", sibling.stripe_price_id)["product"])
    facts = {"name": price.plan.name, "metadata": {"plan": price.plan.slug}}
    return str(client.create("products", facts, key=f"product:{price.plan.pk}:{price.plan.name}")["id"])


def _portal(setup: StripeSetup, apply: bool) -> Iterator[str]:
    if setup.portal_configuration and _is_known("billing_portal.configurations", setup.portal_configuration):
        if apply:
            client.update("billing_portal.configurations", setup.portal_configuration, {"features": _features()})
        yield f"portal    is {setup.portal_configuration}"
        return
    if apply:
        made = client.create("billing_portal.configurations", {"features": _features()})
        setup.portal_configuration = made["id"]
        setup.save(update_fields=["portal_configuration"])
    yield f"portal    {'made' if apply else 'is missing'}"


def _features() -> client.Json:
    """Dearer at once, with the difference paid at once; cheaper, shorter and cancelled at the end of the period."""
    by_product: dict[str, list[str]] = {}
    for price in PlanPrice.objects.filter(is_active=True).exclude(stripe_price_id=""):
        product = str(client.fetch("prices", price.stripe_price_id)["product"])
        by_product.setdefault(product, []).append(price.stripe_price_id)
    return {
        "invoice_history": {"enabled": True},
        "payment_method_update": {"enabled": True},
        "subscription_cancel": {"enabled": True, "mode": "at_period_end"},
        "subscription_update": {
            "enabled": bool(by_product),
            "default_allowed_updates": ["price"],
            "proration_behavior": "always_invoice",
            "products": [{"product": product, "prices": prices} for product, prices in by_product.items()],
            "schedule_at_period_end": {"conditions": [{"type": kind} for kind in CHEAPER_LATER]},
        },
    }


def _endpoint(setup: StripeSetup, site_url: str, apply: bool) -> Iterator[str]:
    from djstripe.models import WebhookEndpoint

    known = WebhookEndpoint.objects.filter(id=setup.webhook_endpoint).first() if setup.webhook_endpoint else None
    if known and _is_known("webhook_endpoints", known.id):
        url = site_url + reverse("stripe_webhook", args=[known.djstripe_uuid])
        if apply:
            client.update("webhook_endpoints", known.id, {"url": url, "enabled_events": list(inbox.EVENTS)})
            WebhookEndpoint.objects.filter(pk=known.pk).update(url=url, enabled_events=list(inbox.EVENTS))
        yield f"webhook   {known.id} at {url}"
        return
    if apply:
        _make_endpoint(setup, site_url)
    yield f"webhook   {'made' if apply else 'is missing'}"


def _make_endpoint(setup: StripeSetup, site_url: str) -> None:
    from djstripe.models import WebhookEndpoint

    uuid = uuid4()
    url = site_url + reverse("stripe_webhook", args=[uuid])
    wanted = {"url": url, "enabled_events": list(inbox.EVENTS), "api_version": settings.STRIPE_API_VERSION}
    made = client.create("webhook_endpoints", wanted | {"metadata": {"djstripe_uuid": str(uuid)}})
    WebhookEndpoint.objects.create(
        id=made["id"], djstripe_uuid=uuid, secret=made["secret"], url=url, enabled_events=list(inbox.EVENTS),
        status="enabled", livemode=settings.STRIPE_LIVE_MODE, api_version=settings.STRIPE_API_VERSION,
    )  # fmt: skip
    setup.webhook_endpoint = made["id"]
    setup.save(update_fields=["webhook_endpoint"])


def _is_known(kind: str, identity: str) -> bool:
    try:
        client.fetch(kind, identity)
    except Gone:
        return False
    return True
