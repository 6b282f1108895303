"""The REST interface, seen by a program with a key."""

import json
from uuid import uuid4

import pytest
from django.test import Client

from credits.models import Hold, Plan
from credits.queries import balance_of
from generation import events, transitions
from generation.models import Job
from tests.factories import make_job, make_user
from tests.integration.program import ASK, Program

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("catalogue", "bell")]


@pytest.fixture
def program() -> Program:
    return Program(make_user(credits=100))


def test_a_request_becomes_a_job(program, bell, django_capture_on_commit_callbacks):
    with django_capture_on_commit_callbacks(execute=True):
        answer = program.post("generate", ASK | {"style": "anime", "count": 2, "size": "512x384"})
    job = Job.objects.get()
    assert answer.status_code == 202
    assert answer["Location"] == f"http://testserver/api/v1/generate/{job.id}"
    assert answer["Retry-After"] == "2"
    body = answer.json()
    assert body.pop("progress")["position"] == 1
    assert body == {
        "id": str(job.id),
        "status": "queued",
        "failure": None,
        "images": [],
        "credits_quoted": "12.00",
        "credits_charged": "0.00",
    }
    assert (job.team, job.user, job.style, job.seed) == (program.team, program.user, "anime", 7)
    assert bell == ["ring"]


def test_the_key_makes_a_request_safe_to_repeat(program):
    first = program.post("generate", ASK, Idempotency_Key="order-1")
    again = program.post("generate", ASK, Idempotency_Key="order-1")
    assert (first.status_code, again.status_code) == (202, 202)
    assert first.json()["id"] == again.json()["id"]
    assert Job.objects.count() == Hold.objects.count() == 1
    other = program.post("generate", ASK | {"count": 2}, Idempotency_Key="order-1")
    assert (other.status_code, other.json()["code"]) == (422, "request_key_reused")
    assert balance_of(program.team).held_centi == 600


def test_without_a_key_every_request_is_new(program):
    ids = {program.post("generate", ASK, **headers).json()["id"] for headers in ({}, {}, {"Idempotency_Key": ""})}
    assert len(ids) == 3


def test_too_few_credits(program):
    poor = Program(make_user(credits=5))
    answer = poor.post("generate", ASK)
    assert (answer.status_code, answer.json()["code"]) == (402, "insufficient_credits")
    assert answer.json()["message"] == "This costs 6 credits; you have 5."


def test_too_many_jobs(program):
    Plan.objects.update(queue_cap=1)
    assert program.post("generate", ASK).status_code == 202
    answer = program.post("generate", ASK)
    assert (answer.status_code, answer.json()["code"], answer["Retry-After"]) == (429, "too_many_jobs", "30")


def test_the_policy_says_why(program):
    answer = program.post("generate", ASK | {"prompt": "a naked child"})
    assert (answer.status_code, answer.json()["code"]) == (422, "prompt_refused")
    assert "sexual pictures" in answer.json()["message"]


def test_strangers_are_asked_who_they_are():
    answer = Client().post("/api/v1/generate", ASK, content_type="application/json")
    assert (answer.status_code, answer.json()["code"]) == (401, "not_authenticated")
    assert answer["WWW-Authenticate"] == "Bearer"
    forged = Client(headers={"Authorization": "Bearer tk_00000000_wrong"}).get("/api/v1/jobs")
    assert (forged.status_code, forged.json()["code"]) == (401, "authentication_failed")


def test_a_key_may_come_in_a_header_of_its_own(program):
    assert Client(headers={"X-API-Key": program.key}).get("/api/v1/jobs").status_code == 200
    assert Client(headers={"X-API-Key": program.key + "x"}).get("/api/v1/jobs").status_code == 401


def test_a_browser_needs_its_csrf_token(program):
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(program.user)
    answer = browser.post("/api/v1/generate", ASK, content_type="application/json")
    assert (answer.status_code, answer.json()["code"]) == (403, "permission_denied")
    assert "CSRF" in answer.json()["message"]
    assert browser.get("/api/v1/jobs").status_code == 200


def test_jobs_of_others_are_not_there(program):
    theirs = make_job(make_user(credits=100))
    for answer in (
        program.get(f"generate/{theirs.id}"),
        program.get(f"jobs/{theirs.id}"),
        program.delete(f"jobs/{theirs.id}"),
        program.get(f"jobs/{uuid4()}"),
    ):
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    theirs.refresh_from_db()
    assert theirs.status == "queued"
    assert program.get("jobs").json()["items"] == []


def test_an_id_that_is_none_is_refused(program):
    for path in ("jobs/7", "generate/%00", "images/x/original"):
        answer = program.get(path)
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid")


