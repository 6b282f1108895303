"""Stripe's objects as we read them. The one place that knows their shapes of API version 2026-05-27.dahlia. Pure.

Since 2025 a subscription's period stands on its items, an invoice names its subscription under `parent`, and its
payments in a list of their own. dj-stripe's properties still look where those were before, so nobody uses them.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

Json = dict[str, Any]
RUNNING = frozenset({"trialing", "active", "past_due"})


@dataclass(frozen=True, slots=True)
class Line:
    """A line of an invoice."""

    id: str
    price_id: str
    amount_cents: int  # negative: unused time that is given back
    starts_at: datetime
    ends_at: datetime
    is_proration: bool


@dataclass(frozen=True, slots=True)
class Invoice:
    id: str
    customer_id: str
    subscription_id: str  # empty: not of a subscription
    number: str
    status: str
    total_cents: int
    currency: str
    created_at: datetime
    lines: tuple[Line, ...]
    payment_intent: str  # empty: nothing had to be paid, or it was paid elsewhere
    url: str
    pdf_url: str


@dataclass(frozen=True, slots=True)
class Sub:
    """A subscription."""

    id: str
    customer_id: str
    status: str
    price_ids: tuple[str, ...]
    created_at: datetime
    anchor_at: datetime
    period_ends_at: datetime
    trial_ends_at: datetime | None
    cancels_at: datetime | None
    ended_at: datetime | None
    schedule_id: str  # not empty: it changes when its period ends, and Stripe lets nothing else end it

    @property
    def is_running(self) -> bool:
        return self.status in RUNNING


@dataclass(frozen=True, slots=True)
class Session:
    """A visit to the checkout."""

    id: str
    customer_id: str
    mode: str
    status: str
    is_paid: bool
    payment_intent: str
    purchase_id: str  # empty: it is not one of ours
    amount_cents: int
    currency: str


@dataclass(frozen=True, slots=True)
class Refund:
    id: str
    amount_cents: int
    has_failed: bool  # for good: its money came back to us


@dataclass(frozen=True, slots=True)
class Charge:
    id: str
    payment_intent: str
    amount_cents: int
    customer_id: str


@dataclass(frozen=True, slots=True)
class Quarrel:
    """A dispute."""

    id: str
    charge_id: str
    amount_cents: int
    status: str


def invoice(data: Json) -> Invoice:
    """Read an invoice; its payments are known when it was fetched with `payments` expanded."""
    parent = (data.get("parent") or {}).get("subscription_details") or {}
    return Invoice(
        id=data["id"],
        customer_id=_id(data.get("customer")),
        subscription_id=_id(parent.get("subscription")),
        number=data.get("number") or "",
        status=data.get("status") or "",
        total_cents=data.get("total") or 0,
        currency=(data.get("currency") or "").upper(),
        created_at=_moment(data["created"]),
        lines=tuple(line(one) for one in (data.get("lines") or {}).get("data", [])),
        payment_intent=_intent(data),
        url=data.get("hosted_invoice_url") or "",
        pdf_url=data.get("invoice_pdf") or "",
    )


def line(data: Json) -> Line:
    parent = data.get("parent") or {}
    details = parent.get("subscription_item_details") or parent.get("invoice_item_details") or {}
    price = ((data.get("pricing") or {}).get("price_details") or {}).get("price")
    return Line(
        id=data["id"],
        price_id=_id(price),
        amount_cents=data["amount"],
        starts_at=_moment(data["period"]["start"]),
        ends_at=_moment(data["period"]["end"]),
        is_proration=bool(details.get("proration")),
    )


def subscription(data: Json) -> Sub:
    items = data["items"]["data"]
    return Sub(
        id=data["id"],
        customer_id=_id(data["customer"]),
        status=data["status"],
        price_ids=tuple(_id(item["price"]) for item in items),
        created_at=_moment(data["created"]),
        anchor_at=_moment(data["billing_cycle_anchor"]),
        period_ends_at=max(_moment(item["current_period_end"]) for item in items),
        trial_ends_at=_moment_or_none(data.get("trial_end")),
        cancels_at=_moment_or_none(data.get("cancel_at")),
        ended_at=_moment_or_none(data.get("ended_at")),
        schedule_id=_id(data.get("schedule")),
    )


def session(data: Json) -> Session:
    return Session(
        id=data["id"],
        customer_id=_id(data.get("customer")),
        mode=data["mode"],
        status=data["status"] or "",
        is_paid=data["payment_status"] in ("paid", "no_payment_required"),
        payment_intent=_id(data.get("payment_intent")),
        # Not `client_reference_id`: on a payment link that is whatever the customer wrote into the address.
        purchase_id=(data.get("metadata") or {}).get("purchase", ""),
        amount_cents=data.get("amount_total") or 0,
        currency=(data.get("currency") or "").upper(),
    )


def charge(data: Json) -> Charge:
    return Charge(
        id=data["id"],
        payment_intent=_id(data.get("payment_intent")),
        amount_cents=data["amount_captured"] or data["amount"],
        customer_id=_id(data.get("customer")),
    )


def refund(data: Json) -> Refund:
    return Refund(data["id"], data["amount"], data["status"] in ("failed", "canceled"))


def dispute(data: Json) -> Quarrel:
    return Quarrel(data["id"], _id(data["charge"]), data["amount"], data["status"])


def _intent(data: Json) -> str:
    paid = [one for one in (data.get("payments") or {}).get("data", []) if one["status"] == "paid"]
    return _id(paid[0]["payment"].get("payment_intent")) if paid else ""


def _id(value: Any) -> str:
    """The id of what may be expanded."""
    return str(value["id"] if isinstance(value, dict) else value or "")


def _moment(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _moment_or_none(seconds: int | None) -> datetime | None:
    return _moment(seconds) if seconds else None
