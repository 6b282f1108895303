"""A waiting card's question answered from Redis alone, against the same fragment by way of PostgreSQL.

    python benchmarks/status.py [--rounds 7] [--seconds 1.5] [--processes 1]

The same gunicorn process, the same address, cookie and answer; only the ticket in the address is missing in the second
kind, so that the view has to look into the database. Four clients keep their connections and ask as fast as they are
answered, one kind after the other in turns.
"""

from __future__ import annotations

import re
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.support import figures, site
from benchmarks.support.http import Connection

RATIO_MIN = 3.0
CLIENTS = 4
TOKEN = re.compile(rb"token=[^\"&]+")


def main() -> int:
    parser = figures.arguments(__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=1.5, help="of one turn")
    parser.add_argument("--processes", type=int, default=1)
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.seconds = 2, 0.3
    report = figures.Report("status fragment: from Redis against from PostgreSQL")
    with site.scratch() as folder, site.web(folder, processes=options.processes) as port:
        cookie, paths = waiting_card()
        report.say(f"       SQL statements: {count_statements(cookie, paths)}")
        compare_answers(port, cookie, paths)
        runs: figures.Runs = {
            name: lambda path=path: requests_a_second(port, cookie, path, options.seconds)  # type: ignore[misc]
            for name, path in paths.items()
        }
        found = figures.interleave(runs, options.rounds)
    for name, values in found.items():
        report.show(name, values, "requests/s")
    report.hold("from Redis / from PostgreSQL", figures.pairwise_ratios(*found.values()), at_least=RATIO_MIN)
    return report.end(is_strict=options.strict)


def waiting_card() -> tuple[str, dict[str, str]]:
    """Somebody's cookie, and the two addresses of a card whose job is being drawn."""
    from django.urls import reverse

    from generation import events, transitions
    from generation.cards import card_of
    from tests.factories import make_job, make_user

    user = make_user(credits=100)
    make_job(user)
    (job,) = transitions.claim(worker="benchmark", models=["starter"], images_max=lambda job: 1)
    events.publish([job.id], events.Progress(job.status, "drawing", 3, 8, has_preview=True))
    watch = card_of(job, user).watch
    assert watch is not None
    address = f"{reverse('generation:job_progress', args=[job.id])}?on=&shows={job.status}&token="
    return site.session_of(user), {"from Redis": address + watch.token, "from PostgreSQL": address}


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


if __name__ == "__main__":
    sys.exit(main())
