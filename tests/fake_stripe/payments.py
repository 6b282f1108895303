"""Payments, what they were for, and how they come back: refunds and disputes."""

from tests.fake_stripe.store import Object, Refused, Store

NO_CARD = "pm_card_chargeDeclined"


def pay(store: Store, *, customer: str, amount: int, currency: str, metadata: Object | None = None) -> Object:
    """A payment intent, succeeded or not, with its charge. Raises nothing: look at its status."""
    declined = store.fails_next_payment or store.objects[customer].get("_card") == NO_CARD
    store.fails_next_payment = False
    intent = store.new(
        "payment_intent",
        amount=amount,
        amount_received=0 if declined else amount,
        currency=currency,
        customer=customer,
        status="requires_payment_method" if declined else "succeeded",
        payment_method=None,
        latest_charge=None,
        metadata=metadata or {},
    )
    if not declined:
        charge = store.new(
            "charge",
            amount=amount,
            amount_captured=amount,
            amount_refunded=0,
            balance_transaction=None,
            billing_details={},
            captured=True,
            currency=currency,
            customer=customer,
            disputed=False,
            paid=True,
            payment_intent=intent["id"],
            payment_method=None,
            refunded=False,
            source=None,
            status="succeeded",
            metadata=intent["metadata"],
        )
        intent["latest_charge"] = charge["id"]
    return intent


def refund(store: Store, intent_id: str, amount: int | None = None) -> Object:
    """Give money back. Raises: Refused, for more than there is."""
    charge = store.get(store.get(intent_id)["latest_charge"], "charge")
    amount = charge["amount"] - charge["amount_refunded"] if amount is None else amount
    if not 0 < amount <= charge["amount"] - charge["amount_refunded"]:
        raise Refused("Refund amount is greater than unrefunded amount on charge", code="charge_already_refunded")
    charge["amount_refunded"] += amount
    charge["refunded"] = charge["amount_refunded"] == charge["amount"]
    made = store.new(
        "refund", amount=amount, balance_transaction=None, charge=charge["id"], currency=charge["currency"],
        failure_balance_transaction=None, payment_intent=intent_id, reason=None, status="succeeded",
    )  # fmt: skip
    store.emit("charge.refunded", charge)
    return made


def fail_refund(store: Store, refund_id: str) -> Object:
    """The bank sends the money of a refund back, as it may after days."""
    found = store.get(refund_id, "refund")
    charge = store.get(found["charge"], "charge")
    charge["amount_refunded"] -= found["amount"]
    charge["refunded"] = False
    found["status"], found["failure_reason"] = "failed", "expired_or_canceled_card"
    store.emit("refund.updated", found)
    store.emit("refund.failed", found)
    return found


def dispute(store: Store, intent_id: str, amount: int | None = None) -> Object:
    charge = store.get(store.get(intent_id)["latest_charge"], "charge")
    charge["disputed"] = True
    made = store.new(
        "dispute", amount=amount or charge["amount"], balance_transaction=None, balance_transactions=[],
        charge=charge["id"], currency=charge["currency"], evidence={}, evidence_details={},
        is_charge_refundable=False, payment_intent=intent_id, reason="fraudulent", status="needs_response",
    )  # fmt: skip
    store.emit("charge.dispute.created", made)
    store.emit("charge.dispute.funds_withdrawn", made)
    return made


def close_dispute(store: Store, dispute_id: str, status: str) -> Object:
    """`won` or `lost`."""
    found = store.get(dispute_id, "dispute")
    found["status"] = status
    store.emit("charge.dispute.closed", found)
    if status == "won":
        store.emit("charge.dispute.funds_reinstated", found)
    return found
