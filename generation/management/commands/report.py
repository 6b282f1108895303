"""What the product did in the last days, as lines to read or as CSV to calculate with."""

import csv
from collections.abc import Iterator, Sequence

from django.core.management.base import BaseCommand, CommandError, CommandParser

from generation import owner
from generation import report as reports
from generation.report import Funnel, Line, Report

COLUMNS = (
    "table", "name", "images", "jobs", "completed", "failed", "canceled", "success_percent", "mean_seconds",
    "p95_seconds", "device_seconds", "stored_bytes", "credits_charged", "cost", "cost_per_1000_images",
    "visits", "sign_ups", "buyers",
)  # fmt: skip
SHOWN = (
    "name", "images", "jobs", "failed", "canceled", "success_percent", "mean_seconds", "p95_seconds",
    "device_seconds", "stored_bytes", "cost_per_1000_images", "visits", "sign_ups", "buyers",
)  # fmt: skip


class Command(BaseCommand):
    help = "Images, success, times, storage, cost, visits, sign-ups and buyers of the last days."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--days", type=int, default=30, help=f"1 to {reports.DAYS_MAX}, today included")
        parser.add_argument("--csv", action="store_true", help="one table for a program, on standard output")

    def handle(self, *, days: int, **options: object) -> None:
        if not 1 <= days <= reports.DAYS_MAX:
            raise CommandError(f"--days must be from 1 to {reports.DAYS_MAX}")
        span = reports.last_days(days)
        made = reports.make(span)
        rows = list(rows_of(made))
        if options["csv"]:
            csv.writer(self.stdout, lineterminator="").writerows([COLUMNS, *rows])
            return
        for line in aligned([SHOWN, *([row[COLUMNS.index(name)] for name in SHOWN] for row in rows)]):
            self.stdout.write(line)
        for line in words_of(owner.figures(span, made)):
            self.stdout.write(line)
        if made.total.cost is None:
            self.stdout.write("No costs: DEVICE_PRICE_PER_HOUR is not set.")


def words_of(asked: owner.Figures) -> Iterator[str]:
    """The owner's figures, one fact a line; what nobody can divide is left out."""
    yield f"people who made images: {asked.people}"
    shares = [
        ("images per person", asked.images_per_person, ""),
        ("credits used of those granted", asked.used_percent, " %"),
        ("buyers of visits", asked.buyers_percent, " %"),
        ("REST answers that refused (4xx)", asked.refused_percent, " %"),
        ("REST answers that failed (5xx)", asked.failed_percent, " %"),
    ]
    yield from (f"{name}: {share:.1f}{unit}" for name, share, unit in shares if share is not None)
    for paid in asked.paid:
        yield f"paid in {paid.currency}: {paid.cents / 100:.2f}, teams: {paid.teams}"


def rows_of(made: Report) -> Iterator[list[str]]:
    total = Funnel(
        "all",
        sum(day.visits for day in made.funnel),
        sum(day.sign_ups for day in made.funnel),
        sum(day.buyers for day in made.funnel),
    )
    for line, funnel in zip(made.days, made.funnel, strict=True):
        yield _row("day", line, funnel)
    for line in made.models:
        yield _row("model", line, None)
    for line in made.plans:
        yield _row("plan", line, None)
    yield _row("all", made.total, total)


def _row(table: str, line: Line, funnel: Funnel | None) -> list[str]:
    numbers = [
        line.images, line.jobs, line.completed, line.failed, line.canceled, line.success_percent, line.mean_seconds,
        line.p95_seconds, line.device_seconds, line.stored_bytes, line.charged_centi / 100, line.cost,
        line.cost_per_1000,
    ]  # fmt: skip
    people = [funnel.visits, funnel.sign_ups, funnel.buyers] if funnel else [None] * 3
    return [table, line.name, *map(_text, [*numbers, *people])]


def _text(number: object) -> str:
    if number is None:
        return ""
    return str(number) if isinstance(number, int) else f"{number:.2f}"


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    return [
        "  ".join([row[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True))])
        for row in rows
    ]
