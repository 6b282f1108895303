"""Submitting never waits for Gemini: the job is there at once, and its words get better while it waits."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.db.models.functions import Now
from django.utils import timezone

from credits.audit import find_drift
from generation import events, expansion, looks, services, tasks, transitions, waits, wording
from generation.models import Job
from tests import fake_gemini as fake
from tests.factories import make_job, make_params, make_user, team_of
from tests.fake_gemini import FakeGemini, good

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("catalogue")]

OURS = "a red fox by a lake, highly detailed, beautiful composition"


@pytest.fixture
def gemini(settings) -> Iterator[FakeGemini]:
    with fake.switched_on(settings) as server:
        yield server


@pytest.fixture
def messages(monkeypatch) -> list[str]:
    """What was handed to the broker for the expand task."""
    sent: list[str] = []
    monkeypatch.setattr("generation.bell.app.send_task", lambda name, arguments, **options: sent.append(arguments[0]))
    return sent


def claimed() -> list[Job]:
    return transitions.claim(worker="w", models=["starter"], images_max=lambda job: 8)


def test_submitting_asks_nobody_and_waits_for_words(gemini, bell, messages, django_capture_on_commit_callbacks):
    with django_capture_on_commit_callbacks(execute=True):
        job = make_job(make_user(credits=100))
    assert gemini.questions == [] and bell == [] and messages == [str(job.id)]
    assert (job.expanded_prompt, job.expander) == (OURS, "local")
    assert timedelta(seconds=7) < job.run_after - timezone.now() < timedelta(seconds=10)
    assert claimed() == []
    events.worker_is_here("w", state="idle", models=["starter"])
    assert waits.wait_of(job).reason == "Your prompt is being written."


def test_the_words_arrive_and_the_job_may_run(gemini, bell, messages, django_capture_on_commit_callbacks):
    job = make_job(make_user(credits=100), count=2, size="512x384")
    before = Job.objects.filter(id=job.id).values().get()
    gemini.will(good("a fox in the mist", style="neon", model="flux", size="4096x4096", count=100, seed=1))
    with django_capture_on_commit_callbacks(execute=True):
        tasks.expand(str(job.id))
    after = Job.objects.filter(id=job.id).values().get()
    assert bell == ["ring"]
    events.worker_is_here("w", state="idle", models=["starter"])
    assert waits.wait_of(Job.objects.get(id=job.id)).reason == "You are next."
    assert after["expanded_prompt"] == "a fox in the mist, neon, cyberpunk, glowing lights at night"
    assert (after["style"], after["expander"]) == ("neon", "gemini")
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"expanded_prompt", "negative_prompt", "style", "expander", "run_after"}
    assert [mine.expanded_prompt for mine in claimed()] == [after["expanded_prompt"]]
    assert find_drift() == []


def test_delivering_the_message_twice_asks_once(gemini, bell, messages):
    job = make_job(make_user(credits=100))
    assert services.improve_job(job.id) and not services.improve_job(job.id)
    assert len(gemini.questions) == 1


def test_a_failure_ends_the_wait_at_once_and_says_so(gemini, bell, messages):
    job = make_job(make_user(credits=100))
    gemini.will(fake.refuses())
    services.improve_job(job.id)
    (mine,) = claimed()
    assert (mine.expanded_prompt, mine.expander) == (OURS, "local")
    assert mine.expansion_note == expansion.NOTES["refused"]


def test_what_the_policy_forbids_is_not_drawn(gemini, bell, messages):
    job = make_job(make_user(credits=100))
    gemini.will(good("a fox with a swastika flag"))
    services.improve_job(job.id)
    (mine,) = claimed()
    assert mine.expanded_prompt == OURS and mine.expansion_note == expansion.NOTES["forbidden"]


def test_a_lost_message_means_our_own_words_at_the_deadline(gemini, bell, messages):
    job = make_job(make_user(credits=100))
    Job.objects.filter(id=job.id).update(run_after=Now() - timedelta(seconds=1))
    (mine,) = claimed()
    assert mine.expanded_prompt == OURS


@pytest.mark.parametrize("meanwhile", ["claimed", "canceled"])
def test_words_that_come_too_late_change_nothing(gemini, bell, messages, meanwhile):
    job = make_job(make_user(credits=100))

    waiting = transitions.awaiting_words().get(id=job.id)
    if meanwhile == "claimed":
        Job.objects.filter(id=job.id).update(run_after=Now() - timedelta(seconds=1))
        claimed()
    else:
        services.cancel_job(job)
    late = wording.expand_prompt(make_params(), looks.DrawnWith())
    assert not transitions.rewrite(waiting, late)
    job.refresh_from_db()
    assert (job.expanded_prompt, job.expander) == (OURS, "local")
    assert not services.improve_job(job.id) and gemini.questions == []


def test_remembered_words_need_no_wait(gemini, bell, messages, django_capture_on_commit_callbacks):
    user = make_user(credits=100)
    shown = wording.suggest_prompt(team=team_of(user), params=make_params())
    with django_capture_on_commit_callbacks(execute=True):
        job = make_job(user)
    assert (job.expanded_prompt, job.expander) == (shown.prompt, "gemini")
    assert bell == ["ring"] and messages == [] and len(claimed()) == 1


@pytest.mark.parametrize("fields", [{"expand": False}, {"expanded_prompt": "my own words"}])
def test_nobody_waits_for_words_they_did_not_ask_for(
    gemini, bell, messages, fields, django_capture_on_commit_callbacks
):
    with django_capture_on_commit_callbacks(execute=True):
        make_job(make_user(credits=100), **fields)
    assert bell == ["ring"] and messages == [] and len(claimed()) == 1


def test_nobody_waits_while_gemini_rests(gemini, bell, messages, django_capture_on_commit_callbacks):
    for _ in range(expansion.REST_AFTER_FAILURES):
        expansion._count_failure()
    with django_capture_on_commit_callbacks(execute=True):
        make_job(make_user(credits=100))
    assert bell == ["ring"] and messages == []


def test_a_dead_broker_does_not_fail_the_submit(gemini, bell, monkeypatch, django_capture_on_commit_callbacks):
    def fail(*args, **options):
        raise ConnectionError

    monkeypatch.setattr("generation.bell.app.send_task", fail)
    with django_capture_on_commit_callbacks(execute=True):
        job = make_job(make_user(credits=100))
    assert job.status == "queued"


def test_the_persons_negative_prompt_survives_the_rewrite(gemini, bell, messages):
    user = make_user(credits=100)
    own, ours = make_job(user, negative_prompt="dogs"), make_job(user, prompt="an owl")
    services.improve_job(own.id)
    services.improve_job(ours.id)
    own.refresh_from_db()
    ours.refresh_from_db()
    assert own.negative_prompt == "dogs"
    assert ours.negative_prompt == "text, blurry, low quality"
