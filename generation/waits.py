"""Why a job waits: its place in the line, an estimate, and the reason in words. Nothing here writes.

A place is what the line would do if nothing new came: teams take turns, in the order of their slots
(`generation.slots`).
"""

import heapq
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import count
from typing import Any

from django.conf import settings
from django.db import connection
from django.utils import timezone

from generation import events
from generation.engine import catalog
from generation.models import Job

TURNS_MAX = 20  # of every other team, where one job's place is counted: deeper places are a lower bound

LINE = """
SELECT job.id, job.team_id, job.kind, job.model, job.model_version_id, job.count, job.status, job.attempts,
    job.fence, job.expander, job.run_after, job.created_at, s.id AS slot_id, s.due_at, s.queue_priority, s.jobs_max,
    running.jobs AS running
FROM (
    SELECT *, count(*) OVER () AS teams FROM (
        SELECT * FROM generation_teamslot WHERE due_at IS NOT NULL ORDER BY due_at LIMIT %(most)s
    ) near
) s
CROSS JOIN LATERAL (
    SELECT count(*) AS jobs FROM generation_job r
    WHERE r.status = 'processing' AND r.team_id = s.team_id AND r.kind = s.kind
) running
CROSS JOIN LATERAL (
    SELECT * FROM generation_job j
    WHERE j.status = 'queued' AND j.team_id = s.team_id AND j.kind = s.kind
    ORDER BY j.run_after LIMIT greatest(1, %(most)s / s.teams)
) job
ORDER BY s.due_at, job.run_after
"""
# How many turns another team has before this job's: as many as this job is in its own team's line, one fewer for those
# who stand behind it, and all of them for those whose plan goes first.
AHEAD = """
WITH mine AS MATERIALIZED (
    SELECT s.*, own.jobs AS own_jobs, own.images AS own_images, (
        SELECT count(*) FROM generation_job r
        WHERE r.status = 'processing' AND r.team_id = s.team_id AND r.kind = s.kind
    ) AS running
    FROM generation_teamslot s
    CROSS JOIN LATERAL (
        SELECT count(*) AS jobs, coalesce(sum(j.count), 0) AS images FROM generation_job j
        WHERE j.status = 'queued' AND j.team_id = s.team_id AND j.kind = s.kind AND j.run_after < %(run_after)s
    ) own
    WHERE s.team_id = %(team)s AND s.kind = %(kind)s
)
SELECT mine.jobs_max, mine.running, mine.own_jobs, mine.own_images,
    coalesce(sum(others.jobs), 0), coalesce(sum(others.images), 0)
FROM mine
LEFT JOIN generation_teamslot s ON s.kind = mine.kind AND s.due_at IS NOT NULL AND s.id <> mine.id
LEFT JOIN LATERAL (
    SELECT count(*) AS jobs, sum(turn.count) AS images FROM (
        SELECT j.count FROM generation_job j
        WHERE j.status = 'queued' AND j.team_id = s.team_id AND j.kind = s.kind
        ORDER BY j.run_after
        LIMIT least(%(turns_max)s, CASE
            WHEN s.queue_priority > mine.queue_priority AND s.due_at < mine.due_at THEN %(turns_max)s
            WHEN s.due_at < mine.due_at THEN mine.own_jobs + 1
            WHEN s.queue_priority >= mine.queue_priority THEN mine.own_jobs
            ELSE 0 END)
    ) turn
) others ON true
GROUP BY mine.jobs_max, mine.running, mine.own_jobs, mine.own_images
"""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a queued job stands: what is drawn before it, and what its team's plan allows."""

    jobs_ahead: int = 0
    images_ahead: int = 0
    own_jobs_ahead: int = 0
    own_images_ahead: int = 0
    running: int = 0  # jobs of its team and kind that are being made
    jobs_max: int = 1  # and how many may be


@dataclass(frozen=True, slots=True)
class Wait:
    """Why a queued job waits: its place, the estimate, and the reason in words."""

    position: int
    seconds_left: int | None
    reason: str


@dataclass(frozen=True, slots=True)
class Service:
    """Who serves, and how fast: read once for many explanations."""

    workers: list[dict[str, Any]] | None  # None: Redis cannot be asked
    seconds_per_image: dict[str, float | None]  # and per step of a training, by `events.training_of`

    def serving(self, job: Job) -> list[dict[str, Any]] | None:
        if self.workers is None:
            return None
        return [
            worker
            for worker in self.workers
            if job.model in worker["models"]
            and job.kind in worker.get("kinds", (Job.Kind.IMAGE,))
            and (worker.get("has_adapters", True) or job.model_version_id is None)
        ]

    def seconds_each(self, job: Job) -> float | None:
        """Of one picture; of a training, if all have as many steps as this one."""
        speed = self.seconds_per_image.get(_pace_of(job))
        return speed * job.num_inference_steps if speed is not None and job.kind != Job.Kind.IMAGE else speed


