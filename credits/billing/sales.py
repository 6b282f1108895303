"""From the button to the goods: the checkout, the portal, and the delivery of what was bought once.

A plan is delivered by `follow`; here only its purchase is marked.
"""

import time
from datetime import timedelta
from uuid import UUID

import structlog
from django.conf import settings
from django.db import IntegrityError, transaction

from accounts import activity
from accounts.models import Team, User
from credits import ledger, passes
from credits.billing import client, customers, follow, shapes, takebacks
from credits.billing.errors import AlreadySubscribed, CheckoutUnderWay, Gone, NothingToManage
from credits.billing.offers import Offer
from credits.billing.shapes import Session
from credits.clock import now
from credits.models import Grant, PassProduct, Purchase, StripeCustomer, StripeSetup, Subscription
from tenkaigen.errors import DomainError

State, Kind = Purchase.State, Purchase.Kind
OPENING_MAX = timedelta(minutes=2)  # between a purchase and its checkout at Stripe; longer, and its process has died
TURN_SECONDS_MAX = 10  # for a click that meets another one
TURN_SECONDS = 0.2
ELSEWHERE = "Somebody is about to pay for a plan in another window. Try again in a minute."
logger = structlog.get_logger(__name__)


def buy(*, team: Team, user: User | None, offer: Offer, thanks_url: str, back_url: str) -> tuple[Purchase, str]:
    """Begin a purchase: the row, and the address of the checkout. `{purchase}` in `thanks_url` becomes its id.

    Raises:
        AlreadySubscribed: the team has a subscription; it changes in the portal.
        CheckoutUnderWay: a plan of the team is being paid, or somebody else is about to.
        BillingOff, StripeUnavailable.
    """
    customer = customers.ensure(team)
    purchase = _begin(team, user, offer)
    asked = _session(purchase, offer, thanks_url.replace("{purchase}", str(purchase.pk)), back_url)
    try:
        made = _open_checkout(customer, purchase, asked)
    except DomainError:
        Purchase.objects.filter(pk=purchase.pk, state=State.OPEN).update(state=State.FAILED)
        raise
    if not Purchase.objects.filter(pk=purchase.pk, state=State.OPEN).update(session_id=made["id"]):
        client.expire(made["id"])  # it took so long that somebody else has begun another one
        raise CheckoutUnderWay(ELSEWHERE)
    return purchase, str(made["url"])


def open_portal(*, team: Team, return_url: str, change_to: Offer | None = None) -> str:
    """The address of a team's portal at Stripe; with `change_to` it opens where that plan is confirmed.

    Raises:
        NothingToManage: the team has never bought anything.
        BillingOff, StripeUnavailable.
    """
    customer = customers.customer_of(team)
    if customer is None:
        raise NothingToManage("There is nothing to manage yet: your team has not bought anything.")
    asked: client.Json = {"customer": customer.customer_id, "return_url": return_url}
    setup = StripeSetup.objects.filter(livemode=settings.STRIPE_LIVE_MODE).first()
    if setup and setup.portal_configuration:
        asked["configuration"] = setup.portal_configuration
    current = subscribed(team)
    if change_to and current:
        asked["flow_data"] = _flow(client.fetch("subscriptions", current.external_ref), change_to, return_url)
    return str(client.create("billing_portal.sessions", asked)["url"])


def subscribed(team: Team) -> Subscription | None:
    """The team's subscription at Stripe while it runs."""
    found = Subscription.objects.filter(team=team).exclude(external_ref="").first()
    return found if found and (found.ends_at is None or found.ends_at > now()) else None


def deliver(session_id: str) -> None:
    """Look at a checkout at Stripe, and give what was bought, once.

    Raises:
        BillingOff, StripeUnavailable, Busy, UnknownPrice.
    """
    session = shapes.session(client.fetch("checkout.sessions", session_id))
    if session.mode == "subscription":
        follow.settle(session.customer_id)
    hand_over(session)


def give_up(session_id: str) -> None:
    """A payment that takes its time came to nothing. Whoever tries again begins another purchase.

    Raises:
        BillingOff, StripeUnavailable, Busy, UnknownPrice.
    """
    deliver(session_id)
    Purchase.objects.filter(session_id=session_id, state=State.OPEN).update(state=State.FAILED)


@transaction.atomic
def hand_over(session: Session) -> Purchase | None:
    """Bring a purchase to where its checkout is. None where the checkout is none of ours.

    Raises:
        Busy: the wallet's lock did not come in time.
    """
    purchase = _purchase_of(session)
    if purchase is None or purchase.state == State.PAID:
        return purchase
    if session.status == "complete" and session.is_paid:
        _give(purchase, session)
        purchase.state, purchase.paid_at = State.PAID, now()
        purchase.payment_intent = session.payment_intent
        buyer = purchase.user or "system"
        activity.record(team=purchase.team, actor=buyer, verb="billing.bought", target=purchase.name)
    elif session.status == "expired":
        purchase.state = State.EXPIRED
    purchase.session_id = session.id
    purchase.save()
    return purchase


def _purchase_of(session: Session) -> Purchase | None:
    try:
        purchase_id = UUID(session.purchase_id)
    except ValueError:
        return None
    rows = Purchase.objects.select_for_update(of=("self",)).select_related("team", "user")
    found = rows.filter(pk=purchase_id).first()
    if found is None or found.session_id not in (None, session.id):
        logger.warning("purchase_unknown", session=session.id, purchase=session.purchase_id)
        return None
    return found


