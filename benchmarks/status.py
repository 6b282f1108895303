"""A waiting card's question answered from Redis alone, against the same fragment by way of PostgreSQL.

    python benchmarks/status.py [--rounds 7] [--seconds 1.5] [--processes 1] [--watchers 1000]

The same gunicorn process, the same address, cookie and answer; only the ticket in the address is missing in the second
kind, so that the view has to look into the database. Four clients keep their connections and ask as fast as they are
answered, one kind after the other in turns.

Then a thousand watchers of jobs all along the line, each asking anew after the delay that its last answer told it. An
answer counts from the moment it was due, so that one behind a slow one is slow, too. Their places are told every ten
seconds, as the sweeper of the product does.
"""

from __future__ import annotations

import heapq
import re
import statistics
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.support import figures, site
from benchmarks.support.http import Connection

RATE_MIN = 1000.0  # requests a second of one process, or else
RATIO_MIN = 4.0
CLIENTS = 4
WATCHERS = 1000
WATCHED_SECONDS = 20.0
WATCHERS_P99_MS = 50.0
WATCHER_THREADS = 8
JOBS_WATCHED = 15  # many look at one job, as colleagues do; the answers are as many
SPREAD_SECONDS = 5.0
TOLD_EVERY_SECONDS = 10.0
DELAY = re.compile(rb"load delay:(\d+)ms")
TOKEN = re.compile(rb"token=[^\"&]+")


def main() -> int:
    parser = figures.arguments(__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=1.5, help="of one turn")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--watchers", type=int, default=WATCHERS)
    parser.add_argument("--watched-seconds", type=float, default=WATCHED_SECONDS)
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.seconds, options.watchers, options.watched_seconds = 2, 0.3, 50, 1.5
    report = figures.Report("status fragment: from Redis against from PostgreSQL")
    with site.scratch() as folder, site.web(folder, processes=options.processes) as port:
        cookie, paths, waiting, tell = cards(options.watchers)
        report.say(f"       SQL statements: {count_statements(cookie, paths)}")
        compare_answers(port, cookie, paths)
        runs: figures.Runs = {
            name: lambda path=path: requests_a_second(port, cookie, path, options.seconds)  # type: ignore[misc]
            for name, path in paths.items()
        }
        found = figures.interleave(runs, options.rounds)
        lateness = watch(port, cookie, waiting, options.watched_seconds, tell)
    for name, values in found.items():
        report.show(name, values, "requests/s")
    ratios = figures.pairwise_ratios(*found.values())
    report.hold("from Redis / from PostgreSQL", ratios)
    rate = statistics.median(found["from Redis"]) / options.processes
    is_fast = rate >= RATE_MIN or statistics.median(ratios) >= RATIO_MIN
    report.demand(f"{RATE_MIN:.0f} requests/s a process, or {RATIO_MIN:g} times the SQL version", is_fast)
    report.show(f"{options.watchers} watchers, {len(lateness)} answers", lateness, "ms")
    p99 = statistics.quantiles(lateness, n=100)[98]
    report.hold(f"{options.watchers} watchers, 99th percentile in ms", [p99], at_most=WATCHERS_P99_MS)
    return report.end(is_strict=options.strict)


