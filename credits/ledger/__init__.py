"""Every change to a wallet. No other package writes `Wallet`, `Grant`, `Hold`, `Clawback` or `Entry`.

Call these inside the transaction that makes the thing being paid for, so that both commit or neither does. Lock
order: job, wallet; under the wallet's lock nobody else touches its holds and grants. The wallet is the hottest row:
locked as late as the caller can. The clock is the database's.
"""

from credits.ledger.clawbacks import reinstate, revoke, take
from credits.ledger.grants import expire, freeze, grant, unfreeze
from credits.ledger.holds import Receipt, lapse, reserve, settle

__all__ = [
    "Receipt", "expire", "freeze", "grant", "lapse", "reinstate", "reserve", "revoke", "settle", "take", "unfreeze",
]  # fmt: skip
