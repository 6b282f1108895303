"""What the credits page shows besides the five figures."""

from dataclasses import dataclass
from datetime import date

from django.db import connection
from django.db.models import Q
from django.db.models.functions import Now

from accounts.models import Team
from credits.models import Grant, Hold

CHART_DAYS = 30
ROWS_MAX = 50

# For each day one look into the index of a wallet's entries by time: what it costs does not grow with the entries.
DAYS = """
SELECT day::date, coalesce(last.available_after_centi, 0)
FROM credits_wallet w
CROSS JOIN generate_series(
    date_trunc('day', statement_timestamp() AT TIME ZONE 'UTC') - make_interval(days => %s - 1),
    date_trunc('day', statement_timestamp() AT TIME ZONE 'UTC'), interval '1 day'
) AS day
LEFT JOIN LATERAL (
    SELECT available_after_centi FROM credits_entry e
    WHERE e.wallet_id = w.id AND e.created_at < (day + interval '1 day') AT TIME ZONE 'UTC'
    ORDER BY e.created_at DESC, e.seq DESC LIMIT 1
) AS last ON true
WHERE w.team_id = %s
ORDER BY day
"""


@dataclass(frozen=True, slots=True)
class Day:
    """What was left at the end of a day, in UTC, by the last entry until then."""

    date: date
    available_centi: int


def days_of(team: Team, days: int = CHART_DAYS) -> list[Day]:
    """The last days until today, oldest first, in one statement; empty for a team that never had a credit."""
    with connection.cursor() as cursor:
        cursor.execute(DAYS, [days, team.pk])
        return [Day(*row) for row in cursor.fetchall()]


def grants_of(team: Team) -> list[Grant]:
    """Grants that count now and have something left, in the order in which they end: what the balance is made of."""
    lasting = Q(expires_at=None) | Q(expires_at__gt=Now())
    grants = Grant.objects.filter(lasting, wallet__team=team, available_centi__gt=0, effective_at__lte=Now())
    grants = grants.select_related("of_pass")
    return list(grants.order_by("expires_at", "burn_rank", "id")[:ROWS_MAX])


def pending_holds(team: Team) -> list[Hold]:
    """What is set aside for jobs that have not ended, newest first."""
    holds = Hold.objects.filter(wallet__team=team, state=Hold.State.PENDING)
    return list(holds.order_by("-created_at", "-id")[:ROWS_MAX])
