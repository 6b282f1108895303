"""Who is next. Every write of `TeamSlot` stands here, and what a claim reads to find its jobs.

The line orders teams, not jobs: `due_at` is when a team was last served (or began to wait), less its plan's priority in
seconds. That is priority with ageing in one column that an index can order: ten points of priority are worth
`10 * QUEUE_AGEING_SECONDS` of waiting, and whoever waits longer than that is next. A team that is served goes to
the end of its equals, so that five hundred jobs of one team and one of another take turns.

A claim locks the rows of the teams it serves and then counts what they run, in a statement of its own: counting in the
statement that locks would read what was true before the lock came. Lock order: job, wallet, slot; a claim holds
slots only, and skips jobs that somebody else has locked.
"""

# ruff: noqa: S608  (statements are put together from pieces that stand here; every value is a parameter)
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import connection, transaction

from credits.plans import Limits, limits_of
from generation.models import Job, TeamSlot

NEAR = 64  # teams next in line that are looked at for jobs to share a batch
REPAIRS_MAX = 500  # rows a sweep

RUNNING = """
    SELECT count(*) AS jobs FROM generation_job r
    WHERE r.status = 'processing' AND r.team_id = s.team_id AND r.kind = s.kind
"""
# Back in line as if served a while ago, but never before the last turn: nobody gains by asking piecemeal.
REJOINED = """
    greatest(coalesce({slot}.turn_at, '-infinity'), statement_timestamp() - %(turn)s)
        - {slot}.queue_priority * %(ageing)s
"""
JOIN = f"""
INSERT INTO generation_teamslot AS slot (team_id, kind, jobs_max, queue_priority, due_at)
VALUES (%(team)s, %(kind)s, %(jobs_max)s, %(priority)s, statement_timestamp() - %(turn)s - %(priority)s * %(ageing)s)
ON CONFLICT (team_id, kind) DO UPDATE SET
    jobs_max = excluded.jobs_max,
    queue_priority = excluded.queue_priority,
    due_at = CASE WHEN slot.due_at IS NULL
        THEN {REJOINED.format(slot="slot")} + (slot.queue_priority - excluded.queue_priority) * %(ageing)s
        ELSE slot.due_at + (slot.queue_priority - excluded.queue_priority) * %(ageing)s END
"""
REJOIN = f"""
UPDATE generation_teamslot AS slot SET due_at = coalesce(slot.due_at, {REJOINED.format(slot="slot")})
WHERE team_id = %(team)s AND kind = %(kind)s
"""
# Scalar subqueries, not EXISTS: those would become joins, and a join may read the whole queue. And in the order of the
# index that is meant: without it the planner may walk through all that a team ever made.
WAITING = """
    SELECT j.id FROM generation_job j
    WHERE j.status = 'queued' AND j.team_id = s.team_id AND j.kind = s.kind
    ORDER BY j.run_after LIMIT 1
"""
NEXT = f"""
SELECT s.id FROM generation_teamslot s
WHERE s.due_at IS NOT NULL AND s.kind = ANY(%(kinds)s) AND s.id <> ALL(%(tried)s)
    AND CASE WHEN s.jobs_max > ({RUNNING}) THEN (
        SELECT first.id FROM unnest(%(models)s::text[]) AS wanted(model)
        CROSS JOIN LATERAL (
            SELECT j.id FROM generation_job j
            WHERE j.status = 'queued' AND j.team_id = s.team_id AND j.kind = s.kind AND j.model = wanted.model
                AND j.run_after <= statement_timestamp() AND (%(adapters)s OR j.model_version_id IS NULL)
            ORDER BY j.run_after LIMIT 1
        ) first
        LIMIT 1
    ) IS NOT NULL ELSE false END
ORDER BY s.due_at LIMIT 1
"""
HEAD = f"""
SELECT job.id, job.team_id, job.kind, job.model, job.model_revision, job.width, job.height, job.count,
    job.num_inference_steps, job.guidance_scale, job.metadata, job.batch_key, job.batch_max
FROM generation_teamslot s
CROSS JOIN LATERAL ({RUNNING}) running
CROSS JOIN LATERAL (
    SELECT first.id FROM unnest(%(models)s::text[]) AS wanted(model)
    CROSS JOIN LATERAL (
        SELECT j.id, j.run_after FROM generation_job j
        WHERE j.status = 'queued' AND j.team_id = s.team_id AND j.kind = s.kind AND j.model = wanted.model
            AND j.run_after <= statement_timestamp() AND (%(adapters)s OR j.model_version_id IS NULL)
        ORDER BY j.run_after LIMIT 1
        FOR NO KEY UPDATE SKIP LOCKED
    ) first
    ORDER BY first.run_after LIMIT 1
) head
JOIN generation_job job ON job.id = head.id
WHERE s.id = %(slot)s AND s.jobs_max > running.jobs
"""
MATES_QUEUED = """
    SELECT j.id, j.count, j.run_after FROM generation_job j
    WHERE j.status = 'queued' AND j.team_id = s.team_id AND j.kind = s.kind AND j.batch_key = %(batch_key)s
        AND j.batch_max IS NULL AND j.run_after <= statement_timestamp() AND j.id <> %(first)s
"""
MATES_SLOTS = f"""
SELECT s.id FROM (
    SELECT n.id, n.due_at FROM generation_teamslot n
    WHERE n.due_at IS NOT NULL AND n.kind = %(kind)s AND n.id <> %(slot)s
    ORDER BY n.due_at LIMIT %(near)s
) next
JOIN generation_teamslot s ON s.id = next.id
WHERE s.jobs_max > ({RUNNING}) AND (SELECT mate.id FROM ({MATES_QUEUED} ORDER BY j.run_after LIMIT 1) mate) IS NOT NULL
ORDER BY next.due_at LIMIT %(room)s
"""
# In turns: the first job of every other team, then the second ones; the team of the first job has had a turn.
MATES = f"""
SELECT mate.id, mate.count, s.id
FROM generation_teamslot s
CROSS JOIN LATERAL ({RUNNING}) running
CROSS JOIN LATERAL (
    {MATES_QUEUED}
    ORDER BY j.run_after
    LIMIT least(%(room)s, greatest(0, s.jobs_max - running.jobs - (s.id = %(slot)s)::int))
    FOR NO KEY UPDATE SKIP LOCKED
) mate
WHERE s.id = ANY(%(slots)s)
ORDER BY (s.id = %(slot)s)::int + row_number() OVER (PARTITION BY s.id ORDER BY mate.run_after), s.due_at
"""
SERVED = f"""
UPDATE generation_teamslot s SET turn_at = statement_timestamp(),
    due_at = CASE WHEN ({WAITING}) IS NOT NULL THEN statement_timestamp() - s.queue_priority * %(ageing)s END
WHERE s.id = ANY(%(slots)s)
"""
OPENING = f"""
SELECT s.id FROM generation_teamslot s
WHERE s.team_id = %(team)s AND s.kind = %(kind)s AND s.due_at IS NOT NULL AND s.jobs_max = 1 + ({RUNNING})
"""
# From team to team by the index: the distinct teams of a hundred thousand rows in as many steps as there are teams.
UNLINED = """
WITH RECURSIVE waiting AS (
    (SELECT j.team_id, j.kind FROM generation_job j WHERE j.status = 'queued' ORDER BY j.team_id, j.kind LIMIT 1)
    UNION ALL
    SELECT following.* FROM waiting CROSS JOIN LATERAL (
        SELECT j.team_id, j.kind FROM generation_job j
        WHERE j.status = 'queued' AND (j.team_id, j.kind) > (waiting.team_id, waiting.kind)
        ORDER BY j.team_id, j.kind LIMIT 1
    ) following
)
SELECT w.team_id, w.kind FROM waiting w
LEFT JOIN generation_teamslot s ON s.team_id = w.team_id AND s.kind = w.kind
WHERE s.due_at IS NULL
LIMIT %(most)s
"""
IDLE = f"""
SELECT s.id FROM generation_teamslot s
WHERE s.due_at IS NOT NULL AND ({WAITING}) IS NULL
LIMIT %(most)s
FOR NO KEY UPDATE SKIP LOCKED
"""
LEAVE = f"UPDATE generation_teamslot s SET due_at = NULL WHERE s.id = ANY(%(slots)s) AND ({WAITING}) IS NULL"


