"""What a job's card shows, and how soon it should ask again. The words of progress live here."""

from dataclasses import dataclass
from datetime import datetime

from accounts.models import User
from generation import events, queries
from generation.events import Progress
from generation.models import Job

SOON_MS = 300
DRAWING_MS = 500
UNKNOWN_MS = 1000  # loading, or nobody says: without Redis every question costs SQL
SLOWEST_MS = 2000
QUEUED_MS = 600  # near the front, and where nobody can say when it starts
QUEUED_SLOWEST_MS = 5000  # a long queue moves no faster for being asked
WAIT_SHARE_PERCENT = 10  # of the time that is left, between two questions
TITLES = {
    "next": "Up next",
    "loading": "The model is loading",
    "drawing": "Drawing",
    "storing": "Almost there: checking and saving",
}


@dataclass(frozen=True, slots=True)
class Watch:
    """The part of an open job's card that asks for itself again. Made without SQL from a ticket and Redis."""

    job_id: str
    token: str
    progress: Progress
    place: str = ""  # "page": on the job's own page, whose details change with it

    @property
    def delay_ms(self) -> int:
        return poll_delay_ms(self.progress)

    @property
    def title(self) -> str:
        if self.progress.status == Job.Status.QUEUED:
            return "In the queue"
        return TITLES.get(self.progress.phase, "Drawing")

    @property
    def detail(self) -> str:
        """The line below the title: why it waits and how long, or how far it is."""
        if self.progress.status == Job.Status.QUEUED:
            return " ".join(filter(None, [self.progress.reason, _about(self.progress.seconds_left)]))
        if self.progress.phase == "drawing":
            return f"Step {self.progress.steps_done} of {self.progress.steps_total}"
        return "This takes a moment after a start." if self.progress.phase == "loading" else ""

    @property
    def has_steps(self) -> bool:
        return self.progress.phase in ("drawing", "storing") and self.progress.steps_total > 0


@dataclass(frozen=True, slots=True)
class Card:
    """A job as a card: with a watch while it is open."""

    job: Job
    watch: Watch | None
    place: str = ""

    @property
    def blocked(self) -> list[dict[str, object]]:
        """Pictures that the image check kept back; they cost nothing."""
        return list(self.job.metadata.get("blocked", []))

    @property
    def waited_ms(self) -> int | None:
        """How long it stood in the queue before its last start."""
        return _milliseconds(self.job.created_at, self.job.claimed_at)

    @property
    def total_ms(self) -> int | None:
        return _milliseconds(self.job.created_at, self.job.finished_at)


def poll_delay_ms(progress: Progress) -> int:
    """How soon a card should ask again: often when the picture is near, seldom in a long queue."""
    if progress.status == Job.Status.QUEUED:
        return _queued_delay_ms(progress)
    if progress.phase in ("next", "storing"):
        return SOON_MS
    if progress.phase != "drawing":
        return UNKNOWN_MS
    return SOON_MS if 0 <= progress.steps_total - progress.steps_done <= 3 else DRAWING_MS


def _queued_delay_ms(progress: Progress) -> int:
    """A tenth of the time that is left, where that is known; else by the place in the line."""
    if progress.seconds_left is None:
        return min(SLOWEST_MS, QUEUED_MS + 200 * max(0, progress.position - 1))
    if progress.position <= 1:
        return QUEUED_MS  # next: the estimate is of the finished picture, and the start is nearer
    return max(QUEUED_MS, min(QUEUED_SLOWEST_MS, progress.seconds_left * 10 * WAIT_SHARE_PERCENT))


def card_of(job: Job, user: User, *, place: str = "", may_count: bool = True) -> Card:
    """The card of a job for one person. `may_count=False`: a place in the queue that Redis does not know stays open."""
    if job.is_over:
        return Card(job, None, place)
    token = events.card_token(job_id=job.id, user_id=user.pk, team_id=job.team_id, status=job.status)
    return Card(job, Watch(str(job.id), token, queries.progress_of(job, may_count=may_count), place), place)


def cards_of(jobs: list[Job], user: User) -> list[Card]:
    return [card_of(job, user, may_count=False) for job in jobs]


def _about(seconds: int | None) -> str:
    if seconds is None:
        return ""
    return f"About {seconds} s." if seconds < 100 else f"About {round(seconds / 60)} minutes."


def _milliseconds(start: datetime, end: datetime | None) -> int | None:
    return round((end - start).total_seconds() * 1000) if end else None