def test_progress_comes_from_redis(program):
    job = make_job(program.user)
    (claimed,) = transitions.claim(worker="w", models=["starter"], images_max=lambda job: 1)
    events.publish([job.id], events.Progress("processing", phase="drawing", steps_done=1, steps_total=2))
    answer = program.get(f"generate/{job.id}")
    assert answer["Retry-After"] == "1"
    assert answer.json()["progress"] == {
        "phase": "drawing", "steps_done": 1, "steps_total": 2, "position": 0, "seconds_left": None, "reason": "",
    }  # fmt: skip
    transitions.fail(claimed, transitions.Failure("engine", "It broke."))
    answer = program.get(f"generate/{job.id}")
    assert "Retry-After" not in answer
    assert answer.json()["failure"] == {"code": "engine", "message": "It broke."}
    assert (answer.json()["progress"], answer.json()["credits_charged"]) == (None, "0.00")


def test_watching_costs_little(program, django_assert_num_queries):
    job = make_job(program.user)
    events.publish([job.id], events.Progress("queued", position=3))
    program.get("jobs")  # notes the use of the key
    with django_assert_num_queries(2):  # the key and the job
        assert program.get(f"generate/{job.id}").json()["progress"]["position"] == 3


def test_cancel(program):
    job = make_job(program.user)
    answer = program.delete(f"jobs/{job.id}")
    assert (answer.status_code, answer.json()["status"]) == (200, "canceled")
    assert answer.json()["credits_returned"] == "6.00"
    again = program.delete(f"jobs/{job.id}")
    assert (again.status_code, again.json()["code"]) == (409, "job_is_over")
    assert balance_of(program.team).available_centi == 10_000


def test_the_list_pages_and_filters(program, django_assert_num_queries):
    jobs = [make_job(program.user) for _ in range(5)]
    program.delete(f"jobs/{jobs[0].id}")
    with django_assert_num_queries(4):  # the key, the jobs, their images and holds
        first = program.get("jobs?limit=2").json()
    second = program.get(f"jobs?limit=2&cursor={first['next_cursor']}").json()
    third = program.get(f"jobs?limit=2&cursor={second['next_cursor']}").json()
    ids = [item["id"] for page in (first, second, third) for item in page["items"]]
    assert ids == [str(job.id) for job in reversed(jobs)]
    assert third["next_cursor"] is None
    canceled = program.get("jobs?status=canceled").json()["items"]
    assert [item["id"] for item in canceled] == [str(jobs[0].id)]


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("limit=0", "invalid"),
        ("limit=101", "invalid"),
        ("limit=x", "invalid"),
        ("status=done", "invalid"),
        ("stauts=queued", "invalid"),
        ("cursor=%00", "invalid"),
        ("cursor=é", "bad_cursor"),
        ("cursor=abc", "bad_cursor"),
        ("cursor=MDAwMS0wMS0wMVQwMDowMCsxNDowMHxhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYQ", "bad_cursor"),
    ],
)
def test_broken_lists_are_refused(program, query, code):
    answer = program.get(f"jobs?{query}")
    assert (answer.status_code, answer.json()["code"]) == (400, code)


def test_a_prompt_can_be_tried_out(program):
    answer = program.post("parse-prompt", {"prompt": " a  fox in neon ", "product": "mug"})
    assert answer.status_code == 200
    assert answer.json() == {
        "prompt": "a fox in neon",
        "expanded_prompt": "a fox in neon, neon, cyberpunk, glowing lights at night, wraparound design",
        "negative_prompt": "daylight, pastel, blurry, low quality",
        "style": "neon",
        "franchise": "",
        "expander": "local",
        "note": "",
    }
    assert program.post("parse-prompt", {"prompt": "a naked child"}).status_code == 422
    assert program.post("parse-prompt", {"prompt": "fox", "style": "none"}).json()["code"] == "invalid"
    assert program.post("parse-prompt", {"prompt": "fox", "seed": 1}).status_code == 400
    assert not Job.objects.exists()


def test_styles_are_listed(program, django_assert_num_queries):
    program.get("jobs")
    with django_assert_num_queries(2):
        styles = program.get("styles").json()
    anime = next(style for style in styles if style["slug"] == "anime")
    assert len(styles) >= 12
    assert set(anime) == {"slug", "name", "description", "preview_url"}
    assert anime["preview_url"] in (None, "http://testserver/static/styles/anime.webp")  # once it has been drawn


def test_a_team_that_asks_too_often_waits(program, settings):
    settings.API_REQUESTS_PER_MINUTE = 2
    answers = [program.get("styles") for _ in range(3)]
    if answers[-1].status_code == 200:  # the minute turned over in between
        answers = [program.get("styles") for _ in range(3)]
    assert answers[-1].status_code == 429
    assert answers[-1].json()["code"] == "throttled"
    assert 1 <= int(answers[-1]["Retry-After"]) <= 60
    assert Program(make_user()).get("styles").status_code == 200


def test_secrets_do_not_leave(program):
    job = make_job(program.user)
    text = json.dumps([program.get(f"jobs/{job.id}").json(), program.get(f"generate/{job.id}").json()])
    for word in ("request_key", "fingerprint", "fence", "lease_until", 'worker"', "ai-generated"):
        assert word not in text
