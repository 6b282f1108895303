"""Credits in words, for pages and statements. Pure."""

from datetime import datetime
from decimal import Decimal
from typing import Any

from credits.amounts import CENTI, show
from credits.models import Entry, Grant

KINDS: dict[str, str] = {
    Entry.Kind.GRANT: "Credits added",
    Entry.Kind.RESERVE: "Set aside for a job",
    Entry.Kind.SETTLE: "Charged for a job",
    Entry.Kind.RELEASE: "Given back from a job",
    Entry.Kind.LAPSE: "Expired while set aside",
    Entry.Kind.EXPIRE: "Expired",
    Entry.Kind.REVOKE: "Taken back",
    Entry.Kind.REINSTATE: "Restored",
    Entry.Kind.OWE: "Taken back after it was spent",
    Entry.Kind.REPAY: "Paid an open debt",
    Entry.Kind.FORGIVE: "Debt forgiven",
}
SHORT: dict[str, str] = {
    Entry.Kind.GRANT: "Added",
    Entry.Kind.RESERVE: "Set aside",
    Entry.Kind.SETTLE: "Charged",
    Entry.Kind.RELEASE: "Given back",
    Entry.Kind.LAPSE: "Expired in a job",
    Entry.Kind.EXPIRE: "Expired",
    Entry.Kind.REVOKE: "Taken back",
    Entry.Kind.REINSTATE: "Restored",
    Entry.Kind.OWE: "Debt",
    Entry.Kind.REPAY: "Debt paid",
    Entry.Kind.FORGIVE: "Forgiven",
}
SOURCES: dict[str, str] = {
    Grant.Source.PLAN: "Plan",
    Grant.Source.BONUS: "Bonus",
    Grant.Source.PURCHASE: "Bought credits",
    Grant.Source.PASS: "Pass",
    Grant.Source.ADJUSTMENT: "Adjustment",
}
# What a quote's facts are called on a receipt; the rest of them are what was asked for.
FACTORS: dict[str, str] = {
    "resolution_factor": "Resolution",
    "quality_factor": "Quality",
    "complexity": "Model",
}


def movement(entry: Entry) -> str:
    """What an entry was. Needs `entry.grant`."""
    if entry.kind == Entry.Kind.GRANT and entry.grant.unit == Grant.Unit.IMAGE:
        return "Pass started"
    return KINDS[entry.kind]


def reason(entry: Entry) -> str:
    """Why, where `origin` does not say it already."""
    told = entry.kind == Entry.Kind.GRANT and entry.grant.source in (Grant.Source.PLAN, Grant.Source.PASS)
    return "" if told else entry.reason


def quantity(amount_centi: int, unit: str) -> str:
    """`600` as `6` of credits, as `6 pictures` of a pass."""
    return show(amount_centi) if unit == Grant.Unit.CREDIT else pictures(amount_centi // CENTI)


def pictures(count: int) -> str:
    return f"{count:,} picture{'' if count == 1 else 's'}"


def origin(grant: Grant) -> str:
    """Where credits came from: `Flash pass`, `Plan, 20 Nov to 20 Dec 2026`, `Bonus`. Needs `grant.of_pass`."""
    if grant.source == Grant.Source.PASS and hasattr(grant, "of_pass"):
        return f"{grant.of_pass.name} pass"
    words = SOURCES[grant.source]
    if grant.source == Grant.Source.PLAN and grant.expires_at:
        return f"{words}, {_day(grant.effective_at)} to {_day(grant.expires_at)} {grant.expires_at.year}"
    return words


def work(quote: dict[str, Any]) -> str:
    """What a stored quote was for: `2 pictures, 512 × 384, HD`, `A model from 10 pictures`, `Refinement 2`."""
    facts = quote.get("facts", {})
    kind = quote.get("kind", "image")
    if kind == "creation":
        return f"A model from {pictures(facts['images'])}" if "images" in facts else "A model"
    if kind == "refinement":
        return f"Refinement {facts['iteration']}" if "iteration" in facts else "Refinement"
    size = f", {facts['width']} × {facts['height']}" if "width" in facts else ""
    return f"{pictures(quote['count'])}{size}{', HD' if facts.get('quality') == 'hd' else ''}"


def factors(quote: dict[str, Any]) -> list[tuple[str, str]]:
    """The factors that made a stored quote's price, by name."""
    facts = quote.get("facts", {})
    return [(words, f"{Decimal(facts[name]).normalize():f}") for name, words in FACTORS.items() if name in facts]


def _day(moment: datetime) -> str:
    return f"{moment.day} {moment:%b}"
