"""Workers write a row about themselves; staff see who lives, what each draws and how busy it is."""

from datetime import timedelta
from uuid import uuid4

import pytest
from django.db import connection
from django.db.models.functions import Now
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from generation import nodes
from generation.models import Node
from tests.factories import allow, make_job, make_user

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("catalogue", "bell")]
GIB = 2**30


def node(name="box:cuda:0:7", **columns) -> Node:
    facts = {"host": "box", "device": "cuda:0", "hardware": "NVIDIA H200", "memory_bytes": 140 * GIB, "state": "idle"}
    nodes.say(name, **facts | columns)
    return Node.objects.get(name=name)


def age(name: str, **columns) -> None:
    Node.objects.filter(name=name).update(last_heartbeat_at=Now() - timedelta(**columns))


def test_a_beat_is_one_statement_and_the_first_one_makes_the_row():
    first = node(jobs_done=1)
    with CaptureQueriesContext(connection) as queries:
        second = node(jobs_done=2)
    assert len(queries) == 1 + 1  # the update, and our look
    assert (second.jobs_done, second.started_at) == (2, first.started_at)
    assert second.last_heartbeat_at >= first.last_heartbeat_at


def test_rows_of_workers_long_gone_are_forgotten(settings):
    node("old"), node("younger")
    age("old", hours=settings.NODE_KEEP_HOURS + 1)
    age("younger", hours=settings.NODE_KEEP_HOURS - 1)
    node("new")
    assert set(Node.objects.values_list("name", flat=True)) == {"younger", "new"}


def test_a_silent_worker_is_stale_and_a_stopped_one_is_not(settings):
    node("dead"), node("gone"), node("alive")
    nodes.say_stopped("gone")
    for name in ("dead", "gone"):
        age(name, seconds=settings.LEASE_SECONDS + 5)
    assert {line.node.name: line.is_stale for line in nodes.shown()} == {"alive": False, "dead": True, "gone": False}
    assert nodes.shown()[0].node.name == "alive"


def test_a_stopped_worker_holds_nothing():
    node(state="busy", resident=[{"model": "starter", "bytes": GIB}], job_ids=[str(uuid4())], jobs_per_minute=9.0)
    nodes.say_stopped("box:cuda:0:7")
    row = Node.objects.get()
    assert (row.state, row.resident, row.job_ids, row.jobs_per_minute, row.idle_share) == ("stopped", [], [], 0, 1)


@pytest.fixture
def staff(client):
    client.force_login(make_user(is_staff=True))
    return client


def test_the_page_says_what_each_node_does(staff):
    job = make_job(make_user(credits=100))
    node(
        state="busy",
        resident=[{"model": "starter", "bytes": 14 * GIB}],
        serves=["starter", "sd15"],
        job_ids=[str(job.id), str(uuid4())],
        jobs_done=41,
        jobs_per_minute=12.5,
        idle_share=0.25,
        swaps=3,
    )
    node("box:cuda:1:8", device="cuda:1")
    age("box:cuda:1:8", minutes=5)
    page = staff.get(reverse("admin_nodes")).content.decode()
    for words in ("NVIDIA H200", "140.0", "10 % held", "starter (14.0", "serves starter, sd15", "12.5", "25 %", "41"):
        assert words in page, words
    assert str(job.id)[:8] in page and job.team.name in page
    assert page.count("no news") == 1 and "cuda:1" in page


def test_the_page_costs_the_same_for_many_nodes(staff):
    user = make_user(credits=1000)
    allow(user, 100)
    staff.get(reverse("admin_nodes"))
    counts = []
    for _ in range(2):
        for number in range(4):
            node(f"{number}{len(counts)}", job_ids=[str(make_job(user).id)], state="busy")
        with CaptureQueriesContext(connection) as queries:
            assert staff.get(reverse("admin_nodes")).status_code == 200
        counts.append(len(queries))
    nodes_and_jobs = [query for query in queries.captured_queries if "generation_" in query["sql"]]
    assert counts[0] == counts[1] and len(nodes_and_jobs) == 2


def test_an_empty_page_says_how_to_start_one(staff):
    assert "gpu_worker" in staff.get(reverse("admin_nodes")).content.decode()


def test_the_way_to_the_page(staff, client):
    address = reverse("admin_nodes")
    assert address in staff.get(reverse("admin:index")).content.decode()
    assert address in staff.get(reverse("admin_report")).content.decode()
    client.logout()
    assert client.get(address).status_code == 302


# --- The meter ------------------------------------------------------------------------------------------------------
class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_meter_knows_the_last_minutes_only():
    clock = Clock()
    meter = nodes.Meter(clock)
    meter.begin()
    clock.now += 30
    meter.end(jobs=3)
    clock.now += 30
    assert meter.rates() == (3.0, 0.5)
    clock.now += nodes.WINDOW_SECONDS
    assert meter.rates() == (0.0, 1.0) and meter.jobs_done == 3


def test_a_meter_counts_what_is_being_drawn():
    clock = Clock()
    meter = nodes.Meter(clock)
    clock.now += 60
    meter.begin()
    clock.now += 180
    jobs_per_minute, idle_share = meter.rates()
    assert (jobs_per_minute, idle_share) == (0.0, 0.25)


# --- A worker's own row ---------------------------------------------------------------------------------------------
@pytest.mark.django_db(transaction=True)
def test_a_worker_writes_its_row_and_takes_leave(engine, worker, settings):
    settings.HEARTBEAT_SECONDS = 0.1
    user = make_user(credits=100)
    allow(user, 4)
    job, seen = make_job(user, num_inference_steps=3), []

    def look(number):
        if number == 2:
            worker._beat()
            seen.append(Node.objects.get(name=worker.name))

    engine.before_step = look
    worker.drain()
    worker.wait_for_post_stage()
    (row,) = seen
    assert (row.device, row.hardware, row.state, row.job_ids) == ("cpu", "fake", "busy", [str(job.id)])
    assert row.resident == [{"model": "starter", "bytes": GIB}] and row.loads == 1
    worker._beat()
    assert Node.objects.get().jobs_done == 1 and Node.objects.get().idle_share < 1
    worker.stop()
    assert Node.objects.get().state == "stopped"
