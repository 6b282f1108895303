"""A team that is deleted pays no more: its subscription ends with its period, unless the team is restored before.

And what Stripe knows of a team follows what the team is called, and who owns it; in the end that it was deleted.
"""

from uuid import UUID

from accounts.models import Team
from credits.billing import client, customers, follow, shapes

COSTS = shapes.RUNNING | {"unpaid", "paused"}  # what writes invoices, now or when somebody wakes it up
MARK = "ended_with_team"  # in the subscription's metadata: by us, not by its customer


def settle_team(team_id: str) -> None:
    """Bring a team's name, address and subscriptions at Stripe to how the team is now. Again changes nothing.

    Raises:
        BillingOff, StripeUnavailable, Busy, UnknownPrice.
    """
    team = Team.objects.filter(pk=UUID(team_id)).first()
    customer = customers.customer_of(team) if team else None
    if team is None or customer is None or not customers.describe(customer):
        return
    found = client.each("subscriptions", at_most=follow.SUBSCRIPTIONS_MAX, customer=customer.customer_id)
    for data in list(found):
        sub = shapes.subscription(data)
        is_ours = (data.get("metadata") or {}).get(MARK) == "yes"
        if team.closed_at and sub.status in COSTS and sub.cancels_at is None:
            if sub.schedule_id:
                client.release(sub.schedule_id)
            client.update("subscriptions", sub.id, {"cancel_at_period_end": True, "metadata": {MARK: "yes"}})
        elif not team.closed_at and sub.status in COSTS and is_ours:
            client.update("subscriptions", sub.id, {"cancel_at_period_end": False, "metadata": {MARK: "no"}})
    follow.settle(customer.customer_id)
