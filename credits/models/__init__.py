"""What you may spend: wallets, grants, holds, the entries that explain them; and plans, passes and prices.

`credits.ledger` is the only writer of wallets, grants, holds and entries. Amounts are integers in hundredths of a
credit (of an image, for the grants of a pass).
"""

from credits.models.billing import Dispute, Payment, Purchase, Refund, StripeCustomer, StripeEvent, StripeSetup, Term
from credits.models.ledger import Clawback, Entry, Grant, Hold, HoldPart, Uncollected, Wallet
from credits.models.notices import Notice
from credits.models.passes import Pass, PassProduct
from credits.models.plans import Plan, Subscription
from credits.models.prices import PriceRule, PriceVersion
from credits.models.shop import Pack, PassPrice, PlanPrice

__all__ = [
    "Clawback",
    "Dispute",
    "Entry",
    "Grant",
    "Hold",
    "HoldPart",
    "Notice",
    "Pack",
    "Pass",
    "PassPrice",
    "PassProduct",
    "Payment",
    "Plan",
    "PlanPrice",
    "PriceRule",
    "PriceVersion",
    "Purchase",
    "Refund",
    "StripeCustomer",
    "StripeEvent",
    "StripeSetup",
    "Subscription",
    "Term",
    "Uncollected",
    "Wallet",
]
