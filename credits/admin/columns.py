"""Columns and texts that the admin pages about credits share."""

from collections.abc import Callable
from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from credits.amounts import show

ACTOR_CHARS_MAX = 120  # of an entry, a pass, a price list


def credits_column(name: str, title: str) -> Callable[[Any, Any], str]:
    """A column or field that shows hundredths as credits."""

    @admin.display(description=title, ordering=name)
    def column(self: Any, row: Any) -> str:
        return show(getattr(row, name))

    return column


def actor_of(request: HttpRequest) -> str:
    """How the acts of a staff member are signed."""
    return f"staff:{request.user.email}"[:ACTOR_CHARS_MAX]  # type: ignore[union-attr]
