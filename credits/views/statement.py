"""The statement: every movement of a team's credits, to read and to take along."""

import csv
from collections.abc import Iterator
from typing import Any

from django.http import Http404
from django.http.response import HttpResponse, StreamingHttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET

from accounts.access import needs
from accounts.roles import Ability
from credits.amounts import plain
from credits.models import Entry
from credits.queries import statement_page, whole_statement
from credits.words import origin, work
from tenkaigen.htmx import HtmxRequest
from tenkaigen.paging import BadCursor

COLUMNS = (
    "number", "time", "kind", "unit", "amount", "available_after", "reserved_after", "debt_after", "source", "what",
    "job", "actor", "reason",
)  # fmt: skip
# A spreadsheet would run a cell that begins with one of these.
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


@needs(Ability.READ)
@require_GET
def statement(request: HtmxRequest) -> HttpResponse:
    try:
        return render(request, "credits/statement.html", _context(request))
    except BadCursor:
        return redirect("credits:statement")


@needs(Ability.READ)
@require_GET
def statement_more(request: HtmxRequest) -> HttpResponse:
    try:
        return render(request, "credits/_statement_rows.html", _context(request))
    except BadCursor as error:
        raise Http404(str(error)) from None


@needs(Ability.READ)
@require_GET
def statement_csv(request: HtmxRequest) -> StreamingHttpResponse:
    rows = _csv_lines(whole_statement(request.team, kind=_kind(request)))
    headers = {"Content-Disposition": 'attachment; filename="statement.csv"'}
    return StreamingHttpResponse(rows, content_type="text/csv; charset=utf-8", headers=headers)


def _context(request: HtmxRequest) -> dict[str, object]:
    kind = _kind(request)
    page = statement_page(request.team, request.GET.get("cursor"), kind=kind)
    return {"page": page, "kind": kind, "kinds": Entry.Kind.values}


def _kind(request: HtmxRequest) -> str:
    kind = request.GET.get("kind", "")
    return kind if kind in Entry.Kind.values else ""


class _Echo:
    """A file for the csv module whose writes come back as values."""

    def write(self, line: str) -> str:
        return line


def _csv_lines(entries: Iterator[Entry]) -> Iterator[str]:
    writer: Any = csv.writer(_Echo())
    yield writer.writerow(COLUMNS)
    for entry in entries:
        yield writer.writerow(
            [
                entry.seq,
                entry.created_at.isoformat(timespec="seconds"),
                entry.kind,
                entry.grant.unit,
                plain(entry.amount_centi),
                plain(entry.available_after_centi),
                plain(entry.held_after_centi),
                plain(entry.debt_after_centi),
                entry.grant.source,
                _harmless(work(entry.hold.quote) if entry.hold else origin(entry.grant)),
                entry.hold.job_id if entry.hold else "",
                _harmless(entry.actor),
                _harmless(entry.reason),
            ]
        )


def _harmless(text: str) -> str:
    return f"'{text}" if text.startswith(FORMULA_STARTS) else text
