"""Invoices and their lines, as they are shaped today: without `subscription`, `charge`, `paid`, `payment_intent`."""

from tests.fake_stripe import payments
from tests.fake_stripe.store import Object, Store, listed


def line(
    store: Store, *, sub: Object, price: Object, amount: int, start: int, end: int, credits: Object | None = None,
    is_proration: bool = False,
) -> Object:  # fmt: skip
    """One line; `credits` is the line whose unused time it gives back."""
    credited = {"invoice": credits["invoice"], "invoice_line_items": [credits["id"]]} if credits else None
    item = sub["items"]["data"][0]
    details = {
        "invoice_item": None,
        "proration": is_proration,
        "proration_details": {"credited_items": credited},
        "subscription": sub["id"],
        "subscription_item": item["id"],
    }
    return store.new(
        "line_item",
        amount=amount,
        currency=price["currency"],
        description=store.objects[price["product"]]["name"],
        discount_amounts=[],
        discountable=not is_proration,
        discounts=[],
        invoice=None,
        parent={
            "type": "subscription_item_details",
            "invoice_item_details": None,
            "subscription_item_details": details,
        },
        period={"start": start, "end": end},
        pretax_credit_amounts=[],
        pricing={
            "type": "price_details",
            "price_details": {"price": price["id"], "product": price["product"]},
            "unit_amount_decimal": str(price["unit_amount"]),
        },
        quantity=1,
        taxes=[],
    )


def invoice(store: Store, sub: Object, reason: str, lines: list[Object]) -> Object:
    """Make, finalise and try to pay. Emits what Stripe emits."""
    total = max(0, sum(one["amount"] for one in lines))
    made = store.new(
        "invoice",
        account_country="IN",
        amount_due=total,
        amount_paid=0,
        amount_remaining=total,
        attempt_count=0,
        attempted=False,
        auto_advance=True,
        billing_reason=reason,
        collection_method="charge_automatically",
        currency=sub["currency"],
        customer=sub["customer"],
        default_payment_method=None,
        default_source=None,
        default_tax_rates=[],
        discounts=[],
        due_date=None,
        hosted_invoice_url="",
        invoice_pdf="",
        lines={},
        next_payment_attempt=None,
        number=None,
        parent={
            "type": "subscription_details",
            "quote_details": None,
            "subscription_details": {"metadata": sub["metadata"], "subscription": sub["id"]},
        },
        period_start=store.now(),
        period_end=store.now(),
        starting_balance=0,
        ending_balance=0,
        status="open",
        status_transitions={"finalized_at": store.now(), "paid_at": None, "marked_uncollectible_at": None},
        subtotal=total,
        total=total,
    )
    for one in lines:
        one["invoice"] = made["id"]
    made["lines"] = listed(lines, f"/v1/invoices/{made['id']}/lines")
    made["number"] = f"FAKE-{made['id'][-4:]}"
    made["hosted_invoice_url"] = f"{store.objects['acct_fake'].get('_origin', '')}/invoice/{made['id']}"
    made["invoice_pdf"] = made["hosted_invoice_url"] + "/pdf"
    sub["latest_invoice"] = made["id"]
    store.emit("invoice.created", made)
    store.emit("invoice.finalized", made)
    attempt(store, made)
    return made


def attempt(store: Store, made: Object) -> bool:
    """Try to collect an open invoice; whether it is paid now."""
    if made["status"] != "open":
        return made["status"] == "paid"
    made["attempted"] = True
    made["attempt_count"] += 1
    if made["total"]:
        intent = payments.pay(store, customer=made["customer"], amount=made["total"], currency=made["currency"])
        is_paid = intent["status"] == "succeeded"
        store.new(
            "invoice_payment",
            amount_paid=made["total"] if is_paid else None,
            amount_requested=made["total"],
            currency=made["currency"],
            invoice=made["id"],
            is_default=True,
            payment={"type": "payment_intent", "payment_intent": intent["id"]},
            status="paid" if is_paid else "open",
            status_transitions={"paid_at": store.now() if is_paid else None, "canceled_at": None},
        )
        if not is_paid:
            made["next_payment_attempt"] = store.now() + 3 * 86_400
            store.emit("invoice.payment_failed", made)
            return False
    made.update(status="paid", amount_paid=made["total"], amount_remaining=0, next_payment_attempt=None)
    made["status_transitions"]["paid_at"] = store.now()
    store.emit("invoice.paid", made)
    store.emit("invoice.payment_succeeded", made)
    return True


def payments_of(store: Store, made: Object) -> list[Object]:
    return [one for one in store.all("invoice_payment") if one["invoice"] == made["id"]]