def _give(purchase: Purchase, session: Session) -> None:
    reference = takebacks.reference_of(session.payment_intent) if session.payment_intent else f"cs:{session.id}"
    payment = None
    if purchase.kind != Kind.PLAN:
        payment = follow.note_payment(purchase.team, session.payment_intent, session.amount_cents, session.currency)
    if purchase.kind == Kind.PACK:
        ledger.grant(
            team_id=purchase.team_id,
            amount_centi=purchase.credit_centi,
            source=Grant.Source.PURCHASE,
            source_ref=reference,
            expires_at=now() + timedelta(days=purchase.days) if purchase.days else None,
            payment_ref=session.payment_intent,
            actor="stripe",
            reason=purchase.name,
        )
    elif purchase.kind == Kind.PASS:
        # By its slug whether it is still sold or not: it was when it was bought.
        product = PassProduct.objects.get(slug=purchase.slug)
        passes.issue(team=purchase.team, product=product, reference=reference, actor="stripe")
    if payment:
        takebacks.apply(payment)


def _begin(team: Team, user: User | None, offer: Offer) -> Purchase:
    """The row of a purchase. Whoever pays for a plan in two windows has two subscriptions, so the database lets a team
    begin one at a time: who comes second waits until the first has its checkout, and ends that."""
    until = time.monotonic() + TURN_SECONDS_MAX
    while True:
        if offer.kind == Kind.PLAN:
            _end_other_checkout(team)
        try:
            with transaction.atomic():
                return Purchase.objects.create(
                    team=team, user=user, kind=offer.kind, slug=offer.slug, name=offer.name, interval=offer.interval,
                    price_cents=offer.price_cents, currency=offer.currency, credit_centi=offer.credit_centi,
                    days=offer.days,
                )  # fmt: skip
        except IntegrityError as error:
            if "purchase_of_one_plan_at_a_time" not in str(error):
                raise
            if time.monotonic() > until:
                raise CheckoutUnderWay(ELSEWHERE) from error
        time.sleep(TURN_SECONDS)


def _end_other_checkout(team: Team) -> None:
    """Close the checkout for a plan that a team has open, and hand over what was paid there meanwhile."""
    begun = Purchase.objects.filter(team=team, kind=Kind.PLAN, state=State.OPEN)
    begun.filter(session_id=None, created_at__lt=now() - OPENING_MAX).update(state=State.FAILED)
    found = begun.exclude(session_id=None).first()
    if found and not subscribed(team):
        _close(found)
    if subscribed(team):
        raise AlreadySubscribed("Your team has a subscription already. Change it on the billing page.")


def _close(purchase: Purchase) -> None:
    try:
        session = shapes.session(client.fetch("checkout.sessions", str(purchase.session_id)))
        if session.status == "open":
            session = shapes.session(client.expire(session.id))
    except Gone:
        Purchase.objects.filter(pk=purchase.pk, state=State.OPEN).update(state=State.EXPIRED)
        return
    if session.status == "complete":
        follow.settle(session.customer_id)
    handed = hand_over(session)
    if handed and handed.state == State.OPEN:
        raise CheckoutUnderWay("A plan of your team is paid already; its bank takes its time. Wait until it has come.")


def _open_checkout(customer: StripeCustomer, purchase: Purchase, asked: client.Json) -> client.Json:
    """Open it at Stripe, for a new customer where ours is not known there any more."""
    key = f"buy:{purchase.pk}"
    try:
        return client.create("checkout.sessions", asked | {"customer": customer.customer_id}, key=key)
    except Gone:
        customers.forget(customer)
        customer = customers.ensure(purchase.team)
        return client.create("checkout.sessions", asked | {"customer": customer.customer_id}, key=f"{key}:again")


def _session(purchase: Purchase, offer: Offer, thanks_url: str, back_url: str) -> client.Json:
    about = {"purchase": str(purchase.pk), "djstripe_subscriber": str(purchase.team_id)}
    asked: client.Json = {
        "mode": "subscription" if offer.kind == Kind.PLAN else "payment",
        "line_items": [{"quantity": 1, **_price(offer)}],
        "client_reference_id": str(purchase.pk),
        "metadata": about,
        "success_url": thanks_url,
        "cancel_url": back_url,
    }
    if offer.kind != Kind.PLAN:
        return asked | {"payment_intent_data": {"metadata": about}}
    asked["subscription_data"] = {"metadata": about}
    if offer.trial_days and not _had_a_plan(purchase.team):
        asked["subscription_data"]["trial_period_days"] = offer.trial_days
    return asked


def _price(offer: Offer) -> client.Json:
    if offer.stripe_price_id:
        return {"price": offer.stripe_price_id}
    data = {"currency": offer.currency.lower(), "unit_amount": offer.price_cents}
    return {"price_data": data | {"product_data": {"name": offer.name}}}


def _had_a_plan(team: Team) -> bool:
    """One trial a team, whatever became of it."""
    return Purchase.objects.filter(team=team, kind=Kind.PLAN, state=State.PAID).exists()


def _flow(subscription: client.Json, offer: Offer, return_url: str) -> client.Json:
    (item, *_) = subscription["items"]["data"]
    confirm = {"subscription": subscription["id"], "items": [{"id": item["id"], "price": offer.stripe_price_id}]}
    return {
        "type": "subscription_update_confirm",
        "subscription_update_confirm": confirm,
        "after_completion": {"type": "redirect", "redirect": {"return_url": return_url}},
    }
