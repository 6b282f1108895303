"""What a person can be told no for about credits."""

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
