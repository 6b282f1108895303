"""Credits in templates."""

from uuid import UUID

from django import template

from accounts.models import Team
from credits import words
from credits.amounts import show
from credits.ledger.books import MOVES
from credits.models import Entry, Hold
from credits.queries import JobReceipt, receipt_of

register = template.Library()
register.filter("credits", show)
register.filter("quantity", words.quantity)
register.filter("origin", words.origin)
register.filter("pictures", words.pictures)
register.filter("movement", words.movement)
register.filter("reason", words.reason)


@register.filter
def kind_name(kind: str) -> str:
    """A kind of entry in a word or two, for a filter."""
    return words.SHORT[kind]


@register.filter
def effect(entry: Entry) -> str:
    """What an entry did to what can be spent: `+6`, `−6`, `−1 picture`; `6` for a charge, set aside before."""
    source, target = MOVES[entry.kind]
    sign = "+" if target == "available" else "−" if source == "available" else ""
    return f"{sign}{words.quantity(entry.amount_centi, entry.grant.unit)}"


@register.filter
def work(hold: Hold) -> str:
    """What a hold was made for."""
    return words.work(hold.quote)


@register.filter
def factors(hold: Hold) -> list[tuple[str, str]]:
    """The factors of a hold's price."""
    return words.factors(hold.quote)


@register.filter
def set_aside(hold: Hold) -> str:
    """What a hold holds: `12 credits`, `2 pictures of a pass and 12 credits`."""
    parts = [f"{words.pictures(hold.pass_images)} of a pass"] if hold.pass_images else []
    parts += [f"{show(hold.amount_centi)} credits"] if hold.amount_centi else []
    return " and ".join(parts)


@register.filter
def minutes_left(seconds: int) -> str:
    """`2467` as `41:07`."""
    return f"{seconds // 60}:{seconds % 60:02d}"


@register.filter
def money(cents: int, currency: str) -> str:
    """`5000` and `INR` as `INR 50`."""
    return f"{currency} {show(cents)}"


@register.filter
def gigabytes(count: int) -> str:
    """Bytes as a plan counts them."""
    return f"{count / 10**9:,.4g} GB"


@register.simple_tag
def job_receipt(team: Team, job_id: UUID) -> JobReceipt | None:
    """What a job came to; None where nothing was reserved for it."""
    return receipt_of(team, job_id)
