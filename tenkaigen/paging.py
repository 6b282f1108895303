"""Keyset paging, newest first: page 4,000 costs what page 1 costs, and nothing is counted."""

import base64
import binascii
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Generic, TypeVar
from uuid import UUID

from django.db import models
from django.db.models import Q, QuerySet

from tenkaigen.errors import DomainError

Row = TypeVar("Row", bound=models.Model)


class BadCursor(DomainError):
    code = "bad_cursor"
    http_status = 400


@dataclass(frozen=True, slots=True)
class Page(Generic[Row]):
    items: list[Row]
    next_cursor: str | None


def page(rows: QuerySet[Row], cursor: str | None, size: int) -> Page[Row]:
    """The page of `rows` that follows `cursor`. The model has `created_at` and a UUID `id`, and an index on both.

    Raises:
        BadCursor: the cursor is not one of ours.
    """
    ordered = rows.order_by("-created_at", "-id")
    if cursor:
        moment, row_id = _decode(cursor)
        # The first condition alone would do; with the second PostgreSQL can start inside the index.
        ordered = ordered.filter(Q(created_at__lt=moment) | Q(created_at=moment, id__lt=row_id), created_at__lte=moment)
    found = list(ordered[: size + 1])
    items = found[:size]
    return Page(items, _encode(items[-1]) if len(found) > size else None)


def _encode(row: models.Model) -> str:
    text = f"{row.created_at.isoformat()}|{row.pk}"  # type: ignore[attr-defined]
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _decode(cursor: str) -> tuple[datetime, UUID]:
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
        moment, _, row_id = text.partition("|")
        return datetime.fromisoformat(moment).astimezone(UTC), UUID(row_id)
    except (ValueError, OverflowError, binascii.Error):
        raise BadCursor("This page link is broken. Start again from the first page.") from None
