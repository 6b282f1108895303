"""What a forked process does: serve a request, draw, sweep, look whether everything is right. Answers are JSON."""

import os
import signal
import time
from typing import Any
from uuid import uuid4

from django.core.management import call_command
from django.db import DatabaseError, OperationalError, close_old_connections, connection, transaction
from django.test import Client
from django.urls import get_resolver

from accounts import services as account_services
from accounts.models import Team, User
from credits import plans
from credits.models import Plan
from generation import cleanup, storage, sweeper, transitions
from generation.models import Image, Job
from generation.worker import Worker
from tests.factories import give, team_of
from tests.fake_engine import FakeEngine
from tests.faults.matrix import invariants

CREDITS_CENTI = 100_000_000


def prepare(teams: int) -> list[dict[str, str]]:
    """An installed product, and teams with a key and more credits than the tests can spend."""
    call_command("migrate", verbosity=0)
    call_command("seed_catalogue", verbosity=0)
    return [_team(number) for number in range(teams)]


def _team(number: int) -> dict[str, str]:
    user = account_services.create_account(f"{uuid4().hex}@example.com", None)
    team = team_of(user)
    give(team, CREDITS_CENTI)
    plans.subscribe(team=team, plan=Plan.objects.get(slug="enterprise"), actor="matrix")
    _, key = account_services.create_api_key(team=team, user=user, name="matrix")
    return {"team": str(team.pk), "key": key}


def warm_up() -> None:
    """Load what the first request of a process would load, before any fork."""
    Client().handler.load_middleware()
    get_resolver()._populate()


def submit(key: str, request_key: str, **body: Any) -> dict[str, Any]:
    """One request, through everything the web process has."""
    headers = {"Authorization": f"Bearer {key}", "Idempotency-Key": request_key}
    answer = Client(headers=headers).post(
        "/api/v1/generate",
        {"prompt": "a red fox by a lake", "num_inference_steps": 2, "seed": 7, **body},
        content_type="application/json",
    )
    return {"status": answer.status_code, "job": answer.json().get("id", ""), "text": answer.content.decode()[:300]}


def submit_all(asked: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Several requests, one after the other."""
    return [submit(**each) for each in asked]


def cancel(key: str, job: str) -> int:
    """What the interface answered to a cancellation."""
    return Client(headers={"Authorization": f"Bearer {key}"}).delete(f"/api/v1/jobs/{job}").status_code


def worker(
    seconds: float, *, is_endless: bool = False, step_seconds: float = 0.0, is_killing: bool = False, skew: float = 0.0
) -> int:
    """A GPU worker that draws until nothing is left for a moment, or SIGTERM comes. How many jobs it drew."""
    if skew:
        real = time.time
        time.time = lambda: real() + skew
    engine = FakeEngine()
    engine.step_seconds = step_seconds
    if is_killing:  # as a driver that crashes on this job, every time
        engine.before_step = lambda number: os.kill(os.getpid(), signal.SIGSEGV)
    made = Worker(engine, models=["starter"])
    signal.signal(signal.SIGTERM, lambda number, frame: made.ask_to_stop())
    made.start()
    drawn, until, idle_since = 0, time.monotonic() + seconds, time.monotonic()
    while time.monotonic() < until and not made.is_stopping:
        count = _drain(made)
        drawn += count
        if count:
            idle_since = time.monotonic()
        elif not is_endless and time.monotonic() - idle_since > 0.1:
            break
        time.sleep(0.02)
    made.wait_for_post_stage()
    made.stop()
    return drawn


def _drain(made: Worker) -> int:
    try:
        close_old_connections()
        return made.drain()
    except DatabaseError:
        time.sleep(0.1)  # the server is away; the lease and the next look are what saves the job
        return 0


def sweep(seconds: float) -> int:
    """What beat's worker does, faster. How many jobs were taken back."""
    until, recovered = time.monotonic() + seconds, 0
    while time.monotonic() < until:
        try:
            close_old_connections()
            recovered += sweeper.recover_lost_jobs()
        except DatabaseError:
            time.sleep(0.1)
        time.sleep(0.05)
    return recovered


def wait(jobs: list[str], seconds: float) -> dict[str, str]:
    """The status of jobs once all are over, or when the time is up."""
    until = time.monotonic() + seconds
    while True:
        try:
            found = {str(pk): status for pk, status in Job.objects.filter(id__in=jobs).values_list("id", "status")}
        except OperationalError:
            close_old_connections()
            found = {}
        is_over = len(found) == len(set(jobs)) and not any(status in transitions.OPEN for status in found.values())
        if is_over or time.monotonic() > until:
            return found
        time.sleep(0.02)


def facts(job: str) -> dict[str, Any]:
    row = Job.objects.get(id=job)
    return {"status": row.status, "attempts": row.attempts, "fence": row.fence, "failure_code": row.failure_code}


def jobs_of(request_key: str) -> int:
    return Job.objects.filter(request_key=request_key).count()


def look(is_final: bool) -> dict[str, Any]:
    """Every violated invariant, and the totals."""
    return invariants.look(is_final=is_final)


def clean() -> int:
    """Delete files without a row, as `sweep_storage --apply` does. How many there were."""
    orphans = list(cleanup.orphans())
    storage.delete(orphans)
    for upload in cleanup.dangling_uploads():
        storage.abort(upload)
    return len(orphans)


def cut_connections() -> int:
    """End every other session that is inside a transaction. How many."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
            " WHERE pid <> pg_backend_pid() AND datname = current_database() AND state LIKE 'idle in transaction%%'"
        )
        return int(cursor.fetchone()[0])


def totals() -> dict[str, int]:
    return {"users": User.objects.count(), "teams": Team.objects.count(), "images": Image.objects.count()}


def lock_row(job: str, seconds: float) -> bool:
    """Hold a job's row, as a process that hangs inside a transaction does."""
    with transaction.atomic():
        Job.objects.select_for_update().get(id=job)
        time.sleep(seconds)
    return True
