"""Remote work by several processes' worth of threads, with real commits: every call once, every effect once."""

import threading
import time

import pytest
from django.core.cache import cache
from django.db import connection, transaction

from generation.models import Image, ProviderDelivery, TeamSlot
from generation.remote import requests, work
from tenkaigen import outgoing
from tenkaigen.signals import Stop
from tests.drawing import credits_of
from tests.factories import make_job, make_user
from tests.fake_provider import FakeProvider, sends_json
from tests.remote import configure, fresh, hook, make_provider, remote_worker, run_threads, states


@pytest.fixture(autouse=True)
def configured(transactional_db, catalogue, bell, settings):
    configure(settings)
    cache.clear()


@pytest.fixture
def fake():
    with FakeProvider() as server:
        yield server


def test_two_workers_make_each_call_once(fake):
    make_provider(fake, requests_max=50)
    users = [make_user(credits=100) for _ in range(6)]
    jobs = [make_job(user) for user in users]
    with remote_worker(fake) as one, remote_worker(fake) as two:
        one.start(), two.start()
        run_threads(one, two, ticks=3)
        for request_id in list(fake.orders):
            fake.finish(request_id)
        run_threads(one, two, ticks=6)
    assert [fresh(job).status for job in jobs] == ["completed"] * 6
    assert len(fake.posts()) == 6 and Image.objects.count() == 6 and states() == ["delivered"] * 6
    assert [credits_of(user) for user in users] == [(9400, 0)] * 6


def test_five_deliveries_at_once_are_one(fake):
    user, provider = make_user(credits=100), make_provider(fake, status_url="")
    job = make_job(user)
    with remote_worker(fake) as worker:
        run_threads(worker, ticks=1)
        said = fake.finished[fake.finish()]
        barrier, codes = threading.Barrier(5), []

        def send(number):
            barrier.wait()
            answer = fake.deliver(hook(provider), said, delivery_id="msg_1" if number else "msg_2")
            codes.append((answer.status_code, answer.json()["is_new"]))

        run_together(send)
        assert sorted(codes) == [(200, False)] * 3 + [(200, True)] * 2
        run_threads(worker, ticks=3)
    assert ProviderDelivery.objects.count() == 2 and job.images.count() == 1 and states() == ["delivered"]
    assert credits_of(user) == (9400, 0)


def test_the_first_of_webhook_and_question_counts(fake):
    """The delivery comes while the worker is being told that the drawing failed."""
    user, provider = make_user(credits=100), make_provider(fake)
    job = make_job(user)
    asked = []

    def delivers_first(said_id):
        asked.append(fake.deliver(hook(provider), fake.finished[request_id]).status_code)
        return sends_json(200, {"request_id": said_id, "status": "failed", "error": "no"})

    with remote_worker(fake) as worker:
        run_threads(worker, ticks=1)
        request_id = fake.finish()
        fake._status = delivers_first
        run_threads(worker, ticks=3)
    assert asked == [200] and fresh(job).status == "completed" and states() == ["delivered"]
    assert credits_of(user) == (9400, 0)


def test_the_process_works_until_it_is_told_to_stop(fake, settings):
    settings.REMOTE_TICK_SECONDS = 0.02
    make_provider(fake)
    fake.is_instant = True
    user = make_user(credits=100)
    job = make_job(user)
    stop = Stop()
    process = threading.Thread(target=lambda: run_then_close(fake, stop))
    process.start()
    until = time.monotonic() + 30
    while fresh(job).status != "completed" and time.monotonic() < until:
        time.sleep(0.05)
    stop.ask()
    process.join(timeout=30)
    assert not process.is_alive() and fresh(job).status == "completed" and credits_of(user) == (9400, 0)


def run_then_close(fake: FakeProvider, stop: Stop) -> None:
    work.run(work.RemoteWorker(outgoing.Client(local=[fake.place])), stop)
    connection.close()


def test_the_last_place_of_a_provider_is_given_once():
    provider = make_provider(requests_max=1)
    jobs = [make_job(make_user(credits=100)) for _ in range(5)]
    barrier, begun = threading.Barrier(5), []

    def begin(number):
        barrier.wait()
        begun.append(requests.begin(provider))

    run_together(begin)
    assert len([request for request in begun if request]) == 1
    assert sorted(fresh(job).status for job in jobs) == ["processing"] + ["queued"] * 4


def test_without_the_lock_of_the_provider_the_last_place_is_given_more_than_once(monkeypatch):
    """The twin of the test before: two look, both see a free place, both take it."""
    provider = make_provider(requests_max=1)
    for _ in range(5):
        make_job(make_user(credits=100))
    barrier, begun = threading.Barrier(5), []
    claim = requests.transitions.claim

    def claim_after_all_have_looked(**options):
        barrier.wait(timeout=20)
        return claim(**options)

    monkeypatch.setattr(requests, "_lock", lambda provider: provider)
    monkeypatch.setattr(requests.transitions, "claim", claim_after_all_have_looked)
    run_together(lambda number: begun.append(requests.begin(provider)))
    assert len([request for request in begun if request]) == 5


def test_who_claims_for_a_provider_waits_for_no_team():
    """It holds the provider, and every team it has looked at: two that wait like that may wait for one another."""
    provider, job = make_provider(), make_job(make_user(credits=100))
    is_locked, may_go = threading.Event(), threading.Event()

    def submit_elsewhere(number):
        if number == 0:
            with transaction.atomic():
                TeamSlot.objects.select_for_update().get(team=job.team_id)
                is_locked.set()
                may_go.wait(20)

    elsewhere = threading.Thread(target=run_together, args=(submit_elsewhere,))
    elsewhere.start()
    assert is_locked.wait(20)
    try:
        with connection.cursor() as cursor:
            cursor.execute("SET lock_timeout = '500ms'")
        assert requests.begin(provider) is None
    finally:
        may_go.set()
        elsewhere.join()
        connection.close()
    assert requests.begin(provider).job_id == job.id


def run_together(act) -> None:
    def run(number):
        try:
            act(number)
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=(number,)) for number in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
