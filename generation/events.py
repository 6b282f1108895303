"""What watchers of a job are told between two looks into PostgreSQL: progress, previews, positions, cancel flags.

All of it lives in Redis for an hour and may vanish at any moment: a miss means "ask the database", a dead Redis
means the same for everybody. No function here raises because of Redis.
"""

import json
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any, TypeVar
from uuid import UUID

import redis
import structlog
from django.conf import settings
from django.core import signing

logger = structlog.get_logger(__name__)
T = TypeVar("T")

STATE_SECONDS = 3600
PREVIEW_SECONDS = 300
PREVIEW_AFTER_SECONDS = 10  # a card that still shows it may ask once more
WAIT_SECONDS = 30
WORKER_SECONDS = 30
# After a failure Redis is left alone for this long, so that a dead one does not cost a time-out per call.
BREAK_SECONDS = 2.0
COUNTS_KEY = "counts"
CARD_SALT = "generation.card"
_broken_until = 0.0


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a job is, as its card shows it."""

    status: str
    phase: str = ""  # while processing: "next", "loading", "drawing", "storing"; "fetching" and "training"
    steps_done: int = 0
    steps_total: int = 0
    has_preview: bool = False
    position: int = 0  # while queued: 1 is next
    seconds_left: int | None = None
    reason: str = ""  # while queued: why it waits, in words
    fence: int = 0
    loss: float | None = None  # while training


@dataclass(frozen=True, slots=True)
class Watcher:
    """Who may look at a card without asking PostgreSQL, as the card's signed token says."""

    job_id: str
    user_id: int
    team_id: str
    status: str
    epoch: int


@cache
def client() -> redis.Redis:
    return redis.Redis.from_url(settings.REDIS_URL, **settings.REDIS_OPTIONS_OF_PAGES)


def publish(job_ids: Iterable[UUID], progress: Progress, previews: Sequence[bytes] = ()) -> None:
    """Tell the watchers of some jobs the same progress, with a rough picture each where there is one."""
    ids = [str(job_id) for job_id in job_ids]
    state = _text_of(progress)

    def send() -> None:
        with client().pipeline(transaction=False) as pipe:
            for place, job_id in enumerate(ids):
                pipe.set(f"job:{job_id}", state, ex=STATE_SECONDS)
                if place < len(previews):
                    pipe.set(f"preview:{job_id}", previews[place], ex=PREVIEW_SECONDS)
            pipe.execute()

    _try(send, None)


def publish_waits(progresses: dict[UUID, Progress]) -> None:
    """Tell the watchers of waiting jobs each their own place, in one round trip.

    Places have keys of their own, which what a worker says outranks: a job may be claimed while places are counted.
    """

    def send() -> None:
        with client().pipeline(transaction=False) as pipe:
            for job_id, progress in progresses.items():
                pipe.set(f"wait:{job_id}", _text_of(progress), ex=WAIT_SECONDS)
            pipe.execute()

    if progresses:
        _try(send, None)


def _text_of(progress: Progress) -> str:
    # What is None is left out: a web process of the version before may not know the field.
    return json.dumps({name: value for name, value in asdict(progress).items() if value is not None})


def forget(job_ids: Iterable[UUID]) -> None:
    """Drop what is known of jobs that went back into the queue: the next look is into PostgreSQL."""
    keys = [f"{kind}:{job_id}" for job_id in job_ids for kind in ("job", "wait")]
    if keys:
        _try(lambda: client().delete(*keys), None)


def progress_of(job_id: object) -> Progress | None:
    nothing: list[Any] = [None, None]
    said, place = _try(lambda: client().mget([f"job:{job_id}", f"wait:{job_id}"]), nothing)
    return _progress_from(said or place)


def _progress_from(text: bytes | None) -> Progress | None:
    return Progress(**json.loads(text)) if text else None


def end_preview(job_id: UUID) -> None:
    """Let a finished job's preview go soon: it is as large as a stored one."""
    _try(lambda: client().expire(f"preview:{job_id}", PREVIEW_AFTER_SECONDS), None)


def flag_canceled(job_id: UUID) -> None:
    """Tell the worker at its next step; without Redis its next heartbeat tells it."""
    _try(lambda: client().set(f"canceled:{job_id}", 1, ex=STATE_SECONDS), None)


def canceled_among(job_ids: Iterable[UUID]) -> set[UUID]:
    ids = list(job_ids)
    flags: list[Any] = _try(lambda: client().mget([f"canceled:{job_id}" for job_id in ids]), [None] * len(ids))
    return {job_id for job_id, flag in zip(ids, flags, strict=True) if flag}


