"""What the owner asks of the last days: who came, made, used up and paid, and how the REST interface answered.

Reads only. Nobody is followed: people are counted by their jobs, teams by their payments, visits by the page.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from django.db.models import Count, F, Sum

from credits.models import Grant, Payment, Purchase
from generation import counts
from generation.models import DayCount, Job
from generation.report import Report, Span


@dataclass(frozen=True, slots=True)
class Paid:
    """What came in one currency, refunds taken off."""

    currency: str
    cents: int
    teams: int

    @property
    def cents_per_team(self) -> int:
        return round(self.cents / self.teams)


@dataclass(frozen=True, slots=True)
class Figures:
    """Counts of some days. Ratios are None where there is nothing to divide by."""

    visits: int
    buyers: int  # teams, each once
    images: int
    people: int  # who were delivered images
    granted_centi: int
    charged_centi: int
    paid: Sequence[Paid]
    answers: int  # of the REST interface
    refused: int  # of them, with 4xx
    failed: int  # of them, with 5xx

    @property
    def images_per_person(self) -> float | None:
        return self.images / self.people if self.people else None

    @property
    def buyers_percent(self) -> float | None:
        return _percent(self.buyers, self.visits)

    @property
    def used_percent(self) -> float | None:
        return _percent(self.charged_centi, self.granted_centi)

    @property
    def refused_percent(self) -> float | None:
        return _percent(self.refused, self.answers)

    @property
    def failed_percent(self) -> float | None:
        return _percent(self.failed, self.answers)


def figures(span: Span, made: Report) -> Figures:
    """The owner's figures for the days of a report."""
    credits = Grant.objects.filter(unit=Grant.Unit.CREDIT, created_at__gte=span.since, created_at__lt=span.until)
    delivered = Job.objects.filter(
        kind=Job.Kind.IMAGE, status=Job.Status.COMPLETED, finished_at__gte=span.since, finished_at__lt=span.until
    )
    bought = Purchase.objects.filter(paid_at__gte=span.since, paid_at__lt=span.until)
    answers = _answers(span)
    return Figures(
        visits=sum(day.visits for day in made.funnel),
        buyers=bought.values("team").distinct().count(),
        images=made.total.images,
        people=delivered.values("user").distinct().count(),
        granted_centi=credits.aggregate(sum=Sum("granted_centi"))["sum"] or 0,
        charged_centi=made.total.charged_centi,
        paid=_paid(span),
        answers=sum(answers.values()),
        refused=answers.get(f"{counts.ANSWER}4xx", 0),
        failed=answers.get(f"{counts.ANSWER}5xx", 0),
    )


def _paid(span: Span) -> list[Paid]:
    payments = Payment.objects.filter(created_at__gte=span.since, created_at__lt=span.until)
    sums = payments.values("currency").annotate(
        cents=Sum(F("amount_cents") - F("refunded_cents")), teams=Count("team", distinct=True)
    )
    return [Paid(row["currency"].upper(), row["cents"], row["teams"]) for row in sums.order_by("currency")]


def _answers(span: Span) -> dict[str, int]:
    rows = DayCount.objects.filter(name__startswith=counts.ANSWER, day__range=(span.first, span.last))
    return dict(rows.values_list("name").annotate(total=Sum("count")).order_by("name"))


def _percent(part: int, whole: int) -> float | None:
    return 100 * part / whole if whole else None
