"""Teams with wallets for the ledger's benchmark, made by few statements and in a state that the audit accepts."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

if TYPE_CHECKING:
    from accounts.models import Team

GRANTED_CENTI = 10**12
ENDED_GRANTS = 1000  # of an old team: its months and passes of many years
GIVE = """
    INSERT INTO credits_wallet (team_id, available_centi, held_centi, debt_centi, seq, frozen_reason)
        SELECT unnest(%(teams)s::uuid[]), %(granted)s, 0, 0, 1, '';
    INSERT INTO credits_grant (wallet_id, unit, source, source_ref, burn_rank, expires_at, granted_centi,
            available_centi, held_centi, spent_centi, expired_centi, revoked_centi, payment_ref)
        SELECT id, 'credit', 'plan', team_id, 20, now() + interval '30 days', %(granted)s, %(granted)s, 0, 0, 0, 0, ''
        FROM credits_wallet WHERE team_id = ANY(%(teams)s);
    INSERT INTO credits_entry (wallet_id, seq, grant_id, kind, amount_centi, available_after_centi,
            held_after_centi, debt_after_centi, actor, reason)
        SELECT wallet_id, 1, id, 'grant', granted_centi, granted_centi, 0, 0, '', '' FROM credits_grant
        WHERE wallet_id IN (SELECT id FROM credits_wallet WHERE team_id = ANY(%(teams)s))"""
# Every ended grant came in and ran out: two entries. Then so many holds were made and charged in full: two each.
AGE = """
    CREATE TEMP TABLE purse ON COMMIT DROP AS
        SELECT w.id AS wallet, g.id AS allowance, w.seq, w.available_centi AS available
        FROM credits_wallet w JOIN credits_grant g ON g.wallet_id = w.id WHERE w.team_id = %(team)s;
    INSERT INTO credits_grant (wallet_id, unit, source, source_ref, burn_rank, effective_at, expires_at, granted_centi,
            available_centi, held_centi, spent_centi, expired_centi, revoked_centi, payment_ref)
        SELECT wallet, 'credit', 'plan', 'ended-' || wallet || '-' || number, 20, now() - number * interval '2 hours',
            now() - number * interval '1 hour', 100, 0, 0, 0, 100, 0, ''
        FROM purse, generate_series(1, %(ended)s) number;
    INSERT INTO credits_entry (wallet_id, seq, grant_id, kind, amount_centi, available_after_centi,
            held_after_centi, debt_after_centi, actor, reason, created_at)
        SELECT wallet, purse.seq + 2 * row_number() OVER (PARTITION BY kind ORDER BY g.id) - 2 + place, g.id, kind, 100,
            available + after, 0, 0, '', '', g.effective_at
        FROM purse JOIN credits_grant g ON g.wallet_id = wallet AND g.id <> allowance,
        (VALUES ('grant', 1, 100), ('expire', 2, 0)) movement(kind, place, after);
    INSERT INTO credits_hold (id, wallet_id, reference, amount_centi, charged_centi, released_centi, pass_images,
            pass_images_charged, state, quote, expires_at, settled_at)
        SELECT md5(wallet || 'hold' || number)::uuid, wallet, 'old-' || wallet || '-' || number, 100, 100, 0, 0, 0,
            'settled', '{"unit_centi": 100, "count": 1, "kind": "image"}', now(), now()
        FROM purse, generate_series(1, %(holds)s) number;
    INSERT INTO credits_holdpart (hold_id, grant_id, amount_centi, charged_centi, released_centi)
        SELECT md5(wallet || 'hold' || number)::uuid, allowance, 100, 100, 0
        FROM purse, generate_series(1, %(holds)s) number;
    INSERT INTO credits_entry (wallet_id, seq, grant_id, hold_id, kind, amount_centi, available_after_centi,
            held_after_centi, debt_after_centi, actor, reason)
        SELECT wallet, purse.seq + 2 * %(ended)s + 2 * (number - 1) + place, allowance,
            md5(wallet || 'hold' || number)::uuid, kind, 100, available - 100 * number, held, 0, '', ''
        FROM purse, generate_series(1, %(holds)s) number,
        (VALUES ('reserve', 1, 100), ('settle', 2, 0)) movement(kind, place, held);
    UPDATE credits_grant SET available_centi = available_centi - 100 * %(holds)s, spent_centi = 100 * %(holds)s
        FROM purse WHERE id = allowance;
    UPDATE credits_wallet SET seq = seq + 2 * (%(ended)s + %(holds)s),
        available_centi = available_centi - 100 * %(holds)s WHERE team_id = %(team)s"""


def make(count: int) -> list[UUID]:
    """So many teams, each with one grant that never runs dry."""
    from django.db import connection

    from accounts.models import Team

    teams: list[Team] = Team.objects.bulk_create(Team(name=f"Team {number}") for number in range(count))
    ids = [team.pk for team in teams]
    with connection.cursor() as cursor:
        cursor.execute(GIVE, {"teams": ids, "granted": GRANTED_CENTI})
    return ids


def age(team_id: UUID, entries: int) -> None:
    """Give a team the entries of many years, and the ended grants and settled holds that they are about."""
    from django.db import connection, transaction

    from credits.models import Entry

    ended = min(ENDED_GRANTS, entries // 10)
    holds = (entries - 1 - 2 * ended + 1) // 2
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL statement_timeout = 0")  # ours is for people's requests
        cursor.execute(AGE, {"team": team_id, "ended": ended, "holds": holds})
    assert Entry.objects.filter(wallet__team_id=team_id).count() >= entries
