"""What a person can be told no for about credits."""

from credits.amounts import plain, show
from tenkaigen.errors import DomainError


class InsufficientCredits(DomainError):
    code = "insufficient_credits"
    http_status = 402


class WalletFrozen(DomainError):
    code = "wallet_frozen"
    http_status = 402


class AlreadySettled(DomainError):
    """A hold under this reference has ended; a new one needs a reference of its own."""

    code = "already_settled"


class ReferenceTaken(DomainError):
    """The same reference came with another amount: a programming error or a forged replay, never a retry."""

    code = "reference_taken"


class InvalidAmount(DomainError):
    """Not an amount of credits: zero, negative, finer than a hundredth, or out of range."""

    code = "invalid_amount"
    http_status = 400


class UnknownTeam(DomainError):
    code = "unknown_team"
    http_status = 404


class PriceChanged(DomainError):
    """It costs more than the price that was shown; nothing has moved. `price_centi` is what it costs now."""

    code = "price_changed"

    def __init__(self, price_centi: int, shown_centi: int) -> None:
        super().__init__(
            f"This costs {show(price_centi)} credits now, not {show(shown_centi)}. Send it again if you agree."
        )
        self.price_centi = price_centi
        self.details = {"price": plain(price_centi)}


class PriceMissing(DomainError):
    """The price list has a hole: nothing can be sold until staff publish a whole one."""

    code = "price_missing"
    http_status = 503


class InvalidPrices(DomainError):
    """A price list that must not be published."""

    code = "invalid_prices"
    http_status = 400


class PassNotReady(DomainError):
    """A pass that cannot be started: it was started before, or another one still runs."""

    code = "pass_not_ready"


class NoSuchProduct(DomainError):
    code = "no_such_product"
    http_status = 404


class BilledElsewhere(DomainError):
    """A subscription that the payment provider keeps cannot be changed by hand."""

    code = "billed_elsewhere"
