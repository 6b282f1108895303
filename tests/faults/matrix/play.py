"""What every row of the matrix plays with: its luck, its teams, the processes that end what was begun."""

import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from tests.faults.matrix.rig import WAIT_SECONDS_MAX, Child, MatrixError, Rig

JOBS_EACH = 2  # for every process that is to break
# On a busy machine a healthy worker may lose a lease of a second and a half more than once.
PATIENT = {"attempts_max": 10}
LOOK_SECONDS = 0.5  # between two looks whether more jobs are wanted


@dataclass
class Course:
    """One run of the matrix: its luck, its teams, and what it has broken so far."""

    rig: Rig
    luck: random.Random
    teams: list[dict[str, str]]
    broken: Counter[str] = field(default_factory=Counter)

    def submit(self, **body: Any) -> str:
        """A job, accepted. Distinct steps keep jobs out of each other's batches."""
        return self.submit_all(1, **body)[0]

    def submit_all(self, number: int, **body: Any) -> list[str]:
        """Several jobs, accepted."""
        asked = [
            {"num_inference_steps": self.luck.randint(2, 8), "count": self.luck.randint(1, 2), **body}
            | {"key": self.team()["key"], "request_key": uuid4().hex}
            for _ in range(number)
        ]
        answers = self.rig.ask("submit_all", asked=asked)
        expect(all(answer["status"] == 202 for answer in answers), f"submit answered {answers}")
        return [str(answer["job"]) for answer in answers]

    def team(self) -> dict[str, str]:
        return self.luck.choice(self.teams)

    def feed(self, jobs: list[str], armed: Collection[tuple[str, Child]], is_there: Callable[[Child], object]) -> None:
        """Submit more jobs, into `jobs`, until every armed process has come to its point.

        A quick one may have taken what was meant for another, the next batch included.
        """
        until = time.monotonic() + WAIT_SECONDS_MAX
        while missing := [(point, child) for point, child in armed if not is_there(child)]:
            expect(time.monotonic() < until, f"not reached: {[point for point, _ in missing]}: {self.rig.log_tail()}")
            is_done = self.rig.is_soon(lambda: all(is_there(child) for _, child in armed), LOOK_SECONDS)
            if not is_done and self.rig.ask("count_waiting") < len(missing):
                jobs += self.submit_all(len(missing))

    def finish(
        self, jobs: list[str], *, statuses: Collection[str] = ("completed",), worker: Callable[[], Child] | None = None
    ) -> None:
        """Let healthy processes end the jobs, each with one of `statuses`. `worker` begins another than a GPU's."""
        patient = {} if "failed" in statuses else PATIENT
        sweep = self.rig.begin("sweep", **patient)
        healthy = worker() if worker else self.rig.begin("worker", **patient)
        found = self.rig.ask("wait", jobs=jobs, seconds=WAIT_SECONDS_MAX)
        sweep.send(signal.SIGKILL)
        self.stop(healthy)
        self.rig.end(sweep)
        wrong = [self.rig.ask("facts", job=job) for job in jobs if found.get(job) not in statuses]
        expect(not wrong, f"not {statuses}: {wrong}")

    def stop(self, child: Child, number: int = signal.SIGTERM) -> None:
        child.send(number)
        self.rig.end(child)

    def wake(self, *zombies: Child) -> None:
        """Let paused workers go on, and end when nothing is left for them to do."""
        for child in zombies:
            child.send(signal.SIGUSR1)
            child.send(signal.SIGCONT)
        for child in zombies:
            self.rig.end(child)

    def look(self, *, is_final: bool = False) -> dict[str, Any]:
        """Check every invariant."""
        seen = self.rig.ask("look", is_final=is_final)
        expect(not seen["violations"] and not seen["charged_twice"], f"{seen}")
        return dict(seen)


def expect(holds: object, otherwise: str) -> None:
    if not holds:
        raise MatrixError(otherwise)


def killed(course: Course, child: Child, point: str) -> None:
    course.rig.is_soon(lambda: child.exit_code is not None, WAIT_SECONDS_MAX)
    expect(child.exit_code is not None, f"{point} was not reached: {child.role} goes on: {course.rig.log_tail()}")
    code = course.rig.end(child)
    expect(code == -signal.SIGKILL, f"{point} was not reached: {child.role} ended with {code}: {course.rig.log_tail()}")
    course.broken["kills"] += 1


def paused(course: Course, child: Child, point: str) -> None:
    is_there = course.rig.is_soon(lambda: child.is_stopped or child.exit_code is not None, WAIT_SECONDS_MAX)
    expect(is_there and child.exit_code is None, f"{point} was not reached: {child.exit_code}: {course.rig.log_tail()}")
    course.broken["pauses"] += 1
