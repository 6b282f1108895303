"""What a forked process does: serve a request, draw, sweep, look whether everything is right. Answers are JSON."""

import os
import signal
import threading
import time
import traceback
from collections.abc import Callable
from multiprocessing.connection import Listener
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

from django.conf import settings
from django.core.management import call_command
from django.db import Error, OperationalError, close_old_connections, connection
from django.db.models.functions import Now
from django.test import Client
from django.urls import get_resolver, reverse
from psycopg import errors

from accounts import services as account_services
from credits import plans
from credits.models import Plan
from generation import cleanup, storage, sweeper, transitions
from generation.models import Job, Provider, RemoteRequest
from generation.remote import requests
from generation.remote.work import RemoteWorker, run
from generation.worker import Worker
from tenkaigen import outgoing
from tenkaigen.signals import Stop
from tests import fake_provider
from tests.factories import give, team_of
from tests.fake_engine import FakeEngine
from tests.faults.matrix import invariants
from tests.remote import make_provider

CREDITS_CENTI = 100_000_000
CALL_SECONDS, FETCH_SECONDS = 2, 4  # so long a remote request is one process's alone; in production over a minute
LIFE_SECONDS = 600.0  # no process is left behind by a run that was killed
BUSY_TRIES_MAX = 20  # a lock is waited for three seconds each time
ANSWERED = (signal.SIGTERM, signal.SIGUSR1)


def prepare(teams: int) -> list[dict[str, str]]:
    """An installed product, and teams with a key and more credits than the tests can spend."""
    call_command("migrate", verbosity=0)  # a copy has it all but the functions of today
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


def serve(address: str) -> None:
    """Play one role after the other, as a process does that lives on, until nobody asks any more."""
    with Listener(address) as listener, listener.accept() as asking:
        while True:
            try:
                role, facts = asking.recv()
            except EOFError:
                return
            try:
                close_old_connections()
                asking.send((True, globals()[role](**facts)))
            except Exception:
                asking.send((False, traceback.format_exc()))


def on(number: int, act: Callable[[], object]) -> None:
    """Answer a signal from now on, and one that came before this process was ready to."""
    signal.signal(number, lambda *_: act())
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {number})


def patiently(ask: Callable[[], Any]) -> Any:
    """A program's request, made again, the same, while it is answered 503: a process that the machine does not let run
    may keep a lock for longer than anybody waits for one."""
    for _ in range(BUSY_TRIES_MAX):
        try:
            answer = ask()
        except OperationalError as error:
            if not isinstance(error.__cause__, errors.LockNotAvailable):
                raise
            close_old_connections()
            continue
        if answer.status_code != 503:
            return answer
        time.sleep(0.1)
    raise AssertionError(f"busy {BUSY_TRIES_MAX} times")


def submit(key: str, request_key: str, **body: Any) -> dict[str, Any]:
    """One request, through everything the web process has."""
    client = Client(headers={"Authorization": f"Bearer {key}", "Idempotency-Key": request_key})
    asked = {"prompt": "a red fox by a lake", "size": "256x256", "num_inference_steps": 2, "seed": 7, **body}
    answer = patiently(lambda: client.post("/api/v1/generate", asked, content_type="application/json"))
    return {"status": answer.status_code, "job": answer.json().get("id", ""), "text": answer.content.decode()[:300]}


