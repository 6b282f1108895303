"""Credits in templates."""

from django import template

from credits.amounts import CENTI, show
from credits.ledger.books import MOVES
from credits.models import Entry, Grant
from credits.queries import grants_of

register = template.Library()
register.filter("credits", show)
register.simple_tag(grants_of)

MOVEMENTS: dict[str, str] = {
    Entry.Kind.GRANT: "Credits added",
    Entry.Kind.RESERVE: "Set aside for a job",
    Entry.Kind.SETTLE: "Charged for a job",
    Entry.Kind.RELEASE: "Given back from a job",
    Entry.Kind.LAPSE: "Ended while set aside",
    Entry.Kind.EXPIRE: "Ended",
    Entry.Kind.REVOKE: "Taken back",
    Entry.Kind.REINSTATE: "Given again",
    Entry.Kind.OWE: "Taken back after it was spent",
    Entry.Kind.REPAY: "Paid an open debt",
    Entry.Kind.FORGIVE: "Debt forgiven",
}
SHORT: dict[str, str] = {
    Entry.Kind.GRANT: "Added",
    Entry.Kind.RESERVE: "Set aside",
    Entry.Kind.SETTLE: "Charged",
    Entry.Kind.RELEASE: "Given back",
    Entry.Kind.LAPSE: "Ended aside",
    Entry.Kind.EXPIRE: "Ended",
    Entry.Kind.REVOKE: "Taken back",
    Entry.Kind.REINSTATE: "Given again",
    Entry.Kind.OWE: "Debt",
    Entry.Kind.REPAY: "Debt paid",
    Entry.Kind.FORGIVE: "Forgiven",
}


@register.filter
def kind_name(kind: str) -> str:
    """A kind of entry in a word or two, for a filter."""
    return SHORT[kind]


@register.filter
def movement(entry: Entry) -> str:
    """What an entry was, in words."""
    return MOVEMENTS[entry.kind]


@register.filter
def effect(entry: Entry) -> str:
    """What an entry did to what can be spent: `+6`, `−6`, `−1 image`; `6` for a charge, which was set aside before."""
    source, target = MOVES[entry.kind]
    sign = "+" if target == "available" else "−" if source == "available" else ""
    return f"{sign}{_amount(entry)}"


def _amount(entry: Entry) -> str:
    if entry.grant.unit == Grant.Unit.CREDIT:
        return show(entry.amount_centi)
    images = entry.amount_centi // CENTI
    return f"{images} image{'' if images == 1 else 's'}"
