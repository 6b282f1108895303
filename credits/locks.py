"""The one lock of the ledger: a team's wallet row."""

from uuid import UUID

from django.db import OperationalError, connection
from psycopg import errors

from credits.models import Wallet
from tenkaigen.errors import Busy


def lock_wallet(team_id: UUID) -> Wallet:
    """Lock a team's wallet until the transaction ends, making it when it is the team's first.

    Everything else of the ledger is read after this, in statements of its own: a statement that waits for the lock
    goes on with the snapshot it had before.

    Raises:
        Busy: another transaction kept the row longer than `lock_timeout`.
    """
    assert connection.in_atomic_block, "money moves inside the caller's transaction"
    try:
        return _locked(team_id)
    except OperationalError as error:
        if isinstance(error.__cause__, errors.LockNotAvailable):
            raise Busy("Your credits are being counted right now. Try again in a moment.") from error
        raise


def _locked(team_id: UUID) -> Wallet:
    # NO KEY: rows that only refer to the wallet may be inserted meanwhile.
    wallets = Wallet.objects.select_for_update(no_key=True)
    if wallet := wallets.filter(team_id=team_id).first():
        return wallet
    Wallet.objects.get_or_create(team_id=team_id)
    return wallets.get(team_id=team_id)