def submit_all(asked: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Several requests, one after the other."""
    return [submit(**each) for each in asked]


def cancel(key: str, job: str) -> int:
    """What the interface answered to a cancellation."""
    client = Client(headers={"Authorization": f"Bearer {key}"})
    return int(patiently(lambda: client.delete(f"/api/v1/jobs/{job}")).status_code)


def worker(
    *,
    step_seconds: float = 0.0,
    is_killing: bool = False,
    skew: float = 0.0,
    attempts_max: int = 0,
    rests_seconds_max: float = 0,
) -> int:
    """A GPU worker that draws until SIGTERM comes, or SIGUSR1 and nothing is left. How many jobs it drew.

    With `rests_seconds_max` PostgreSQL ends its transactions that stand still for longer.
    """
    settings.JOB_ATTEMPTS_MAX = attempts_max or settings.JOB_ATTEMPTS_MAX
    if rests_seconds_max:
        connection.settings_dict["OPTIONS"]["options"] += (
            f" -c idle_in_transaction_session_timeout={round(rests_seconds_max * 1000)}"
        )
    if skew:
        real = time.time
        time.time = lambda: real() + skew
    engine = FakeEngine()
    engine.step_seconds = step_seconds
    if is_killing:  # as a driver that crashes on this job, every time
        engine.before_step = lambda number: os.kill(os.getpid(), signal.SIGSEGV)
    made = Worker(engine, models=["starter"])
    may_end = threading.Event()
    on(signal.SIGTERM, made.ask_to_stop)
    on(signal.SIGUSR1, may_end.set)
    made.start()
    drawn, until = 0, time.monotonic() + LIFE_SECONDS
    while time.monotonic() < until and not made.is_stopping:
        is_last = may_end.is_set()
        count = _drain(made)
        drawn += count
        if is_last and not count:
            break
        time.sleep(0.02)
    made.wait_for_post_stage()
    made.stop()
    return drawn


def _drain(made: Worker) -> int:
    try:
        close_old_connections()
        return made.drain()
    except Error:
        time.sleep(0.1)  # the server is away; the lease and the next look are what saves the job
        return 0


def sweep(*, recovered_min: int = 0, attempts_max: int = 0) -> int:
    """What beat's worker does, faster. How many jobs were taken back. SIGTERM: one more look, and the end."""
    settings.JOB_ATTEMPTS_MAX = attempts_max or settings.JOB_ATTEMPTS_MAX
    stop = Stop()
    on(signal.SIGTERM, stop.ask)
    until, recovered = time.monotonic() + LIFE_SECONDS, 0
    while time.monotonic() < until:
        is_last = stop.wait(0)
        try:
            close_old_connections()
            recovered += sweeper.recover_lost_jobs()
        except Error:
            time.sleep(0.1)
        if is_last or (recovered_min and recovered >= recovered_min):
            break
        stop.wait(0.05)
    return recovered


def remote_worker(place: list[Any], *, attempts_max: int = 0, lease_seconds: float = 0) -> None:
    """The process that lets the provider at `place` draw, until SIGTERM comes."""
    requests.CALL_SECONDS, requests.FETCH_SECONDS = CALL_SECONDS, FETCH_SECONDS
    settings.JOB_ATTEMPTS_MAX = attempts_max or settings.JOB_ATTEMPTS_MAX
    settings.LEASE_SECONDS = lease_seconds or settings.LEASE_SECONDS
    stop = Stop()
    on(signal.SIGTERM, stop.ask)
    threading.Timer(LIFE_SECONDS, stop.ask).start()
    run(RemoteWorker(outgoing.Client(local=[(place[0], place[1])])), stop)


def add_provider(url: str, address: str, **row: Any) -> str:
    """A provider that nobody orders from yet. Its id."""
    return str(make_provider(SimpleNamespace(url=url, address=address), is_active=False, **row).id)


def switch_provider(provider: str, *, is_on: bool) -> None:
    """Let a provider have jobs, whatever went wrong with it before, or none."""
    Provider.objects.filter(id=provider).update(is_active=is_on, failures=0, paused_until=None)


def deliver(provider: str, said: dict[str, Any], **how: Any) -> int:
    """What the interface answered to a webhook."""
    return int(fake_provider.deliver(reverse("api:provider_webhook", args=[provider]), said, **how).status_code)


def requests_of(jobs: list[str]) -> list[str]:
    """How each request ended that a provider was asked for some jobs."""
    ends = RemoteRequest.objects.filter(job__in=jobs).values_list("state", "failure")
    return [f"{state} {failure}".strip() for state, failure in ends]


def wait(jobs: list[str], seconds: float) -> dict[str, str]:
    """The status of jobs once all are over, or when the time is up."""
    until = time.monotonic() + seconds
    while True:
        try:
            found = {str(pk): status for pk, status in Job.objects.filter(id__in=jobs).values_list("id", "status")}
        except Error:
            close_old_connections()
            found = {}
        is_over = len(found) == len(set(jobs)) and not any(status in transitions.OPEN for status in found.values())
        if is_over or time.monotonic() > until:
            return found
        time.sleep(0.02)


def facts(job: str) -> dict[str, Any]:
    row = Job.objects.get(id=job)
    return {"status": row.status, "attempts": row.attempts, "fence": row.fence, "failure_code": row.failure_code}


def count_waiting() -> int:
    """Jobs that a worker could claim."""
    return Job.objects.filter(status=Job.Status.QUEUED, run_after__lte=Now()).count()


def held_by(pid: int) -> list[str]:
    """What stands in the rows as drawn by a process of this machine."""
    held = Job.objects.filter(status=Job.Status.PROCESSING, worker__endswith=f":{pid}")
    return [str(pk) for pk in held.values_list("id", flat=True)]


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
