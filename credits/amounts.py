"""Credits as text. They are integers in hundredths everywhere else."""

from decimal import Decimal, InvalidOperation

CENTI = 100
AMOUNT_CENTI_MAX = 10**12
EXPONENT_MAX = len(str(AMOUNT_CENTI_MAX // CENTI)) - 1
HUNDREDTH = Decimal("0.01")


def show(amount_centi: int) -> str:
    """`600` as `6`, `650` as `6.50`, `1234500` as `12,345`."""
    whole, rest = divmod(abs(amount_centi), CENTI)
    sign = "-" if amount_centi < 0 else ""
    return f"{sign}{whole:,}" + (f".{rest:02d}" if rest else "")


def plain(amount_centi: int) -> str:
    """`600` as `6.00`, for programs: always two places, never a separator."""
    whole, rest = divmod(abs(amount_centi), CENTI)
    return f"{'-' if amount_centi < 0 else ''}{whole}.{rest:02d}"


def parse(text: str) -> int:
    """Hundredths of a credit from `12`, `12.5` or `12.50`.

    Raises:
        ValueError: not a number, finer than a hundredth, or beyond `AMOUNT_CENTI_MAX`.
    """
    try:
        amount = Decimal(text)
    except InvalidOperation:
        raise ValueError(f"{text!r} is not a number of credits") from None
    # First by its exponent alone: no arithmetic reaches the numbers that twenty characters can name.
    if not amount.is_finite() or amount.adjusted() > EXPONENT_MAX or abs(amount) * CENTI > AMOUNT_CENTI_MAX:
        raise ValueError(f"{text!r} is out of range")
    if amount != (rounded := amount.quantize(HUNDREDTH)):
        raise ValueError(f"{text!r} is finer than a hundredth of a credit")
    return int(rounded * CENTI)