@dataclass(frozen=True, slots=True)
class Batch:
    """Jobs that were locked for one run, and the slots they were taken from."""

    job_ids: tuple[UUID, ...]
    slots: tuple[int, ...]


def join(team_id: UUID, kind: str, limits: Limits) -> None:
    """Put a team in line for a job it has queued, with what its plan allows now. A team in line keeps its place."""
    facts = {"jobs_max": _jobs_max(kind, limits), "priority": limits.queue_priority}
    _run(JOIN, team=team_id, kind=kind, **facts, **_times())


def rejoin(team_id: UUID, kind: str) -> None:
    """Put a team back in line for a job that was queued again. A team in line keeps its place."""
    if not _run(REJOIN, team=team_id, kind=kind, **_times()):
        join(team_id, kind, limits_of(team_id))


def refresh(team_id: UUID) -> None:
    """Copy what the team's plan allows now to the jobs it has waiting. Call it when a plan changes; repeat at will."""
    limits = limits_of(team_id)
    for kind in TeamSlot.objects.filter(team_id=team_id).values_list("kind", flat=True):
        priority = limits.queue_priority
        _run(
            "UPDATE generation_teamslot SET jobs_max = %(jobs_max)s, queue_priority = %(priority)s,"
            " due_at = due_at + (queue_priority - %(priority)s) * %(ageing)s"
            " WHERE team_id = %(team)s AND kind = %(kind)s",
            jobs_max=_jobs_max(kind, limits), priority=priority, team=team_id, kind=kind, ageing=_times()["ageing"],
        )  # fmt: skip


