"""Every movement of a team's credits, a page at a time or all of them."""

from collections.abc import Iterator
from dataclasses import dataclass

from django.db.models import QuerySet, Subquery

from accounts.models import Team
from credits.models import Entry, Wallet
from tenkaigen.paging import BadCursor

STATEMENT_PAGE = 50
EXPORT_CHUNK = 1000


@dataclass(frozen=True, slots=True)
class StatementPage:
    """Entries, newest first, and where the next page goes on."""

    items: list[Entry]
    next_cursor: str | None


def statement_page(team: Team, cursor: str | None, *, kind: str = "", size: int = STATEMENT_PAGE) -> StatementPage:
    """A page of a team's entries. The number of an entry is its place, so page 4,000 costs what page 1 costs.

    Raises:
        BadCursor: the cursor is not one of ours.
    """
    entries = _entries(team, kind)
    if cursor:
        entries = entries.filter(seq__lt=_seq(cursor))
    # The page from the index alone, and only then what it is about: in one go, the planner thinks of a wallet of
    # average size and sorts the largest one whole.
    page = Entry.objects.filter(pk__in=entries.order_by("-seq").values("pk")[: size + 1])
    found = list(page.select_related("grant__of_pass", "hold").order_by("-seq"))
    return StatementPage(found[:size], str(found[size - 1].seq) if len(found) > size else None)


def whole_statement(team: Team, *, kind: str = "") -> Iterator[Entry]:
    """Every entry, newest first, read a chunk at a time."""
    page = statement_page(team, None, kind=kind, size=EXPORT_CHUNK)
    while page.items:
        yield from page.items
        if page.next_cursor is None:
            return
        page = statement_page(team, page.next_cursor, kind=kind, size=EXPORT_CHUNK)


def _entries(team: Team, kind: str) -> QuerySet[Entry]:
    # Not a join to the wallet: through one the index cannot give the order, and every entry would be sorted.
    wallet = Wallet.objects.filter(team=team).values("pk")
    entries = Entry.objects.filter(wallet=Subquery(wallet))
    return entries.filter(kind=kind) if kind else entries


def _seq(cursor: str) -> int:
    # Digits beyond what a bigint holds are as broken as letters.
    if cursor.isascii() and cursor.isdigit() and len(cursor) <= 18:
        return int(cursor)
    raise BadCursor("This page link is broken. Start again from the first page.")
