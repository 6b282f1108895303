"""What became of a charge at Stripe."""

from credits.billing import client, shapes

REFUNDS_MAX = 1000  # of one charge


def read(charge_id: str) -> tuple[shapes.Charge, list[shapes.Refund]]:
    """A charge and all of its refunds, those that failed included.

    Raises:
        BillingOff, StripeUnavailable.
        Gone: Stripe does not know it.
    """
    charge = shapes.charge(client.fetch("charges", charge_id))
    return charge, [shapes.refund(one) for one in client.each("refunds", at_most=REFUNDS_MAX, charge=charge_id)]
