"""Which credits a subscription's paid invoices stand for. Pure: the same history gives the same list, always.

Periods are those of the licensed plan line, as Stripe writes them; only the months of a paid year are counted by us.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from credits.billing.errors import UnknownPrice
from credits.billing.shapes import Invoice, Line, Sub
from credits.models import Plan, PlanPrice
from credits.periods import number_at, start_of

Prices = Mapping[str, PlanPrice]
YEAR = PlanPrice.Interval.YEAR


@dataclass(frozen=True, slots=True)
class Due:
    """One grant. Its reference names the period, never the event."""

    reference: str
    amount_centi: int
    starts_at: datetime
    ends_at: datetime
    payment_ref: str
    invoice: Invoice
    reason: str


@dataclass(frozen=True, slots=True)
class Year:
    """A paid year, and when its next month begins."""

    starts_at: datetime
    ends_at: datetime
    next_at: datetime | None


@dataclass(slots=True)
class Dues:
    grants: list[Due] = field(default_factory=list)
    years: list[Year] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Base:
    """A plan line that was paid in full, and what it cost the customer to begin: credits of an older plan's rest."""

    line: Line
    price: PlanPrice
    invoice: Invoice
    less_centi: int

    def month(self, moment: datetime) -> tuple[datetime, datetime]:
        """The month of this line that a moment is in."""
        if self.price.interval != YEAR:
            return self.line.starts_at, self.line.ends_at
        number = number_at(self.line.starts_at, moment)
        end = start_of(self.line.starts_at, number + 1)
        return start_of(self.line.starts_at, number), min(end, self.line.ends_at)


def of(sub: Sub, invoices: Sequence[Invoice], prices: Prices, moment: datetime) -> Dues:
    """Everything that is due by `moment` for the paid invoices of one subscription.

    Raises:
        UnknownPrice: an invoice has no line whose price is a plan's.
    """
    dues = Dues()
    bases: list[_Base] = []
    changes: list[tuple[datetime, Plan]] = []  # of a yearly plan within its year
    for invoice in sorted(invoices, key=lambda one: (one.created_at, one.id)):
        _must_know(invoice, prices)
        dues.grants += _upgrades(invoice, prices, bases, changes)
        unused = sum(_unused(line, prices, bases) for line in _credits(invoice))
        for line in invoice.lines:
            if line.is_proration or line.price_id not in prices:
                continue
            base = _Base(line, prices[line.price_id], invoice, unused)
            bases.append(base)
            if sub.trial_ends_at and line.starts_at < sub.trial_ends_at:
                dues.grants += _trial(sub, base)
            elif base.price.interval != YEAR:
                dues.grants += _month(sub, base, base.price.plan, line.starts_at)
    for base in bases:
        if base.price.interval == YEAR and not (sub.trial_ends_at and base.line.starts_at < sub.trial_ends_at):
            _year(sub, base, changes, moment, dues)
    return dues


def _must_know(invoice: Invoice, prices: Prices) -> None:
    """A price that nobody mapped must not be passed over in silence."""
    if not any(line.price_id in prices for line in invoice.lines):
        unknown = sorted({line.price_id for line in invoice.lines})
        raise UnknownPrice(f"Invoice {invoice.id} is for {', '.join(unknown)}, which no plan price names.")


def _credits(invoice: Invoice) -> list[Line]:
    return [line for line in invoice.lines if line.is_proration and line.amount_cents < 0]


def _month(sub: Sub, base: _Base, plan: Plan, starts_at: datetime) -> list[Due]:
    month_start, month_end = base.month(starts_at)
    less = base.less_centi if month_start == base.line.starts_at else 0
    amount = plan.monthly_centi - less
    reference = f"sub:{sub.id}:{month_start:%Y%m%dT%H%M%SZ}"
    reason = f"{plan.name}, {month_start:%d %b %Y} to {month_end:%d %b %Y}"
    return _due(base.invoice, reference, amount, month_start, month_end, reason)


def _trial(sub: Sub, base: _Base) -> list[Due]:
    """By the trial's end, not by the sum: a coupon over everything makes nothing of it, too."""
    line, price = base.line, base.price
    reason = f"{price.plan.name}, trial until {line.ends_at:%d %b %Y}"
    return _due(base.invoice, f"trial:{sub.id}", price.trial_centi, line.starts_at, line.ends_at, reason)


def _upgrades(invoice: Invoice, prices: Prices, bases: list[_Base], changes: list[tuple[datetime, Plan]]) -> list[Due]:
    """The difference between two plans for the rest of the month, never a whole month again."""
    found: list[Due] = []
    given_back = [line for line in _credits(invoice) if line.price_id in prices]
    for line in invoice.lines:
        if not line.is_proration or line.amount_cents <= 0 or line.price_id not in prices:
            continue
        old = next((one for one in given_back if one.starts_at == line.starts_at), None)
        base = _base_at(bases, line.starts_at)
        if old is None or base is None:
            continue
        new = prices[line.price_id].plan
        changes.append((line.starts_at, new))
        month_start, month_end = base.month(line.starts_at)
        gained = new.monthly_centi - prices[old.price_id].plan.monthly_centi
        amount = gained * int((month_end - line.starts_at).total_seconds())
        amount //= int((month_end - month_start).total_seconds())
        reason = f"Upgrade to {new.name}, for the rest until {month_end:%d %b %Y}"
        found += _due(invoice, f"upgrade:{line.id}", amount, line.starts_at, month_end, reason)
    return found


def _unused(line: Line, prices: Prices, bases: list[_Base]) -> int:
    """What is left of an older plan's month that its customer was given the money back for."""
    base = _base_at(bases, line.starts_at)
    if base is None or line.price_id not in prices:
        return 0
    month_start, month_end = base.month(line.starts_at)
    rest = int((month_end - line.starts_at).total_seconds())
    return prices[line.price_id].plan.monthly_centi * rest // int((month_end - month_start).total_seconds())


def _year(sub: Sub, base: _Base, changes: list[tuple[datetime, Plan]], moment: datetime, dues: Dues) -> None:
    """The months of a paid year that have begun and not ended; those before were granted in their time or are over."""
    ends_at = min(base.line.ends_at, sub.ended_at or base.line.ends_at)
    number = number_at(base.line.starts_at, moment)
    if number >= 0 and start_of(base.line.starts_at, number) < ends_at:
        starts_at = start_of(base.line.starts_at, number)
        plan = max(
            ((at, plan) for at, plan in changes if base.line.starts_at <= at <= starts_at),
            key=lambda change: change[0],
            default=(starts_at, base.price.plan),
        )[1]
        dues.grants += _month(sub, base, plan, starts_at)
    following = start_of(base.line.starts_at, number + 1)
    next_at = following if following < ends_at else None
    dues.years.append(Year(base.line.starts_at, base.line.ends_at, next_at))


def _base_at(bases: list[_Base], moment: datetime) -> _Base | None:
    return next((base for base in reversed(bases) if base.line.starts_at <= moment < base.line.ends_at), None)


def _due(
    invoice: Invoice, reference: str, amount_centi: int, starts_at: datetime, ends_at: datetime, reason: str
) -> list[Due]:
    if amount_centi <= 0:
        return []
    payment_ref = invoice.payment_intent or invoice.id
    return [Due(reference, amount_centi, starts_at, ends_at, payment_ref, invoice, reason)]
