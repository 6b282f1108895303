"""Price lists as staff work on them: copy one, change the copy, look what it would do, publish it.

A list that counts is never touched again; the database refuses (migration 0005).
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import structlog
from django.db import transaction
from django.db.models import Case, QuerySet, Subquery, Value, When
from django.db.models.functions import Now

from credits import prices
from credits.clock import now
from credits.errors import InvalidPrices, PriceMissing
from credits.models import Entry, Hold, PriceRule, PriceVersion
from credits.price_checks import problems_of
from credits.pricing import ask_of, quote

logger = structlog.get_logger(__name__)
NAME_CHARS_MAX = 40
PREVIEW_JOBS_MAX = 1000
GRANTS_A_HOLD = 4  # an entry each; where holds have more, a preview shows fewer jobs
BIGGEST_MAX = 10


@dataclass(frozen=True, slots=True)
class Line:
    """What one job has cost, and what it would."""

    job_id: str
    what: str
    old_centi: int
    new_centi: int

    @property
    def difference_centi(self) -> int:
        return self.new_centi - self.old_centi


@dataclass(frozen=True, slots=True)
class Unpriced:
    """A job that a price list has no price for."""

    job_id: str
    what: str
    reason: str


@dataclass(frozen=True, slots=True)
class Preview:
    """What the last jobs would have cost, newest first. Undiscounted: what a pass paid counts at its price."""

    lines: list[Line]
    unpriced: list[Unpriced]

    @property
    def old_centi(self) -> int:
        return sum(line.old_centi for line in self.lines)

    @property
    def new_centi(self) -> int:
        return sum(line.new_centi for line in self.lines)

    @property
    def difference_centi(self) -> int:
        return self.new_centi - self.old_centi

    @property
    def biggest(self) -> list[Line]:
        """The jobs whose price would change most, in credits."""
        changed = [line for line in self.lines if line.difference_centi]
        return sorted(changed, key=lambda line: -abs(line.difference_centi))[:BIGGEST_MAX]


@transaction.atomic
def copy_as_draft(version: PriceVersion, name: str, *, actor: str) -> PriceVersion:
    """A draft with the rules of another version.

    Raises:
        InvalidPrices: the name is taken, empty or too long.
    """
    name = name.strip()
    if not 0 < len(name) <= NAME_CHARS_MAX:
        raise InvalidPrices(f"A price list has a name of 1 to {NAME_CHARS_MAX} characters.")
    if PriceVersion.objects.filter(name=name).exists():
        raise InvalidPrices(f"There is a price list called {name!r} already.")
    draft = PriceVersion.objects.create(name=name, note=f"From {version.name}")
    PriceRule.objects.bulk_create(
        PriceRule(version=draft, name=rule.name, option=rule.option, up_to=rule.up_to, value=rule.value)
        for rule in version.rules.all()
    )
    logger.info("prices_copied", version=version.name, draft=name, actor=actor)
    return draft


def lock_draft(version_id: int) -> PriceVersion:
    """Hold a draft until the transaction ends, so that nobody publishes it while it changes.

    Raises:
        InvalidPrices: it is no draft any more, or it is gone.
    """
    draft = PriceVersion.objects.select_for_update().filter(pk=version_id).first()
    if draft is None or draft.effective_at is not None:
        raise InvalidPrices("This price list was published or deleted meanwhile. Copy it to change it.")
    return draft


@transaction.atomic
def publish(version: PriceVersion, *, actor: str, effective_at: datetime | None = None) -> PriceVersion:
    """Let a draft count from now on, or from a later moment.

    Raises:
        InvalidPrices: it was published before, has problems, or would begin in the past or together with another.
    """
    draft = lock_draft(version.pk)
    if problems := problems_of(draft):
        raise InvalidPrices(" ".join(problems))
    if effective_at is not None and effective_at < now():
        raise InvalidPrices("Prices cannot begin in the past.")
    if effective_at is not None and PriceVersion.objects.filter(effective_at=effective_at).exists():
        raise InvalidPrices("Another price list begins at that moment.")
    PriceVersion.objects.filter(pk=draft.pk).update(
        effective_at=Now() if effective_at is None else effective_at, published_by=actor
    )
    draft.refresh_from_db()
    logger.warning("prices_published", version=draft.name, effective_at=str(draft.effective_at), actor=actor)
    return draft


@transaction.atomic
def withdraw(version: PriceVersion, *, actor: str) -> PriceVersion:
    """Make a draft again of a version whose moment has not come.

    Raises:
        InvalidPrices: it counts already, or is a draft.
    """
    planned = PriceVersion.objects.select_for_update().filter(pk=version.pk, effective_at__gt=Now()).first()
    if planned is None:
        raise InvalidPrices("Only a price list whose moment has not come can be withdrawn.")
    planned.effective_at, planned.published_by = None, ""
    planned.save(update_fields=["effective_at", "published_by"])
    logger.warning("prices_withdrawn", version=planned.name, actor=actor)
    return planned


def preview(version: PriceVersion, last: int = 100) -> Preview:
    """What the last jobs would have cost with a version, drafts included. Reads at most `PREVIEW_JOBS_MAX` jobs.

    Raises:
        PriceMissing: it has no rules at all.
    """
    list_ = prices.of_version(version)
    lines, unpriced = [], []
    for hold in _newest_holds(min(last, PREVIEW_JOBS_MAX)):
        what, ask = _words(hold.quote), ask_of(hold.quote)
        if ask is None:
            unpriced.append(Unpriced(hold.job_id, what, "Its quote does not say what was asked for."))
            continue
        try:
            new = quote(list_, ask).total_centi
        except PriceMissing as error:
            unpriced.append(Unpriced(hold.job_id, what, str(error)))
            continue
        lines.append(Line(hold.job_id, what, hold.quote["unit_centi"] * hold.quote["count"], new))
    return Preview(lines, unpriced)


def _newest_holds(number: int) -> list[Hold]:
    """By their entries: those are numbered as they come, and no index of the holds is needed for it."""
    reserved = Entry.objects.filter(kind=Entry.Kind.RESERVE).order_by("-pk").values_list("hold_id", flat=True)
    newest = list(dict.fromkeys(reserved[: number * GRANTS_A_HOLD]))[:number]
    found = Hold.objects.in_bulk(newest)
    # A delivery after its hold had ended has a second hold for the same job.
    return [found[pk] for pk in newest if found[pk].reference == found[pk].job_id]


def _words(stored: dict[str, Any]) -> str:
    facts = stored.get("facts", {})
    if stored.get("kind") == "image" and "width" in facts:
        return f"{stored['count']} x {facts['width']}x{facts['height']} {facts.get('quality', '')}".strip()
    return str(stored.get("kind", "?"))


def with_state(versions: QuerySet[PriceVersion]) -> QuerySet[PriceVersion]:
    """Versions with their `state`: `draft`, `planned`, `in force` or `past`."""
    begun = PriceVersion.objects.filter(effective_at__lte=Now()).order_by("-effective_at")
    state = Case(
        When(effective_at=None, then=Value("draft")),
        When(effective_at__gt=Now(), then=Value("planned")),
        When(pk=Subquery(begun.values("pk")[:1]), then=Value("in force")),
        default=Value("past"),
    )
    return versions.annotate(state=state)
