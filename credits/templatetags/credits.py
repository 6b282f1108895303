"""Credits in templates."""

from django import template

from credits.amounts import show
from credits.ledger import WALLET_EFFECT
from credits.models import Entry
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
    """What an entry did to what can be spent: `+6`, `−6`; `6` for a charge, which had been set aside before."""
    sign = {1: "+", -1: "−", 0: ""}[WALLET_EFFECT[entry.kind][0]]
    return f"{sign}{show(entry.amount_centi)}"
