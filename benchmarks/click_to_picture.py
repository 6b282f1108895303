"""From the click to the finished picture at the browser, on an idle queue, against the bare `pipe()` call.

    python benchmarks/click_to_picture.py [--clicks 12] [--device starter|sleeping]

Real HTTP through gunicorn (2 processes, 4 threads) and a real GPU worker process, woken by Celery's bell. The client
does what the page does: it posts the studio's form, asks again after the delay that each card says (`hx-trigger`),
fetches every rough picture it is shown, and in the end the finished picture through its stable address and the
short-lived link behind it. What is left out is the browser's own decoding and painting. The bare call takes its turn in
this process, between the clicks.
"""

from __future__ import annotations

import html
import io
import itertools
import os
import random
import re
import statistics
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the engine's own `build` does

import httpx
from PIL import Image as Pillow

from benchmarks.support import devices, figures, site

OVER_BARE_SECONDS_MAX = 1.0
CARD = re.compile(r'<article id="job-([0-9a-f-]{36})"')
POLL = re.compile(r'hx-get="([^"]+/progress\?[^"]+)" hx-trigger="load delay:(\d+)ms')
ROUGH = re.compile(r'data-rough="([^"]+)"')
PICTURE = re.compile(r'<img src="(/images/[0-9a-f-]{36}/preview)"')
CSRF = re.compile(r'name="csrfmiddlewaretoken" value="([^"]+)"')


@dataclass
class Click:
    """One request for a picture and what its watcher saw, in seconds after the click."""

    job_id: str = ""
    rough_after: float = 0.0
    picture_after: float = 0.0
    polls: int = 0


@dataclass
class Visitor:
    """Somebody in the studio, as far as their browser talks to the server."""

    client: httpx.Client
    token: str = field(init=False)

    def __post_init__(self) -> None:
        self.token = CSRF.search(self.client.get("/studio").raise_for_status().text)[1]  # type: ignore[index]

    def click(self) -> Click:
        """Ask for a picture and watch until it is there."""
        seen, began = Click(), time.perf_counter()
        answer = self.client.post("/studio/submit", data=self._form(), headers={"HX-Request": "true"})
        assert answer.status_code == 201, f"{answer.status_code}: the run is void"
        shown = answer.text
        seen.job_id = CARD.search(shown)[1]  # type: ignore[index]
        while poll := POLL.search(shown):
            ask_at = time.perf_counter() + int(poll[2]) / 1000
            if rough := ROUGH.search(shown):
                self.client.get(html.unescape(rough[1])).raise_for_status()
                seen.rough_after = seen.rough_after or time.perf_counter() - began
            time.sleep(max(0.0, ask_at - time.perf_counter()))
            shown = self.client.get(html.unescape(poll[1]), headers={"HX-Request": "true"}).raise_for_status().text
            seen.polls += 1
        picture = self.client.get(PICTURE.search(shown)[1], follow_redirects=True)  # type: ignore[index]
        seen.picture_after = time.perf_counter() - began
        assert Pillow.open(io.BytesIO(picture.content)).size == (256, 256), "not the picture: the run is void"
        return seen

    def _form(self) -> dict[str, str]:
        return {
            "csrfmiddlewaretoken": self.token,
            "prompt": "a red fox by a lake",
            "expand": "on",
            "count": "1",
            "quality": "standard",
            "size": "256x256",
            "request_key": uuid4().hex,
        }


def main() -> int:
    parser = figures.arguments(__doc__)
    parser.add_argument("--clicks", type=int, default=12)
    parser.add_argument("--device", choices=["starter", "sleeping"])
    options = parser.parse_args()
    both = (devices.STARTER, devices.SLEEPING)
    chosen = [device for device in both if device.name.startswith(options.device or "")]
    if options.quick:
        options.clicks, chosen = 1, [devices.SLEEPING]
    report = figures.Report("click to picture on an idle queue, against bare pipe()")
    with site.scratch() as folder, site.web(folder, processes=1 if options.quick else 2) as port:
        for device, engine in devices.available(*chosen, skip=report.skip):
            with site.gpu_worker(folder, **device.environment):
                measure(report, device, engine, port, options.clicks, warm_ups=0 if options.quick else 2)
    return report.end(is_strict=options.strict)


def measure(
    report: figures.Report, device: devices.Device, engine: object, port: int, clicks: int, warm_ups: int
) -> None:
    from generation.models import Job
    from tests.factories import make_user

    cookie = site.session_of(make_user(credits=100_000))
    seen: list[Click] = []
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
        client.cookies.set(*cookie.split("=", 1), domain="127.0.0.1")
        visitor = Visitor(client)
        batch = devices.batch_of(Job.objects.get(id=visitor.click().job_id))

        def click() -> float:
            time.sleep(random.uniform(0.1, 0.6))  # at any moment of the worker's and the server's own rhythms
            seen.append(visitor.click())
            return seen[-1].picture_after

        runs = {"click": click, "bare": figures.timed(lambda: devices.bare(engine, batch))}
        found = figures.interleave(runs, clicks, warm_ups=warm_ups)
    del seen[:-clicks]  # warmed up
    show(report, device.name, found, seen, Job)


def show(report: figures.Report, name: str, found: dict[str, list[float]], seen: list[Click], jobs: Any) -> None:
    report.show(f"{name}: bare pipe()", found["bare"])
    report.show(f"{name}: click to picture", found["click"])
    roughs = [click.rough_after for click in seen if click.rough_after]
    if roughs:
        report.show(f"{name}: to a rough picture ({len(roughs)} of {len(seen)})", roughs)
    parts = where_it_went([(click, jobs.objects.get(id=click.job_id)) for click in seen])
    report.say(f"       medians: {', '.join(f'{part} {seconds:.3f} s' for part, seconds in parts.items())}")
    over = [click - bare for click, bare in zip(found["click"], found["bare"], strict=True)]
    bar = f"at most {OVER_BARE_SECONDS_MAX:.2f} s"
    report.show(f"{name}: click to picture - bare pipe(), bar {bar}", over)
    report.demand(f"{name}: median {statistics.median(over):.3f} s {bar}", statistics.median(over) <= 1.0)
    report.hold(f"{name}: click to picture / bare pipe()", figures.pairwise_ratios(found["click"], found["bare"]))


def where_it_went(pairs: list[tuple[Click, Any]]) -> dict[str, float]:
    """The parts of a click by the clocks of the database, and what the watcher waited for besides."""
    rows = []
    for click, job in pairs:
        moments = [job.created_at, job.claimed_at, job.device_done_at, job.finished_at]
        parts = [(later - earlier).total_seconds() for earlier, later in itertools.pairwise(moments)]
        rows.append([*parts, click.picture_after - sum(parts), click.polls])
    names = ("to the claim", "claim to device free", "check, encode, store, finish", "form, polls and fetch", "polls")
    return {name: statistics.median(column) for name, column in zip(names, zip(*rows, strict=True), strict=True)}


if __name__ == "__main__":
    sys.exit(main())
