"""What can be bought here and now, from the rows that staff keep."""

from dataclasses import dataclass

from credits.billing.errors import NotForSale
from credits.models import Pack, PassProduct, Plan, PlanPrice, Purchase

Kind = Purchase.Kind


@dataclass(frozen=True, slots=True)
class Offer:
    """One thing with its price, as it is written onto a purchase."""

    kind: str
    slug: str
    name: str
    price_cents: int
    currency: str
    stripe_price_id: str = ""  # empty: Stripe is told name and price
    interval: str = ""
    credit_centi: int = 0
    days: int | None = None
    trial_days: int = 0


def find(kind: str, slug: str, interval: str = "") -> Offer:
    """Raises: NotForSale."""
    finders = {Kind.PLAN: _plan, Kind.PACK: _pack, Kind.PASS: _pass}
    is_text = "\0" not in slug + interval  # the database takes no such text
    offer = finders[Kind(kind)](slug, interval) if kind in finders and is_text else None
    if offer is None:
        raise NotForSale("This is not for sale.")
    return offer


def plans(interval: str) -> list[tuple[Plan, PlanPrice | None]]:
    """Every plan that is offered, with its price by the month or year; without one it cannot be bought here."""
    prices = PlanPrice.objects.filter(is_active=True, interval=interval).exclude(stripe_price_id="")
    by_plan = {price.plan_id: price for price in prices}
    return [(plan, by_plan.get(plan.pk)) for plan in Plan.objects.filter(is_active=True)]


def packs() -> list[Pack]:
    return list(Pack.objects.filter(is_active=True))


def passes() -> list[PassProduct]:
    return list(PassProduct.objects.filter(is_active=True))


def _plan(slug: str, interval: str) -> Offer | None:
    prices = PlanPrice.objects.filter(is_active=True, plan__is_active=True).exclude(stripe_price_id="")
    price = prices.filter(plan__slug=slug, interval=interval).select_related("plan").first()
    if price is None:
        return None
    return Offer(
        Kind.PLAN, slug, price.plan.name, price.price_cents, price.currency, price.stripe_price_id, interval,
        trial_days=price.trial_days,
    )  # fmt: skip


def _pack(slug: str, interval: str) -> Offer | None:
    pack = Pack.objects.filter(slug=slug, is_active=True).first()
    if pack is None:
        return None
    return Offer(
        Kind.PACK, slug, pack.name, pack.price_cents, pack.currency, pack.stripe_price_id,
        credit_centi=pack.credit_centi, days=pack.days,
    )  # fmt: skip


def _pass(slug: str, interval: str) -> Offer | None:
    product = PassProduct.objects.filter(slug=slug, is_active=True).select_related("stripe_price").first()
    if product is None:
        return None
    price = getattr(product, "stripe_price", None)
    return Offer(
        Kind.PASS, slug, f"{product.name} pass", product.price_cents, product.currency,
        price.stripe_price_id if price else "",
    )  # fmt: skip
