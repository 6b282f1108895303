"""Checkout: what a session may ask for, and what paying does."""

from typing import Any

from tests.fake_stripe import payments, subscriptions
from tests.fake_stripe.store import Object, Refused, Store

LASTS_SECONDS = 86_400


def open_session(store: Store, asked: Object, origin: str) -> Object:
    """Raises: Refused."""
    mode = asked.get("mode")
    if mode not in ("payment", "subscription"):
        raise Refused(f"Invalid mode: {mode}")
    if not asked.get("success_url"):
        raise Refused("Missing required param: success_url.", code="parameter_missing")
    customer = store.get(asked.get("customer", ""), "customer")
    lines = [_line(store, one, mode) for one in asked.get("line_items", [])]
    if not lines:
        raise Refused("Missing required param: line_items.", code="parameter_missing")
    session = store.new(
        "checkout.session",
        amount_subtotal=sum(one["amount"] for one in lines),
        amount_total=sum(one["amount"] for one in lines),
        automatic_tax={"enabled": False},
        cancel_url=asked.get("cancel_url"),
        client_reference_id=asked.get("client_reference_id"),
        currency=lines[0]["currency"],
        customer=customer["id"],
        expires_at=store.now() + LASTS_SECONDS,
        invoice=None,
        metadata=asked.get("metadata", {}),
        mode=mode,
        payment_intent=None,
        payment_status="unpaid",
        setup_intent=None,
        status="open",
        subscription=None,
        success_url=asked["success_url"],
        _lines=lines,
        _intent_metadata=asked.get("payment_intent_data", {}).get("metadata", {}),
        _subscription=asked.get("subscription_data", {}),
    )
    session["url"] = f"{origin}/checkout/{session['id']}"
    return session


def _line(store: Store, asked: Object, mode: str) -> Object:
    quantity = int(asked.get("quantity", 1))
    if price_id := asked.get("price"):
        price = store.get(price_id, "price")
    elif data := asked.get("price_data"):
        product = store.new("product", active=True, name=data["product_data"]["name"], description=None)
        price = new_price(store, data | {"product": product["id"]})
    else:
        raise Refused("You must specify either `price` or `price_data`.")
    if bool(price["recurring"]) != (mode == "subscription"):
        raise Refused("You must provide prices that fit the mode of the session.")
    return {
        "price": price["id"],
        "name": store.objects[price["product"]]["name"],
        "amount": price["unit_amount"] * quantity,
        "currency": price["currency"],
    }


def new_price(store: Store, asked: Object) -> Object:
    recurring = asked.get("recurring")
    if recurring:
        recurring = {"interval": recurring["interval"], "interval_count": 1, "meter": None, "usage_type": "licensed"}
    return store.new(
        "price",
        active=True,
        billing_scheme="per_unit",
        currency=asked["currency"].lower(),
        lookup_key=asked.get("lookup_key"),
        metadata=asked.get("metadata", {}),
        nickname=asked.get("nickname"),
        product=store.get(asked["product"], "product")["id"],
        recurring=recurring,
        tax_behavior="unspecified",
        tiers_mode=None,
        transform_quantity=None,
        type="recurring" if recurring else "one_time",
        unit_amount=int(asked["unit_amount"]),
        unit_amount_decimal=str(asked["unit_amount"]),
    )


def pay(store: Store, session: Object) -> bool:
    """The customer pressed Pay. False when the card was declined; the session stays open then."""
    if session["status"] != "open":
        return session["status"] == "complete"
    if session["mode"] == "subscription":
        return _subscribe(store, session)
    intent = payments.pay(
        store,
        customer=session["customer"],
        amount=session["amount_total"],
        currency=session["currency"],
        metadata=session["_intent_metadata"],
    )
    if intent["status"] != "succeeded":
        return False
    return _complete(store, session, payment_intent=intent["id"])


def _subscribe(store: Store, session: Object) -> bool:
    wanted = session["_subscription"]
    if store.fails_next_payment:
        store.fails_next_payment = False
        return False
    made = subscriptions.start(
        store,
        customer=session["customer"],
        price=session["_lines"][0]["price"],
        trial_days=int(wanted.get("trial_period_days", 0)),
        metadata=wanted.get("metadata", {}),
    )
    return _complete(store, session, subscription=made["id"], invoice=made["latest_invoice"])


def _complete(store: Store, session: Object, **facts: Any) -> bool:
    session.update(status="complete", payment_status="paid", url=None, **facts)
    store.emit("checkout.session.completed", session)
    return True


def expire(store: Store, session: Object) -> Object:
    session.update(status="expired", url=None)
    store.emit("checkout.session.expired", session)
    return session
