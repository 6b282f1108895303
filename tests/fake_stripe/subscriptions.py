"""Subscriptions: how they begin, change, renew, fail and end."""

from typing import Any

from tests.fake_stripe import invoices
from tests.fake_stripe.calendar import next_after, step
from tests.fake_stripe.store import Object, Refused, Store, listed


def start(
    store: Store, *, customer: str, price: str, trial_days: int = 0, metadata: Object | None = None
) -> Object:  # fmt: skip
    """Begin one. Emits its creation and its first invoice."""
    cost = store.get(price, "price")
    now = store.now()
    trial_end = now + trial_days * 86_400 if trial_days else None
    interval = cost["recurring"]["interval"]
    sub = store.new(
        "subscription",
        application=None,
        automatic_tax={"enabled": False},
        billing_cycle_anchor=trial_end or now,
        cancel_at=None,
        cancel_at_period_end=False,
        canceled_at=None,
        cancellation_details={"reason": None},
        collection_method="charge_automatically",
        currency=cost["currency"],
        customer=store.get(customer, "customer")["id"],
        default_payment_method=None,
        default_source=None,
        default_tax_rates=[],
        discounts=[],
        ended_at=None,
        items={},
        latest_invoice=None,
        metadata=metadata or {},
        next_pending_invoice_item_invoice=None,
        pause_collection=None,
        pending_setup_intent=None,
        pending_update=None,
        schedule=None,
        start_date=now,
        status="trialing" if trial_end else "active",
        trial_end=trial_end,
        trial_start=now if trial_end else None,
        _next_price=None,
    )
    item = store.new("subscription_item", subscription=sub["id"], quantity=1, tax_rates=[], price=cost, discounts=[])
    sub["items"] = listed([item], f"/v1/subscription_items?subscription={sub['id']}")
    set_period(sub, now, trial_end or step(now, interval, 1))
    amount = 0 if trial_end else cost["unit_amount"]
    first = invoices.line(store, sub=sub, price=cost, amount=amount, start=now, end=item["current_period_end"])
    item["_line"] = first["id"]
    store.emit("customer.subscription.created", sub)
    made = invoices.invoice(store, sub, "subscription_create", [first])
    if made["status"] != "paid":
        sub["status"] = "incomplete"
        store.emit("customer.subscription.updated", sub)
    return sub


def set_period(sub: Object, begin: int, end: int) -> None:
    sub["items"]["data"][0].update(current_period_start=begin, current_period_end=end)


def update(store: Store, sub: Object, **asked: Any) -> Object:
    """What the API and the portal may change. Raises: Refused."""
    if sub["status"] in ("canceled", "incomplete_expired"):
        raise Refused("A canceled subscription can only update its cancellation_details.")
    if "cancel_at_period_end" in asked:
        is_wanted = asked["cancel_at_period_end"] in (True, "true")
        item = sub["items"]["data"][0]
        if is_wanted and sub["schedule"]:  # so the portal; the API asks for it first
            release(store, store.get(sub["schedule"]))
        sub["cancel_at_period_end"] = is_wanted
        sub["cancel_at"] = item["current_period_end"] if is_wanted else None
        sub["canceled_at"] = store.now() if is_wanted else None
    if "metadata" in asked:
        sub["metadata"] |= asked["metadata"]
    if price := asked.get("price"):
        change_price(store, sub, store.get(price, "price"))
    store.emit("customer.subscription.updated", sub)
    return sub


def release(store: Store, schedule: Object) -> Object:
    """The planned change is off; the subscription goes on as it is."""
    sub = store.get(schedule["_of"], "subscription")
    schedule["status"], sub["schedule"], sub["_next_price"] = "released", None, None
    return schedule


