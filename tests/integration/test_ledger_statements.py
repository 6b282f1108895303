"""What the hottest acts of the ledger cost in statements, whatever the wallet holds."""

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from credits import ledger
from credits.ledger import functions
from credits.pricing import Quote
from tests.factories import give, make_user, team_of

pytestmark = pytest.mark.django_db
STATEMENTS_MAX = 5
QUOTE = Quote(600, 3, facts={"width": 512, "height": 512, "quality": "standard"})


def statements(act, **arguments) -> int:
    with transaction.atomic(), CaptureQueriesContext(connection) as captured:
        act(**arguments)
    return len(captured)


@pytest.fixture(params=["one grant", "twenty grants and a pass"])
def team(request):
    team = team_of(make_user(credits=20))
    if request.param != "one grant":
        for _ in range(19):
            give(team, 100)
        give(team, 100, source="pass", covers_px=512)
    return team


def test_reserve_and_settle_are_one_statement_each(team):
    facts = {"team_id": team.pk, "reference": "job-1"}
    assert statements(ledger.reserve, quote=QUOTE, **facts) == 1
    assert statements(ledger.settle, delivered=2, **facts) == 1


def test_a_replay_and_a_late_delivery_stay_within_the_bar(team):
    facts = {"team_id": team.pk, "reference": "job-1"}
    statements(ledger.reserve, quote=QUOTE, **facts)
    assert statements(ledger.reserve, quote=QUOTE, **facts) == 2
    assert statements(ledger.lapse, **facts) == 1
    assert (
        statements(ledger.settle, delivered=2, **facts) == 6
    )  # an end, three looks, a reserve, an end: two operations
    assert statements(ledger.settle, delivered=2, **facts) <= STATEMENTS_MAX


def test_the_functions_in_the_database_are_those_of_the_file():
    """Installed after `migrate`; what differed would be an old release's."""
    source = functions.SOURCE.read_text()
    with connection.cursor() as cursor:
        cursor.execute("SELECT proname, prosrc FROM pg_proc WHERE proname LIKE 'credits\\_%' AND prokind = 'f'")
        installed = {name: body for name, body in cursor.fetchall() if name != "credits_refuse_entry_change"}
    assert {"credits_spendable", "credits_reserve", "credits_settle"} <= installed.keys()
    for name in ("credits_spendable", "credits_reserve", "credits_settle"):
        assert f"$${installed[name]}$$" in source, name
