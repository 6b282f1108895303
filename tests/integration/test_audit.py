"""The audit sees what must never be: each kind of damage is planted behind the ledger's back, and named."""

import pytest
from django.db import connection, transaction

from credits import ledger, services
from credits.audit import CHECKS, find_drift
from credits.models import Hold
from credits.pricing import Quote
from tests.factories import give, make_user, team_of

pytestmark = pytest.mark.django_db
BY = {"actor": "staff:ana@example.com", "reason": "a refund"}
# The sentence, and what has to be done to a sound ledger to hear it.
DAMAGE = {
    "buckets do not add up": "UPDATE credits_grant SET spent_centi = spent_centi + 1",
    "available or held differs from its grants": "UPDATE credits_wallet SET available_centi = available_centi + 1",
    "held differs from its pending holds": "UPDATE credits_hold SET state = 'settled' WHERE state = 'pending'",
    "its parts do not add up": "UPDATE credits_hold SET amount_centi = amount_centi + 1",
    "a part of it did not end": "UPDATE credits_holdpart SET released_centi = 0, charged_centi = 0",
    "replaying its entries": "UPDATE credits_entry SET amount_centi = amount_centi + 1 WHERE kind = 'settle'",
    "its debt does not follow": "UPDATE credits_wallet SET debt_centi = debt_centi + 1",
    "it is not what the entries of its grant say": "UPDATE credits_clawback SET owed_centi = owed_centi + 1",
    "more of its clawbacks was undone": "UPDATE credits_clawback SET undone_at = NULL",
    "are not numbered 1 to seq": "UPDATE credits_entry SET seq = 1000 WHERE seq = 2",
    "the balance after it does not follow": "UPDATE credits_entry SET held_after_centi = 7 WHERE seq = 2",
    "its newest entry says another balance": "UPDATE credits_wallet SET held_centi = held_centi + 1",
    "its entries are not what its parts say": "DELETE FROM credits_entry WHERE kind = 'release'",
    "grant {0}: another one has its reference": "UPDATE credits_grant SET source = 'bonus', source_ref = 'same'",
    "hold {0}: another one has its reference": "UPDATE credits_hold SET reference = 'same'",
    "charged late, and written down as uncollected, too": (
        "INSERT INTO credits_uncollected (hold_id, amount_centi, delivered) SELECT id, 1, 1 FROM credits_hold LIMIT 1"
    ),
    "hundredths more are in their buckets": "UPDATE credits_grant SET granted_centi = granted_centi + 5,"
    " available_centi = available_centi + 5",
    "the trigger entries_are_not_truncated": "ALTER TABLE credits_entry DISABLE TRIGGER entries_are_not_truncated",
    "the trigger": "ALTER TABLE credits_entry DISABLE TRIGGER entries_are_append_only",
    "reserved from a grant that had ended": "UPDATE credits_grant SET expires_at = effective_at + interval '1 us'",
    "reserved while in debt": "UPDATE credits_entry SET debt_after_centi = 1 WHERE kind = 'reserve'",
    "a kind of movement that the ledger does not know": "UPDATE credits_entry SET kind = 'gift' WHERE kind = 'grant'",
}


@pytest.fixture
def books():
    """Two teams, a hold of each kind of end, a clawback that was undone, and nothing that guards the tables."""
    for _ in range(2):
        team = team_of(make_user(credits=30))
        bought = give(team, 5_000, source="purchase")
        for number, delivered in enumerate((1, 3, None)):
            reference = f"{team.pk}-{number}"
            with transaction.atomic():
                ledger.reserve(team_id=team.pk, quote=Quote(600, 3), reference=reference)
                if delivered:
                    ledger.settle(team_id=team.pk, reference=reference, delivered=delivered)
        with transaction.atomic():
            refund = {"team_id": team.pk, "reference": f"re-{team.pk}", **BY}
            ledger.revoke(grant_id=bought.pk, amount_centi=100, **refund)
            ledger.reinstate(**refund)
    assert Hold.objects.filter(state="pending").count() == 2
    assert find_drift() == []
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")  # or the tables could not be altered
        cursor.execute(
            "SELECT conrelid::regclass, quote_ident(conname) FROM pg_constraint"
            " WHERE contype IN ('c', 'u') AND conrelid::regclass::text LIKE 'credits\\_%'"
        )
        for table, name in cursor.fetchall():
            cursor.execute(f"ALTER TABLE {table} DROP CONSTRAINT {name}")
        cursor.execute("ALTER TABLE credits_entry DISABLE TRIGGER entries_are_append_only")
        cursor.execute("DROP INDEX entry_once_per_hold_grant_and_kind, entry_grants_once")


@pytest.mark.parametrize("sentence", DAMAGE)
def test_the_audit_names_what_was_planted(books, sentence):
    with connection.cursor() as cursor:
        cursor.execute(DAMAGE[sentence])
    assert [line for line in find_drift() if sentence.replace("{0}", line.split()[1].rstrip(":")) in line]


def test_every_check_has_its_damage():
    assert [check for check in CHECKS if not any(sentence in check for sentence in DAMAGE)] == []


def test_a_check_that_hangs_is_ended_and_none_is_cut_as_short_as_a_page(db, monkeypatch):
    monkeypatch.setattr("credits.audit.CHECKS", {"{0}": "SELECT current_setting('statement_timeout')"})
    assert find_drift() == ["15min"]
    assert services.audit() == ["15min"]
