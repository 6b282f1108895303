"""The one place that talks to Stripe for us. Answers are plain dictionaries; call it outside transactions."""

import json
from collections.abc import Iterator
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import structlog
from django.conf import settings
from django.db import connection

from credits.billing.errors import BillingOff, Gone, StripeUnavailable

if TYPE_CHECKING:
    import stripe

Json = dict[str, Any]
RETRIES = 1
PAGE = 100
LINES_MAX = 1000
logger = structlog.get_logger(__name__)


def is_on() -> bool:
    return bool(settings.STRIPE_SECRET_KEY)


def fetch(kind: str, identity: str, *expand: str) -> Json:
    """One object as it is now; `kind` is Stripe's name of the list: `invoices`, `checkout.sessions`.

    Raises:
        BillingOff, StripeUnavailable.
        Gone: Stripe does not know it.
    """
    return _call(kind, "retrieve", identity, params={"expand": list(expand)} if expand else {})


def create(kind: str, params: Json, *, key: str = "") -> Json:
    """Make an object. With the same `key` again within a day Stripe answers with the first.

    Raises:
        BillingOff, StripeUnavailable.
        Gone: something that it names does not exist.
    """
    return _call(kind, "create", params=params, options={"idempotency_key": key} if key else {})


def update(kind: str, identity: str, params: Json) -> Json:
    """Raises: BillingOff, StripeUnavailable, Gone."""
    return _call(kind, "update", identity, params=params)


def expire(session_id: str) -> Json:
    """Close a checkout that nobody has paid. Raises: BillingOff, StripeUnavailable (it was paid meanwhile), Gone."""
    return _call("checkout.sessions", "expire", session_id, params={})


def release(schedule_id: str) -> Json:
    """Forget a planned change of a subscription, which stays as it is. Raises: BillingOff, StripeUnavailable, Gone."""
    return _call("subscription_schedules", "release", schedule_id, params={})


def each(kind: str, *, at_most: int, owner: str = "", **params: Any) -> Iterator[Json]:
    """Objects of a list, newest first, page by page; `owner` is the object that the list belongs to.

    Raises:
        BillingOff, StripeUnavailable, Gone.
    """
    params["limit"] = min(PAGE, at_most)
    while True:
        page = _call(kind, "list", *[owner] * bool(owner), params=params)
        yield from page["data"][:at_most]
        at_most -= len(page["data"])
        if not page["has_more"] or at_most <= 0:
            return
        params["starting_after"] = page["data"][-1]["id"]


def each_line(invoice_id: str) -> Iterator[Json]:
    """The lines of an invoice, all of them. Raises: BillingOff, StripeUnavailable, Gone."""
    yield from each("invoices.line_items", at_most=LINES_MAX, owner=invoice_id)


def _call(kind: str, act: str, *identity: str, **given: Any) -> Json:
    import stripe

    ours = [block for block in connection.atomic_blocks if not getattr(block, "_from_testcase", False)]
    assert not ours, "no network inside a transaction"
    if not is_on():
        raise BillingOff("Billing is not set up on this server.")
    service: Any = _client(settings.STRIPE_SECRET_KEY, getattr(settings, "STRIPE_API_HOST", "")).v1
    for part in kind.split("."):
        service = getattr(service, part)
    try:
        return dict(json.loads(str(getattr(service, act)(*identity, **given))))
    except stripe.InvalidRequestError as error:
        if error.code == "resource_missing":
            raise Gone(str(error.user_message or error)) from error
        logger.error("stripe_refused", kind=kind, act=act, reason=str(error))
        raise StripeUnavailable("The payment provider did not accept this. We have been told.") from error
    except stripe.StripeError as error:
        logger.warning("stripe_unavailable", kind=kind, act=act, reason=type(error).__name__)
        raise StripeUnavailable("The payment provider does not answer. Try again in a moment.") from error


@lru_cache(maxsize=2)
def _client(key: str, host: str) -> "stripe.StripeClient":
    import stripe

    return stripe.StripeClient(
        key,
        stripe_version=settings.STRIPE_API_VERSION,
        base_addresses={"api": host} if host else {},
        max_network_retries=RETRIES,
        http_client=stripe.RequestsClient(timeout=settings.STRIPE_CALL_SECONDS_MAX),
    )