def service_of(jobs: Iterable[Job]) -> Service:
    return Service(events.workers(), {pace: events.speed_of(pace) for pace in {_pace_of(job) for job in jobs}})


def _pace_of(job: Job) -> str:
    return job.model if job.kind == Job.Kind.IMAGE else events.training_of(job.model)


def wait_of(job: Job) -> Wait:
    """Where one queued job stands, counted now."""
    return explain(job, place_of(job), service_of([job]))


def place_of(job: Job) -> Place:
    """Where one queued job stands, in one statement that reads at most `TURNS_MAX` jobs of every other team."""
    facts: dict[str, Any] = {"team": job.team_id, "kind": job.kind, "run_after": job.run_after, "turns_max": TURNS_MAX}
    with connection.cursor() as cursor:
        cursor.execute(AHEAD, facts)
        row = cursor.fetchone()
    if row is None:
        return Place()
    jobs_max, running, own_jobs, own_images, jobs, images = map(int, row)
    return Place(own_jobs + jobs, own_images + images, own_jobs, own_images, running, jobs_max)


def line(most: int) -> list[tuple[Job, Place]]:
    """The jobs that are next, about `most` of them, each with its place."""
    kinds: dict[str, list[Job]] = {}
    for job in Job.objects.raw(LINE, {"most": most}):
        kinds.setdefault(job.kind, []).append(job)
    return [placed for jobs in kinds.values() for placed in _places(jobs, most)]


def explain(job: Job, place: Place, service: Service) -> Wait:
    """Turn a place in the line into an estimate and a sentence. No SQL."""
    serving, pause = service.serving(job), _pause_seconds(job)
    seconds, speed = None, service.seconds_each(job)
    if speed is not None and serving:
        everybody = speed * (place.images_ahead + job.count) / len(serving)
        own = speed * (place.own_images_ahead + job.count) / min(len(serving), place.jobs_max)
        seconds = round(max(everybody, own, pause)) or 1
    return Wait(place.jobs_ahead + 1, seconds, _reason(job, place, serving, pause))


def _places(jobs: list[Any], most: int) -> Iterator[tuple[Job, Place]]:
    """Let the teams take their turns. Ends where a team's jobs were not all read: what follows would be a guess."""
    ageing, now, ticks = timedelta(seconds=settings.QUEUE_AGEING_SECONDS), timezone.now(), count()
    teams: dict[int, deque[Any]] = {}
    for job in jobs:
        teams.setdefault(job.slot_id, deque()).append(job)
    each = max(1, most // len(teams)) if teams else 0
    truncated = {slot for slot, own in teams.items() if len(own) == each}
    order: list[tuple[datetime, int, int]] = [(own[0].due_at, next(ticks), slot) for slot, own in teams.items()]
    heapq.heapify(order)
    jobs_ahead = images_ahead = 0
    own_jobs, own_images = dict.fromkeys(teams, 0), dict.fromkeys(teams, 0)
    while order:
        _, _, slot = heapq.heappop(order)
        job = teams[slot].popleft()
        yield job, Place(jobs_ahead, images_ahead, own_jobs[slot], own_images[slot], job.running, job.jobs_max)
        jobs_ahead, images_ahead = jobs_ahead + 1, images_ahead + job.count
        own_jobs[slot], own_images[slot] = own_jobs[slot] + 1, own_images[slot] + job.count
        if teams[slot]:
            heapq.heappush(order, (now - job.queue_priority * ageing, next(ticks), slot))
        elif slot in truncated:
            return


def _pause_seconds(job: Job) -> float:
    return max(0.0, (job.run_after - timezone.now()).total_seconds())


def _reason(job: Job, place: Place, serving: list[dict[str, Any]] | None, pause: float) -> str:
    if serving is not None and not serving:
        what = "for" if job.kind == Job.Kind.IMAGE else "that trains"
        return f"No worker {what} {catalog.get(job.model).title} is running. Your place is kept."
    if serving and all(worker["state"] == "loading" for worker in serving):
        return "The model is loading."
    if pause and _awaits_words(job):
        return "Your prompt is being written."
    if job.attempts:
        return f"Trying again in {round(pause)} s after a hiccup." if pause >= 1 else "Trying again after a hiccup."
    if place.running >= place.jobs_max:
        own = f", {place.own_jobs_ahead} more of yours come first" if place.own_jobs_ahead else ""
        who = "Your plan runs" if job.kind == Job.Kind.IMAGE else "Your team trains"
        return f"{who} {place.jobs_max} at a time{own}."
    return f"{place.jobs_ahead} ahead of you." if place.jobs_ahead else "You are next."


def _awaits_words(job: Job) -> bool:
    return bool(settings.GEMINI_API_KEY) and job.expander == "local" and not job.fence
