"""Passes as people see them: what is left, and for how long."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from accounts.models import Team
from credits.amounts import CENTI
from credits.clock import now
from credits.models import Pass
from tenkaigen.paging import Page, page


class State(StrEnum):
    WAITING = "waiting"
    RUNNING = "running"
    USED_UP = "used_up"  # its time has not ended, but its images have
    OVER = "over"


@dataclass(frozen=True, slots=True)
class PassState:
    """A pass at one moment."""

    of: Pass
    state: State
    images_left: int
    seconds_left: int | None  # None: it was not started
    ends_at: datetime | None


def states_of(passes: Iterable[Pass]) -> list[PassState]:
    """The state of each pass now. Its grant must have been read with it."""
    given = list(passes)
    moment = now() if any(one.grant_id for one in given) else None
    return [_state(one, moment) for one in given]


def pass_page(team: Team, cursor: str | None, size: int) -> Page[Pass]:
    """Every pass that a team was given and not refunded, newest first.

    Raises:
        BadCursor: the cursor is not one of ours.
    """
    return page(Pass.objects.filter(team=team, withdrawn_at=None).select_related("grant"), cursor, size)


def _state(one: Pass, moment: datetime | None) -> PassState:
    if one.grant is None or moment is None:
        return PassState(one, State.WAITING, one.images, None, None)
    ends_at = one.grant.expires_at
    assert ends_at is not None, "the grant of a pass ends"
    seconds = max(0, round((ends_at - moment).total_seconds()))
    if not seconds:
        return PassState(one, State.OVER, 0, 0, ends_at)
    images = one.grant.available_centi // CENTI
    return PassState(one, State.RUNNING if images else State.USED_UP, images, seconds, ends_at)