def change_price(store: Store, sub: Object, new: Object) -> None:
    """As the portal is set up: dearer at once and invoiced, cheaper or shorter at the end of the period."""
    item = sub["items"]["data"][0]
    old = item["price"]
    if new["id"] == old["id"]:
        sub["_next_price"] = sub["schedule"] = None
        return
    is_longer = new["recurring"]["interval"] == "year" and old["recurring"]["interval"] == "month"
    if new["unit_amount"] < old["unit_amount"] or (old["recurring"]["interval"] == "year" and is_longer is False
                                                   and new["recurring"]["interval"] == "month"):  # fmt: skip
        sub["_next_price"] = new["id"]
        sub["schedule"] = sub["schedule"] or store.new("subscription_schedule", status="active", _of=sub["id"])["id"]
        return
    now, begin, end = store.now(), item["current_period_start"], item["current_period_end"]
    if sub["status"] == "trialing":
        item["price"] = new
        return
    unused = round(old["unit_amount"] * (end - now) / (end - begin))
    paid_by = store.objects[item["_line"]]
    lines = [
        invoices.line(store, sub=sub, price=old, amount=-unused, start=now, end=end, credits=paid_by, is_proration=True)
    ]
    if is_longer:
        sub["billing_cycle_anchor"] = now
        set_period(sub, now, step(now, "year", 1))
        lines.append(
            invoices.line(
                store, sub=sub, price=new, amount=new["unit_amount"], start=now, end=item["current_period_end"]
            )
        )
    else:
        rest = round(new["unit_amount"] * (end - now) / (end - begin))
        lines.append(invoices.line(store, sub=sub, price=new, amount=rest, start=now, end=end, is_proration=True))
    item["price"] = new
    item["_line"] = lines[1]["id"]
    if invoices.invoice(store, sub, "subscription_update", lines)["status"] != "paid":
        sub["status"] = "past_due"


def renew(store: Store, sub: Object) -> None:
    """What happens at the end of a period, or of a trial."""
    item = sub["items"]["data"][0]
    if sub["cancel_at_period_end"]:
        end(store, sub)
        return
    if sub["_next_price"]:
        item["price"] = store.get(sub["_next_price"], "price")
        sub["_next_price"] = sub["schedule"] = None
    price, begin = item["price"], item["current_period_end"]
    interval = price["recurring"]["interval"]
    set_period(sub, begin, next_after(sub["billing_cycle_anchor"], interval, begin))
    line = invoices.line(
        store, sub=sub, price=price, amount=price["unit_amount"], start=begin, end=item["current_period_end"]
    )
    item["_line"] = line["id"]
    made = invoices.invoice(store, sub, "subscription_cycle", [line])
    sub["status"] = "active" if made["status"] == "paid" else "past_due"
    store.emit("customer.subscription.updated", sub)


def retry(store: Store, sub: Object) -> None:
    """Collect what is open, as after a new card."""
    for made in store.all("invoice"):
        of = made["parent"]["subscription_details"]["subscription"]
        if of == sub["id"] and made["status"] == "open" and not invoices.attempt(store, made):
            return
    if sub["status"] in ("past_due", "incomplete"):
        sub["status"] = "active"
        store.emit("customer.subscription.updated", sub)


def end(store: Store, sub: Object) -> Object:
    """Over, now."""
    sub.update(status="canceled", ended_at=store.now(), canceled_at=sub["canceled_at"] or store.now())
    store.emit("customer.subscription.deleted", sub)
    return sub


def go_to(store: Store, moment: int) -> None:
    """Let time pass, renewing what becomes due on the way, in its order."""
    while True:
        living = [one for one in store.all("subscription") if one["status"] in ("trialing", "active", "past_due")]
        due = [(one["items"]["data"][0]["current_period_end"], one["id"]) for one in living]
        soonest = min(due, default=(moment + 1, ""))
        if soonest[0] > moment:
            break
        if store.frozen_at is not None:
            store.frozen_at = max(store.frozen_at, soonest[0])
        renew(store, store.objects[soonest[1]])
    if store.frozen_at is not None:
        store.frozen_at = moment
