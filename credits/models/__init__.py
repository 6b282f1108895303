"""What you may spend: wallets, grants, holds, the entries that explain them; and plans, passes and prices.

`credits.ledger` is the only writer of wallets, grants, holds and entries. Amounts are integers in hundredths of a
credit (of an image, for the grants of a pass).
"""

from credits.models.ledger import Clawback, Entry, Grant, Hold, HoldPart, Uncollected, Wallet
from credits.models.notices import Notice
from credits.models.passes import Pass, PassProduct
from credits.models.plans import Plan, Subscription
from credits.models.prices import PriceRule, PriceVersion

__all__ = [
    "Clawback",
    "Entry",
    "Grant",
    "Hold",
    "HoldPart",
    "Notice",
    "Pass",
    "PassProduct",
    "Plan",
    "PriceRule",
    "PriceVersion",
    "Subscription",
    "Uncollected",
    "Wallet",
]
