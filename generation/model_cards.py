"""What the pages of models show: a card of a list, and one model with its training and versions. Nothing writes."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any
from uuid import UUID

from django.db.models import Sum
from django.urls import reverse

from generation import cards, queries
from generation.curve import Curve, loss_curve
from generation.custom import queries as models
from generation.events import Progress
from generation.models import CustomModel, Job, ModelVersion

TRAINING_POLL_MS = 1000  # minutes of work: more often shows nothing new
QUARTER_PERCENT = 25
WORDS = {
    "": "Draft",
    Job.Status.QUEUED: "In the queue",
    Job.Status.PROCESSING: "Training",
    Job.Status.COMPLETED: "Ready",
    Job.Status.FAILED: "Failed",
    Job.Status.CANCELED: "Canceled",
}
TITLES = {
    "next": "Up next",
    "fetching": "Fetching your pictures",
    "loading": "The model is loading",
    "storing": "Almost there: saving the version",
}


@dataclass(frozen=True, slots=True)
class ModelCard:
    """A model in the list."""

    model: CustomModel
    charged_centi: int

    @property
    def status(self) -> str:
        """Of its newest training; with a version to draw with it is ready, whatever became of a later one."""
        if self.model.is_draft:
            return ""
        is_open = self.model.status in models.OPEN  # type: ignore[attr-defined]
        if self.model.current_id and not is_open:
            return Job.Status.COMPLETED
        return str(self.model.status or "")  # type: ignore[attr-defined]

    @property
    def words(self) -> str:
        is_without = self.status == Job.Status.COMPLETED and not self.model.current_id
        return "No version" if is_without else WORDS[self.status]

    @property
    def cover(self) -> str:
        """The address of the newest sample of the version that is drawn with; empty without one."""
        current = self.model.current
        rows = sheet_of(current) if current else []
        return sample_url(self.model, current, rows[0]["index"]) if current and rows else ""

    @property
    def first_picture(self) -> str:
        return reverse("generation:model_cover", args=[self.model.pk]) if self.model.cover_key else ""  # type: ignore[attr-defined]


@dataclass(frozen=True, slots=True)
class Line:
    """A version on the sheet that compares all of them."""

    version: ModelVersion
    samples: Sequence[dict[str, Any]]
    is_current: bool

    @property
    def loss(self) -> float | None:
        return self.version.losses[-1][1] if self.version.losses else None

    @property
    def steps(self) -> int:
        return int(self.version.settings.get("steps", 0))


@dataclass(frozen=True, slots=True)
class TrainingWatch:
    """An open training, as the page of its model shows it. It asks for itself again."""

    version: ModelVersion
    progress: Progress
    samples: Sequence[dict[str, Any]]

    @property
    def delay_ms(self) -> int:
        return max(TRAINING_POLL_MS, cards.poll_delay_ms(self.progress))

    @property
    def steps_total(self) -> int:
        return self.progress.steps_total or int(self.version.settings.get("steps", 0))

    @property
    def steps_done(self) -> int:
        """What the worker says; without Redis, the newest checkpoint."""
        return max(self.progress.steps_done, self.version.steps_done)

    @property
    def title(self) -> str:
        if self.progress.status == Job.Status.QUEUED:
            return "In the queue"
        return TITLES.get(self.progress.phase, "Learning from your pictures")

    @property
    def detail(self) -> str:
        if self.progress.status == Job.Status.QUEUED:
            return " ".join(filter(None, [self.progress.reason, "You may close this page; it goes on."]))
        if not self.steps_done:
            return "This takes a moment after a start."
        left = self.progress.seconds_left
        return f"Step {self.steps_done:,} of {self.steps_total:,}" + (f" · {about(left)} left" if left else "")

    @property
    def percent(self) -> int:
        return 100 * self.steps_done // self.steps_total if self.steps_total else 0

    @property
    def quarter(self) -> int:
        """What is said aloud, which is not every step."""
        return self.percent - self.percent % QUARTER_PERCENT

    @property
    def curve(self) -> Curve | None:
        return loss_curve(self.version.losses, self.steps_total)


@dataclass
class ModelPage:
    """A submitted model with everything its page shows: two statements, and what the page asks of its pictures."""

    model: CustomModel
    versions: list[ModelVersion] = field(init=False)

    def __post_init__(self) -> None:
        self.versions = list(models.versions_of(self.model))

    @cached_property
    def training(self) -> TrainingWatch | None:
        newest = self.newest
        return watch_of(newest) if newest and not newest.job.is_over else None

    @property
    def newest(self) -> ModelVersion | None:
        return self.versions[0] if self.versions else None

    @property
    def ended_badly(self) -> ModelVersion | None:
        """The newest training, where it came to nothing."""
        newest = self.newest
        is_bad = newest is not None and newest.job.status in (Job.Status.FAILED, Job.Status.CANCELED)
        return newest if is_bad else None

    @cached_property
    def lines(self) -> list[Line]:
        current = self.model.current_id
        ready = [version for version in self.versions if version.is_ready]
        return [Line(version, sheet_of(version), version.pk == current) for version in ready]

    @property
    def is_comparison(self) -> bool:
        return len(self.lines) > 1

    @property
    def past(self) -> list[ModelVersion]:
        """Trainings that left no version to draw with."""
        return [version for version in self.versions if not version.is_ready and version.job.is_over]

    @property
    def current(self) -> ModelVersion | None:
        return next((line.version for line in self.lines if line.is_current), None)

    @property
    def curve(self) -> Curve | None:
        """How the version that is drawn with learned."""
        current = self.current
        return loss_curve(current.losses, int(current.settings.get("steps", 0))) if current else None

    @property
    def charged_centi(self) -> int:
        return sum(version.job.charged_centi for version in self.versions)

    @property
    def status(self) -> str:
        return str(self.newest.job.status) if self.newest and (self.training or not self.lines) else "completed"

    @property
    def words(self) -> str:
        return WORDS[self.status] if self.lines or self.status != Job.Status.COMPLETED else "No version"


def cards_of(found: Sequence[CustomModel]) -> list[ModelCard]:
    """The cards of a page of models, in one statement for what they cost."""
    jobs = Job.objects.filter(trained_version__model__in=[model.pk for model in found])
    sums = jobs.values_list("trained_version__model").annotate(charged=Sum("charged_centi"))
    charged: dict[UUID, int] = dict(sums.values_list("trained_version__model", "charged"))
    return [ModelCard(model, charged.get(model.pk, 0)) for model in found]


def watch_of(version: ModelVersion) -> TrainingWatch:
    return TrainingWatch(version, queries.progress_of(version.job), sheet_of(version))


def sheet_of(version: ModelVersion) -> list[dict[str, Any]]:
    """The newest round of a version's samples, in the order of its prompts, each with its `index` among all of them."""
    rounds = [{**sample, "index": index} for index, sample in enumerate(version.samples)]
    newest = max((sample["step"] for sample in rounds), default=None)
    return [sample for sample in rounds if sample["step"] == newest]


def sample_url(model: CustomModel, version: ModelVersion, index: int) -> str:
    return reverse("generation:model_sample", args=[model.pk, version.number, index])


def about(seconds: int | None) -> str:
    """`about 40 s`, `about 3 minutes`; nothing where nobody knows."""
    if seconds is None:
        return ""
    if seconds < 90:
        return f"about {max(1, round(seconds))} s"
    return f"about {round(seconds / 60)} minutes" if seconds < 5400 else f"about {round(seconds / 3600)} hours"