# --- Workers --------------------------------------------------------------------------------------------------------
def worker_is_here(
    worker: str, *, state: str, models: Iterable[str], kinds: Iterable[str] = ("image",), has_adapters: bool = True
) -> None:
    """A worker says that it lives, what it does ("loading", "idle", "busy") and what it serves: with adapters, people's
    own models, too."""
    said = {"state": state, "models": sorted(models), "kinds": sorted(kinds), "has_adapters": has_adapters}
    _try(lambda: client().set(f"worker:{worker}", json.dumps(said), ex=WORKER_SECONDS), None)


def worker_is_gone(worker: str) -> None:
    _try(lambda: client().delete(f"worker:{worker}"), None)


def workers() -> list[dict[str, Any]] | None:
    """What every living worker last said; None when Redis cannot be asked."""

    def read() -> list[dict[str, Any]]:
        keys = list(client().scan_iter("worker:*", count=500))
        return [json.loads(text) for text in client().mget(keys) if text] if keys else []

    return _try(read, None)


def note_speed(model: str, seconds_per_image: float) -> None:
    """Keep a running mean of what one image takes, for the estimates of those who wait.

    Of a training it is one step, and the name is `training_of(model)`.
    """

    def send() -> None:
        before = client().get(f"speed:{model}")
        mean = seconds_per_image if before is None else 0.8 * float(before) + 0.2 * seconds_per_image
        client().set(f"speed:{model}", mean, ex=7 * 24 * STATE_SECONDS)

    _try(send, None)


def training_of(model: str) -> str:
    """The name under which the speed of a model's training steps is kept."""
    return f"train:{model}"


def speed_of(model: str) -> float | None:
    text = _try(lambda: client().get(f"speed:{model}"), None)
    return float(text) if text else None


# --- Counts that wait to be written down ----------------------------------------------------------------------------
def add_to_count(field: str, times: int = 1) -> bool:
    """Count something that `counts.write_down` will take away. False: Redis is away."""
    return _try(lambda: client().hincrby(COUNTS_KEY, field, times), None) is not None


def take_counts() -> dict[str, int]:
    """Everything that was counted since the last time."""

    def take() -> dict[str, int]:
        with client().pipeline(transaction=True) as pipe:
            pipe.hgetall(COUNTS_KEY)
            pipe.delete(COUNTS_KEY)
            found, _ = pipe.execute()
        return {field.decode(): int(times) for field, times in found.items()}

    return _try(take, {})


# --- The card's token: a look that costs no SQL ---------------------------------------------------------------------
def card_token(*, job_id: UUID, user_id: int, team_id: UUID, status: str) -> str:
    """A short-lived ticket for one person to watch one job, good until their membership changes."""
    return signing.dumps(
        [str(job_id), user_id, str(team_id), status, _epoch(user_id) or 0], salt=CARD_SALT, compress=False
    )


def progress_for(token: str, job_id: UUID) -> Progress | None:
    """What a ticket's holder may be told while the status is the ticket's; None: ask the database.

    A ticket that is forged, old, for another job, or of somebody whose membership changed, is told nothing.
    """
    watcher, (said, place) = _shown_to(token, job_id, "job", "wait")
    progress = _progress_from(said or place)
    return progress if watcher and progress and progress.status == watcher.status else None


def preview_for(token: str, job_id: UUID) -> bytes | None:
    """The rough picture, for the holder of a good ticket."""
    return _shown_to(token, job_id, "preview")[1][0]


def _shown_to(token: str, job_id: UUID, *kinds: str) -> tuple[Watcher | None, list[Any]]:
    """A good ticket's holder and what Redis has for it, in one round trip; else nothing at all."""
    nothing: list[Any] = [None] * len(kinds)
    try:
        watcher = Watcher(*signing.loads(token, salt=CARD_SALT, max_age=settings.STATUS_TOKEN_SECONDS))
    except (signing.BadSignature, TypeError):
        return None, nothing
    keys = [f"epoch:{watcher.user_id}", *(f"{kind}:{job_id}" for kind in kinds)]
    epoch, *found = _try(lambda: client().mget(keys), [-1, *nothing])
    is_good = watcher.job_id == str(job_id) and int(epoch or 0) == watcher.epoch
    return (watcher, found) if is_good else (None, nothing)


def end_tickets(user_id: int) -> None:
    """Make every ticket of a person worthless: they signed out, or left a team."""
    _try(lambda: client().incr(f"epoch:{user_id}"), None)


def _epoch(user_id: int) -> int | None:
    return _try(lambda: int(client().get(f"epoch:{user_id}") or 0), None)


def _try(call: Callable[[], T], otherwise: T) -> T:
    global _broken_until
    if time.monotonic() < _broken_until:
        return otherwise
    try:
        return call()
    except redis.RedisError as error:
        _broken_until = time.monotonic() + BREAK_SECONDS
        logger.warning("redis_is_away", error=type(error).__name__)
        return otherwise