def lock_next(
    kinds: Collection[str], models: Collection[str], *, tried: Collection[int], waits: bool, has_adapters: bool = True
) -> int | None:
    """Lock the next team in line that has a free slot and a job for these models; None when there is none.

    Without `waits` teams that somebody else has locked are passed over. With it this waits for one team only, which the
    caller must do without a lock on another.
    """
    who = {"kinds": list(kinds), "models": list(models), "tried": list(tried), "adapters": has_adapters}
    if not waits:
        rows = _ask(NEXT + lock_clause(), **who)
    elif rows := _ask(NEXT, **who):
        # Chosen without a lock: a statement that chooses and waits keeps what it waited for and then passed over.
        rows = _ask("SELECT s.id FROM generation_teamslot s WHERE s.id = %(slot)s FOR NO KEY UPDATE", slot=rows[0][0])
    return rows[0][0] if rows else None


def lock_clause() -> str:
    return "FOR NO KEY UPDATE OF s SKIP LOCKED"


def take_head(slot: int, models: Collection[str], *, has_adapters: bool = True) -> Job | None:
    """Lock the first job of a team whose slot is locked. None: all its slots are taken, or the job just went.

    It carries what decides about its batch; the rest is read when somebody asks.
    """
    facts = {"slot": slot, "models": list(models), "adapters": has_adapters}
    return next(iter(Job.objects.raw(HEAD, facts)), None)


def take_mates(slot: int, first: Job, images_max: int) -> Batch:
    """Lock the jobs that share the run of `first`, in turns between the teams, and each within its team's slots."""
    room = min(images_max, first.batch_max or images_max) - first.count
    if room < 1 or not first.batch_key:
        return Batch((first.pk,), (slot,))
    shape = {"slot": slot, "first": first.pk, "kind": first.kind, "batch_key": first.batch_key, "room": room}
    others = [row[0] for row in _ask(MATES_SLOTS + lock_clause(), **shape, near=NEAR)]
    jobs, slots = [first.pk], {slot}
    for job_id, count, of_slot in _ask(MATES, **shape, slots=[slot, *others]):
        if count <= room:
            jobs.append(job_id)
            slots.add(of_slot)
            room -= count
    return Batch(tuple(jobs), tuple(slots))


def note_served(slots: Sequence[int]) -> None:
    """Send locked teams to the end of the line, or out of it when nothing of theirs waits any more."""
    _run(SERVED, slots=list(slots), ageing=_times()["ageing"])


def has_opening(team_id: UUID, kind: str) -> bool:
    """Whether a job that just ended was what the team's next one waited for."""
    return bool(_ask(OPENING, team=team_id, kind=kind))


def repair() -> int:
    """Put teams in line that have jobs waiting and are not in it, and take out those that have none.

    Nothing in the product leaves the first kind behind; rows that were changed by hand do. How many those were.
    """
    unlined = _ask(UNLINED, most=REPAIRS_MAX)
    for team_id, kind in unlined:
        rejoin(team_id, kind)
    with transaction.atomic():
        # Locked first, looked at again under the lock: a job may have come in between.
        if idle := [row[0] for row in _ask(IDLE, most=REPAIRS_MAX)]:
            _run(LEAVE, slots=idle)
    return len(unlined)


def _jobs_max(kind: str, limits: Limits) -> int:
    return limits.concurrent_jobs if kind == Job.Kind.IMAGE else settings.TRAININGS_PER_TEAM_MAX


def _times() -> dict[str, timedelta]:
    return {
        "ageing": timedelta(seconds=settings.QUEUE_AGEING_SECONDS),
        "turn": timedelta(seconds=settings.QUEUE_TURN_SECONDS),
    }


def _run(statement: str, **values: Any) -> int:
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        return int(cursor.rowcount)


def _ask(statement: str, **values: Any) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        return cursor.fetchall()
