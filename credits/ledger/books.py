"""How every act but reserve and settle is written: buckets, entries and wallet in one statement, from a list of lines.

Those two, the hottest, are written in functions.sql. Plain SQL here as well, because a wallet's lock is held
meanwhile: the ORM spends many times what the server does (docs/benchmarks.md, ledger).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from django.db import connection

from credits.models import Entry, Grant, Wallet

Kind = Entry.Kind
BUCKETS = ("available", "held", "spent", "expired", "revoked")
# From which bucket of its grant to which each kind moves. None: outside, or nowhere.
MOVES: dict[str, tuple[str | None, str | None]] = {
    Kind.GRANT: (None, "available"),
    Kind.RESERVE: ("available", "held"),
    Kind.SETTLE: ("held", "spent"),
    Kind.RELEASE: ("held", "available"),
    Kind.LAPSE: ("held", "expired"),
    Kind.EXPIRE: ("available", "expired"),
    Kind.REVOKE: ("available", "revoked"),
    Kind.REINSTATE: ("revoked", "available"),
    Kind.OWE: (None, None),
    Kind.REPAY: ("available", "spent"),
    Kind.FORGIVE: (None, None),
}
DEBT = {Kind.OWE: 1, Kind.REPAY: -1, Kind.FORGIVE: -1}

POST = """
WITH moved AS (
    UPDATE credits_grant g SET
        available_centi = g.available_centi + d.available, held_centi = g.held_centi + d.held,
        spent_centi = g.spent_centi + d.spent, expired_centi = g.expired_centi + d.expired,
        revoked_centi = g.revoked_centi + d.revoked
    FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[])
        AS d(id, available, held, spent, expired, revoked)
    WHERE g.id = d.id
), posted AS (
    INSERT INTO credits_entry (wallet_id, actor, reason, seq, grant_id, kind, amount_centi,
        available_after_centi, held_after_centi, debt_after_centi)
    SELECT %s, %s, %s, e.* FROM unnest(%s::bigint[], %s::bigint[], %s::text[], %s::bigint[],
        %s::bigint[], %s::bigint[], %s::bigint[]) AS e
)
UPDATE credits_wallet SET seq = %s, available_centi = %s, held_centi = %s, debt_centi = %s WHERE id = %s
"""


@dataclass(frozen=True, slots=True)
class Line:
    """One movement: becomes one entry."""

    kind: Kind
    grant_id: int
    amount_centi: int
    unit: str = Grant.Unit.CREDIT


def post(wallet: Wallet, lines: Sequence[Line], *, actor: str = "system", reason: str = "") -> None:
    """Move what the lines say, and write an entry for each with the balance after it. The wallet must be locked."""
    if not lines:
        return
    rows = [_entry(wallet, line) for line in lines]
    with connection.cursor() as cursor:
        cursor.execute(
            POST,
            [
                *_columns(_grant_deltas(lines), 1 + len(BUCKETS)),
                wallet.pk, actor, reason, *_columns(rows, 7),
                wallet.seq, wallet.available_centi, wallet.held_centi, wallet.debt_centi, wallet.pk,
            ],
        )  # fmt: skip


def _entry(wallet: Wallet, line: Line) -> tuple[object, ...]:
    source, target = MOVES[line.kind]
    wallet.seq += 1
    if line.unit == Grant.Unit.CREDIT:  # the images of a pass are counted in their grant alone
        wallet.available_centi += line.amount_centi * ((target == "available") - (source == "available"))
        wallet.held_centi += line.amount_centi * ((target == "held") - (source == "held"))
        wallet.debt_centi += line.amount_centi * DEBT.get(line.kind, 0)
    balance = (wallet.available_centi, wallet.held_centi, wallet.debt_centi)
    return (wallet.seq, line.grant_id, str(line.kind), line.amount_centi, *balance)


def _grant_deltas(lines: Sequence[Line]) -> list[tuple[int, ...]]:
    deltas: dict[int, dict[str, int]] = {}
    for line in lines:
        source, target = MOVES[line.kind]
        if source is None:
            continue  # a new grant brings its credits in its own row; a debt moves nothing
        assert target is not None
        delta = deltas.setdefault(line.grant_id, dict.fromkeys(BUCKETS, 0))
        delta[source] -= line.amount_centi
        delta[target] += line.amount_centi
    return [(grant_id, *(delta[bucket] for bucket in BUCKETS)) for grant_id, delta in deltas.items()]


def _columns(rows: Sequence[tuple[object, ...]], width: int) -> list[list[object]]:
    return [[row[place] for row in rows] for place in range(width)]


@dataclass(frozen=True, slots=True)
class Spendable:
    """What one grant can give right now."""

    grant_id: int
    unit: str
    available_centi: int


def spendable(wallet: Wallet) -> list[Spendable]:
    """The credits that count right now, in burn order; images of a pass are spent by `reserve` alone."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM credits_spendable(%s, NULL, clock_timestamp())", [wallet.pk])
        return [Spendable(*row) for row in cursor.fetchall()]


def burn(grants: Sequence[Spendable], amount_centi: int) -> list[tuple[Spendable, int]]:
    """Take an amount from grants in their order, as far as they reach."""
    takes, missing = [], amount_centi
    for source in grants:
        if taken := min(missing, source.available_centi):
            takes.append((source, taken))
            missing -= taken
    return takes


def repay_debt(wallet: Wallet) -> None:
    """Pay a debt with whatever has become available: a team never has both."""
    if not wallet.debt_centi:
        return
    takes = burn(spendable(wallet), wallet.debt_centi)
    post(
        wallet,
        [Line(Kind.REPAY, source.grant_id, amount) for source, amount in takes],
        reason="Pays an open debt",
    )