def cards(watchers: int) -> tuple[str, dict[str, str], list[str], Callable[[], None]]:
    """Somebody's cookie, the two addresses of a card whose job is being drawn, one for each watcher of the line.

    And what tells the watchers their places.
    """
    from django.urls import reverse

    from generation import events, transitions
    from generation.cards import card_of
    from tests.factories import make_job, make_user

    user = make_user(credits=1000)
    make_job(user)
    (job,) = transitions.claim(worker="benchmark", models=["starter"], images_max=lambda job: 1)
    events.publish([job.id], events.Progress(job.status, "drawing", 3, 8, has_preview=True))
    waiting = [make_job(user) for _ in range(JOBS_WATCHED)]
    places = {each.id: 1 + number * watchers // JOBS_WATCHED for number, each in enumerate(waiting)}
    told = {job_id: events.Progress("queued", position=at, seconds_left=at // 2) for job_id, at in places.items()}

    def address(job: Any, token: str) -> str:
        return f"{reverse('generation:job_progress', args=[job.id])}?on=&shows={job.status}&token={token}"

    def quick(job: Any) -> str:
        watch = card_of(job, user).watch
        assert watch is not None
        return address(job, watch.token)

    lined = [quick(waiting[number % JOBS_WATCHED]) for number in range(watchers)]
    paths = {"from Redis": quick(job), "from PostgreSQL": address(job, "")}
    return site.session_of(user), paths, lined, lambda: events.publish_waits(told)


def count_statements(cookie: str, paths: dict[str, str]) -> str:
    from django.db import connection
    from django.test import Client
    from django.test.utils import CaptureQueriesContext

    client, counts = Client(headers={"Cookie": cookie, "HX-Request": "true"}), {}
    for name, path in paths.items():
        with CaptureQueriesContext(connection) as statements:
            assert client.get(path).status_code == 200
        counts[name] = len(statements)
    assert counts["from Redis"] == 0
    return ", ".join(f"{count} {name}" for name, count in counts.items())


def compare_answers(port: int, cookie: str, paths: dict[str, str]) -> None:
    """Both kinds say the same, up to the ticket that each answer carries on."""
    with Connection(port, f"Cookie: {cookie}", "HX-Request: true") as connection:
        bodies = [TOKEN.sub(b"", connection.get(path).partition(b"\r\n\r\n")[2]) for path in paths.values()]
    assert bodies[0] == bodies[1] and b"Step 3 of 8" in bodies[0], "different answers: the run is void"


def requests_a_second(port: int, cookie: str, path: str, seconds: float) -> float:
    """How many answers a second all clients together get."""
    counts: list[int] = []
    until = time.perf_counter() + seconds

    def ask() -> None:
        count = 0
        with Connection(port, f"Cookie: {cookie}", "HX-Request: true") as connection:
            request = connection.request(path)
            while time.perf_counter() < until:
                assert connection.exchange(request).startswith(b"HTTP/1.1 200"), "the run is void"
                count += 1
        counts.append(count)

    threads = [threading.Thread(target=ask) for _ in range(CLIENTS)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(counts) == CLIENTS, "a client failed: the run is void"
    return sum(counts) / (time.perf_counter() - began)


def watch(port: int, cookie: str, paths: list[str], seconds: float, tell: Callable[[], None]) -> list[float]:
    """Milliseconds from the moment each question was due to its whole answer."""
    found: list[list[float]] = []
    began = time.perf_counter() + 0.1

    def keep_asking(number: int) -> None:
        with Connection(port, f"Cookie: {cookie}", "HX-Request: true") as connection:
            # Each comes at a moment of its own within the slowest delay.
            due = [
                (began + SPREAD_SECONDS * watcher / len(paths), connection.request(paths[watcher]))
                for watcher in range(number, len(paths), WATCHER_THREADS)
            ]
            late: list[float] = []
            while due and (next_at := due[0][0]) < began + SPREAD_SECONDS + seconds:
                time.sleep(max(0.0, next_at - time.perf_counter()))
                delay = _delay_of(connection.exchange(due[0][1]))
                now = time.perf_counter()
                if next_at > began + SPREAD_SECONDS:  # when all of them are there
                    late.append((now - next_at) * 1000)
                heapq.heapreplace(due, (now + delay, due[0][1]))
        found.append(late)

    threads = [threading.Thread(target=keep_asking, args=(number,)) for number in range(WATCHER_THREADS)]
    tell()
    for thread in threads:
        thread.start()
    while threads[0].is_alive():
        threads[0].join(TOLD_EVERY_SECONDS)
        tell()
    for thread in threads:
        thread.join()
    assert len(found) == WATCHER_THREADS, "a watcher failed: the run is void"
    return [each for late in found for each in late]


def _delay_of(answer: bytes) -> float:
    told = DELAY.search(answer)
    assert answer.startswith(b"HTTP/1.1 200") and told, "the run is void"
    return int(told[1]) / 1000


if __name__ == "__main__":
    sys.exit(main())
