"""The one lock of the ledger: a team's wallet row."""

from contextlib import AbstractContextManager
from uuid import UUID

from django.db import connection

from credits.errors import UnknownTeam
from credits.models import Wallet
from tenkaigen import busy

COLUMNS = ("id", "team_id", "available_centi", "held_centi", "debt_centi", "seq", "frozen_reason")
# NO KEY: rows that only refer to the wallet may be inserted meanwhile.
LOCK = f"SELECT {', '.join(COLUMNS)} FROM credits_wallet WHERE team_id = %s FOR NO KEY UPDATE"  # noqa: S608
MAKE = """
INSERT INTO credits_wallet (team_id, available_centi, held_centi, debt_centi, seq, frozen_reason)
SELECT id, 0, 0, 0, 0, '' FROM accounts_team WHERE id = %s ON CONFLICT (team_id) DO NOTHING
"""


def lock_wallet(team_id: UUID) -> Wallet:
    """Lock a team's wallet until the transaction ends, making it when it is the team's first.

    Everything else of the ledger is read after this, in statements of its own: a statement that waits for the lock
    goes on with the snapshot it had before.

    Raises:
        UnknownTeam: there is no such team.
        Busy: another transaction kept the row longer than `lock_timeout`.
    """
    with waiting():
        return _locked(team_id)


def waiting() -> AbstractContextManager[None]:
    """Around a statement that locks a wallet, or a row that is locked before it.

    Raises:
        Busy: another transaction kept the row longer than `lock_timeout`.
    """
    return busy.waiting("Your credits are being counted right now. Try again in a moment.")


def _locked(team_id: UUID) -> Wallet:
    with connection.cursor() as cursor:
        cursor.execute(LOCK, [team_id])
        row = cursor.fetchone()
        if row is None:
            cursor.execute(MAKE, [team_id])
            cursor.execute(LOCK, [team_id])
            row = cursor.fetchone()
    if row is None:
        raise UnknownTeam("There is no such team.")
    return Wallet.from_db(connection.alias, COLUMNS, row)
