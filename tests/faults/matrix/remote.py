"""Rows 24 to 26 of the matrix: a provider draws, and its calls and webhooks get lost, late, repeated or forged."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from uuid import uuid4

from tests.fake_provider import HMAC_SECRET_2
from tests.faults.matrix.play import JOBS_EACH, PATIENT, Course, expect, killed
from tests.faults.matrix.provider import Provider
from tests.faults.matrix.rig import WAIT_SECONDS_MAX, Child, wait_until

REMOTE_POINTS = (
    "remote.before_post", "remote.after_post", "remote.before_fetch", "remote.before_delivery", "remote.before_close",
)  # fmt: skip
WEBHOOK_POINT = "webhook.before_commit"
COPIES = 5
LATE_SECONDS = 400  # a delivery is good for 300


@dataclass
class Providing:
    """One provider that has jobs, and nobody else draws."""

    course: Course
    fake: Provider
    id: str

    def begin(self, failpoints: str = "", **how: float) -> Child:
        """A process that lets it draw."""
        return self.course.rig.begin("remote_worker", failpoints, place=self.fake.place, **(how or PATIENT))

    def finish(self, jobs: list[str]) -> None:
        self.course.finish(jobs, worker=self.begin)

    def deliver(self, said: dict[str, object], **how: object) -> int:
        return int(self.course.rig.ask("deliver", provider=self.id, said=said, **how))


@contextmanager
def providing(course: Course, **row: object) -> Iterator[Providing]:
    with Provider() as fake:
        row = {"slug": f"of-{uuid4().hex[:8]}", "url": fake.url, "address": fake.address, **row}
        provider = course.rig.ask("add_provider", **row)
        course.rig.ask("switch_provider", provider=provider, is_on=True)
        yield Providing(course, fake, provider)
        course.rig.ask("switch_provider", provider=provider, is_on=False)


def remote_killed(course: Course, points: list[str]) -> None:
    """SIGKILL between a row and its POST, between a POST and its row, and on the pictures' way: ordered once."""
    with providing(course) as its:
        jobs = course.submit_all(JOBS_EACH * len(points), count=1)
        armed = [(point, its.begin(f"{point}=kill")) for point in points]
        course.feed(jobs, armed, lambda child: child.exit_code is not None)
        for point, child in armed:
            killed(course, child, point)
        its.finish(jobs)
        ends = Counter(course.rig.ask("requests_of", jobs=jobs))
        expect(its.fake.ordered() == len(jobs), f"{len(jobs)} jobs, {its.fake.ordered()} orders: {ends}")


def orders_lost(course: Course) -> None:
    """The provider has the order, we have not its answer: the same order again, and no other."""
    with providing(course) as its:
        its.fake.answers_lost = 2
        its.finish([course.submit(count=1)])
        expect(its.fake.ordered() == 1, f"{its.fake.ordered()} orders")
        expect(len(its.fake.posts()) >= 3, "it did not ask again")
        course.broken["orders lost"] += 2


def webhooks_astray(course: Course) -> None:
    """Row 25: forged, late, of nobody; then the web process dies with the good one, which comes five times at once."""
    with providing(course, status_url="") as its:
        job, worker = course.submit(count=1), its.begin()
        wait_until(lambda: its.fake.order_of(job), "it was not ordered")
        order = its.fake.order_of(job)
        said = {"request_id": order, **its.fake.result(order)}
        expect(its.deliver(said, secret=HMAC_SECRET_2 + "AAAA") == 401, "a forgery was taken")
        expect(its.deliver(said, age_seconds=LATE_SECONDS) == 400, "a late delivery was taken")
        expect(its.deliver({**said, "request_id": "of-nobody"}) in (200, 202), "an unknown request was refused")
        expect(course.rig.ask("facts", job=job)["status"] == "processing", "a bad delivery ended the job")
        good = partial(course.rig.begin, "deliver", provider=its.id, said=said, delivery_id=f"msg_{uuid4().hex}")
        killed(course, good(failpoints=f"{WEBHOOK_POINT}=kill"), WEBHOOK_POINT)
        answers = [course.rig.answer(child) for child in [good() for _ in range(COPIES)]]
        expect(set(answers) <= {200, 202}, f"{answers}")
        found = course.rig.ask("wait", jobs=[job], seconds=WAIT_SECONDS_MAX)
        course.stop(worker)
        expect(found == {job: "completed"}, f"{found}")
        course.broken["webhooks astray"] += 3 + COPIES


def provider_silent(course: Course) -> None:
    """Row 24: no answer at all, three times over: failed and refunded. What comes then changes nothing."""
    with providing(course, deadline_seconds=1) as its:
        its.fake.is_silent = True
        job = course.submit(count=1)
        # Here the deadline has to end an attempt, also where the lease would run out while the machine stands still.
        course.finish([job], statuses=["failed"], worker=partial(its.begin, lease_seconds=60))
        facts, asked = course.rig.ask("facts", job=job), course.rig.ask("requests_of", jobs=[job])
        ended = (facts["attempts"], facts["failure_code"], len(asked))
        expect(ended == (3, "provider_timeout", 3), f"{facts}, {asked}")
        order = its.fake.order_of(job)
        expect(its.deliver({"request_id": order, **its.fake.result(order)}) in (200, 202), "the late one was refused")
        expect(course.rig.ask("facts", job=job) == facts, "a delivery after the refund changed the job")
        course.broken["silent providers"] += 1
