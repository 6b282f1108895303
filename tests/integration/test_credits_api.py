"""What a program is told about credits: balance, history, passes, prices, rehearsals, receipts."""

from datetime import timedelta
from uuid import uuid4

import pytest
from django.utils import timezone

from accounts.models import Activity, ApiKey
from credits import passes, plans
from credits.models import Entry, Grant, Hold, Pass, PassProduct, Plan
from credits.queries import Balance, balance_of
from generation.models import Job
from tests.factories import give, make_job, make_user, team_of
from tests.integration.pages import complete
from tests.integration.program import ASK, Program

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("catalogue", "bell")]


@pytest.fixture
def program() -> Program:
    return Program(make_user(credits=100))


def issue(team, slug: str = "flash-lite", reference: str = "sale-1") -> Pass:
    return passes.issue(team=team, product=PassProduct.objects.get(slug=slug), reference=reference, actor="test")


def start(team, **fields) -> Pass:
    return passes.activate(team=team, pass_id=issue(team, **fields).pk, actor="test")


def untouched(program: Program) -> bool:
    """Nothing was ordered, set aside or moved: the gift is all there ever was."""
    return (Job.objects.count(), Hold.objects.count(), Entry.objects.exclude(kind="grant").count()) == (0, 0, 0)


# --- Balance and history --------------------------------------------------------------------------------------------
def test_the_balance_is_exactly_five_figures(program):
    make_job(program.user)
    assert program.get("credits/balance").json() == {
        "available_credits": "94.00",
        "reserved_credits": "6.00",
        "bonus_credits": "94.00",
        "total_allocated": "100.00",
        "next_replenishment_at": None,
    }
    subscription = plans.subscribe(team=program.team, plan=Plan.objects.get(slug="basic"), actor="test")
    body = program.get("credits/balance").json()
    ends_at = plans.period_of(subscription, timezone.now()).ends_at
    assert body["next_replenishment_at"] == ends_at.isoformat().replace("+00:00", "Z")
    assert (body["available_credits"], body["bonus_credits"], body["total_allocated"]) == ("594.00", "94.00", "600.00")


def test_the_history_tells_credits_from_images(program):
    start(program.team)
    make_job(program.user, size="512x512")
    first, second, third = program.get("credits/history").json()["items"]
    assert (first["kind"], first["unit"], first["amount"], first["available_after"]) == (
        "reserve", "image", "1.00", "100.00",
    )  # fmt: skip
    assert first["what"] == "1 picture, 512 × 512" and second["what"] == "Flash Lite pass"
    assert (second["source"], second["unit"]) == ("pass", "image")
    assert (third["what"], third["unit"], third["debt_after"]) == ("Bonus", "credit", "0.00")


def test_a_misspelt_filter_is_refused(program):
    answer = program.get("credits/history?knid=grant")
    assert (answer.status_code, answer.json()["fields"]) == (400, {"knid": "There is no field 'knid'."})


# --- Passes ---------------------------------------------------------------------------------------------------------
def test_passes_are_listed_with_their_state(program, django_assert_num_queries):
    waiting = issue(program.team, "pro", "sale-2")
    running = start(program.team)
    program.get("passes")
    with django_assert_num_queries(3):  # the key, the passes, the clock
        newest, oldest = program.get("passes").json()["items"]
    assert (newest["id"], newest["state"], newest["images_left"]) == (str(running.pk), "running", 3)
    assert 3590 <= newest["seconds_left"] <= 3600
    assert oldest == {
        "id": str(waiting.pk),
        "name": "Pro",
        "state": "waiting",
        "images": 15,
        "images_left": 15,
        "videos": 3,
        "minutes": 60,
        "side_px_max": 512,
        "seconds_left": None,
        "ends_at": None,
        "created_at": oldest["created_at"],
    }
    first = program.get("passes?limit=1").json()
    rest = program.get(f"passes?limit=1&cursor={first['next_cursor']}").json()
    assert (first["items"], rest["items"], rest["next_cursor"]) == ([newest], [oldest], None)
    Grant.objects.filter(pk=running.grant_id).update(
        effective_at=timezone.now() - timedelta(hours=2), expires_at=timezone.now() - timedelta(hours=1)
    )
    over = program.get("passes").json()["items"][0]
    assert (over["state"], over["images_left"], over["seconds_left"]) == ("over", 0, 0)


def test_a_pass_is_started_once(program):
    waiting = issue(program.team)
    first = program.post(f"passes/{waiting.pk}/activate", {})
    again = program.post(f"passes/{waiting.pk}/activate", {})
    assert (first.status_code, again.status_code) == (200, 200)
    assert first.json()["state"] == "running" and first.json()["ends_at"] == again.json()["ends_at"]
    assert Grant.objects.filter(source="pass").count() == 1
    key = ApiKey.objects.get()
    assert Entry.objects.get(grant__source="pass").actor == f"key {key.prefix}"
    line = Activity.objects.get(verb="pass.activated")
    assert (line.actor, line.actor_user) == ("key test", program.user)


def test_what_cannot_be_started_is_told_why(program):
    start(program.team)
    second = issue(program.team, reference="sale-2")
    answer = program.post(f"passes/{second.pk}/activate", {})
    assert (answer.status_code, answer.json()["code"]) == (409, "pass_not_ready")
    assert program.post(f"passes/{uuid4()}/activate", {}).status_code == 404
    assert program.post("passes/7/activate", {}).json()["fields"] == {"pass_id": "This is not a UUID."}
    foreign = issue(team_of(make_user()), reference="sale-3")
    assert program.post(f"passes/{foreign.pk}/activate", {}).status_code == 404
    assert Pass.objects.exclude(grant=None).count() == 1


# --- Quotes ---------------------------------------------------------------------------------------------------------
def test_a_quote_says_what_it_costs_and_who_pays(program, django_assert_max_num_queries):
    start(program.team)
    body = ASK | {"count": 4, "size": "512x512", "style": "anime"}
    program.post("quotes", body)  # notes the use of the key
    with django_assert_max_num_queries(4):  # the key, the model, the prices, the preview
        quote = program.post("quotes", body).json()
    assert quote == {
        "kind": "image",
        "unit_price": "6.00",
        "count": 4,
        "total": "24.00",
        "pass_images": 3,
        "credits_to_pay": "6.00",
        "price_version": "2026-11",
        "factors": {
            "width": 512,
            "height": 512,
            "quality": "standard",
            "count": 4,
            "complexity": quote["factors"]["complexity"],
            "resolution_factor": "1.0000",
            "quality_factor": "1.0000",
        },
        "can_pay": True,
        "problem": "",
    }
    assert untouched(program)


@pytest.mark.parametrize(
    ("body", "total", "can_pay"),
    [
        ({"kind": "creation", "images": 10, "complexity": "1.5"}, "115.00", False),
        ({"kind": "creation", "images": 5}, "75.00", True),
        ({"kind": "refinement", "iteration": 2, "complexity": 1.5}, "71.28", True),
        ({"kind": "refinement", "iteration": 1}, "39.60", True),
        ({"kind": "refinement", "iteration": 100}, "500.00", False),
        ({"quality": "hd", "size": "512x512", "count": 2}, "18.00", True),
        ({"kind": "image", "prompt": None}, "6.00", True),
        ({}, "6.00", True),
    ],
)
def test_every_kind_of_work_has_its_price(program, body, total, can_pay):
    answer = program.post("quotes", body)
    assert answer.status_code == 200
    assert (answer.json()["total"], answer.json()["can_pay"]) == (total, can_pay)
    assert answer.json()["problem"] == ("" if can_pay else "insufficient_credits")
    assert untouched(program)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"kind": "theft"}, "kind"),
        ({"kind": 7}, "kind"),
        ({"kind": ["creation"]}, "kind"),
        ({"kind": "creation"}, "images"),
        ({"kind": "creation", "images": 0}, "images"),
        ({"kind": "creation", "images": 10**9}, "images"),
        ({"kind": "creation", "images": 5, "complexity": "0"}, "complexity"),
        ({"kind": "creation", "images": 5, "complexity": "NaN"}, "complexity"),
        ({"kind": "creation", "images": 5, "prompt": "fox"}, "prompt"),
        ({"kind": "refinement", "iteration": 0}, "iteration"),
        ({"kind": "refinement", "iteration": 101}, "iteration"),
        ({"iteration": 1}, "iteration"),
        ({"count": 5}, "count"),
        ({"model": "sdxl-lightning"}, "model"),
        ({"size": "1x1"}, "size"),
    ],
)
def test_what_has_no_price_is_refused_by_name(program, body, field):
    answer = program.post("quotes", body)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid")
    assert field in answer.json()["fields"]


@pytest.mark.parametrize("body", [[], "x", 7])
def test_what_is_no_object_is_refused(program, body):
    assert program.client.post("/api/v1/quotes", body, content_type="application/json").status_code == 400


# --- The most it may cost -------------------------------------------------------------------------------------------
def test_more_than_the_program_agreed_to_is_refused_with_the_new_price(program):
    answer = program.post("generate", ASK | {"count": 2, "max_credits": "11.99"}, Idempotency_Key="order-1")
    assert answer.status_code == 409
    assert answer.json() == {
        "code": "price_changed",
        "message": "This costs 12 credits now, not 11.99. Send it again if you agree.",
        "price": "12.00",
    }
    assert untouched(program) and balance_of(program.team) == Balance(10_000, 0)
    agreed = program.post("generate", ASK | {"count": 2, "max_credits": "12"}, Idempotency_Key="order-1")
    assert (agreed.status_code, agreed.json()["credits_quoted"]) == (202, "12.00")


def test_what_a_pass_pays_does_not_count_against_it(program):
    start(program.team)
    body = ASK | {"count": 4, "size": "512x512"}
    assert program.post("generate", body | {"max_credits": "6.00"}).status_code == 202
    assert program.post("generate", body | {"max_credits": "0"}).json()["price"] == "24.00"


@pytest.mark.parametrize("amount", [6, 6.5, True, "-1", "six", "0.001", "1e400", "1e1000000", "9" * 400, "NaN", {}, ""])
def test_what_is_no_amount_is_refused(program, amount):
    answer = program.post("generate", ASK | {"max_credits": amount})
    assert (answer.status_code, list(answer.json()["fields"])) == (400, ["max_credits"])
    assert untouched(program)


# --- Rehearsals -----------------------------------------------------------------------------------------------------
def test_a_dry_run_answers_with_the_price_and_leaves_no_trace(program, bell, django_capture_on_commit_callbacks):
    start(program.team)
    body = ASK | {"count": 4, "size": "512x512"}
    before = balance_of(program.team)
    with django_capture_on_commit_callbacks(execute=True):
        answer = program.post("generate?dry_run=true", body, Idempotency_Key="order-1")
    assert answer.status_code == 200 and "Location" not in answer
    assert answer.json() == program.post("quotes", body).json()
    assert untouched(program) and balance_of(program.team) == before and bell == []
    real = program.post("generate", body, Idempotency_Key="order-1")
    assert real.status_code == 202 and Hold.objects.get().amount_centi == 600


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"prompt": "hardcore sex"}, 422, "prompt_refused"),
        ({"style": "no-such"}, 400, "invalid"),
        ({"count": 9}, 400, "invalid"),
        ({"max_credits": "5.99"}, 409, "price_changed"),
    ],
)
def test_a_dry_run_refuses_what_an_order_would_be_refused_for(program, body, status, code):
    answers = [program.post(path, ASK | body) for path in ("generate?dry_run=true", "generate")]
    assert [(answer.status_code, answer.json()["code"]) for answer in answers] == [(status, code)] * 2
    assert answers[0].json() == answers[1].json() and untouched(program)


def test_a_dry_run_asks_the_balance_and_the_limits(program):
    poor = Program(make_user(credits=5))
    assert poor.post("generate?dry_run=1", ASK).json()["code"] == "insufficient_credits"
    Plan.objects.filter(slug="free").update(queue_cap=1)
    assert program.post("generate?dry_run=1", ASK).status_code == 200
    assert program.post("generate", ASK).status_code == 202
    assert program.post("generate?dry_run=1", ASK).json()["code"] == "too_many_jobs"
    assert Job.objects.count() == Hold.objects.count() == 1


def test_a_dry_run_knows_a_key_that_stands_for_something_else(program):
    program.post("generate", ASK, Idempotency_Key="order-1")
    assert program.post("generate?dry_run=1", ASK, Idempotency_Key="order-1").status_code == 200
    other = program.post("generate?dry_run=1", ASK | {"count": 2}, Idempotency_Key="order-1")
    assert (other.status_code, other.json()["code"]) == (422, "request_key_reused")
    assert Job.objects.count() == 1


def test_a_dry_run_that_is_neither_yes_nor_no_orders_nothing(program):
    assert program.post("generate?dry_run=perhaps", ASK).json()["fields"].keys() == {"dry_run"}
    assert untouched(program)
    assert program.post("generate?dry_run=false", ASK).status_code == 202


# --- Receipts -------------------------------------------------------------------------------------------------------
def test_a_job_comes_with_its_receipt(program, django_assert_num_queries):
    start(program.team)
    job = complete(make_job(program.user, count=4, size="512x512"))
    program.get(f"jobs/{job.pk}")
    with django_assert_num_queries(5):  # the key, the job, its images, its hold, the hold's entries
        body = program.get(f"jobs/{job.pk}").json()
    receipt = body["receipt"]
    entries = receipt.pop("entries")
    hold = Hold.objects.get()
    assert receipt.pop("factors")["resolution_factor"] == "1.0000"
    assert receipt == {
        "quoted": "24.00",
        "unit_price": "6.00",
        "count": 4,
        "reserved": "6.00",
        "charged": "6.00",
        "released": "0.00",
        "uncollected": "0.00",
        "pass_images": 3,
        "pass_images_charged": 3,
        "price_version": "2026-11",
        "is_final": True,
        "reserved_at": hold.created_at.isoformat().replace("+00:00", "Z"),
        "settled_at": hold.settled_at.isoformat().replace("+00:00", "Z"),
    }
    assert [(entry["kind"], entry["unit"], entry["amount"]) for entry in entries] == [
        ("reserve", "image", "3.00"),
        ("reserve", "credit", "6.00"),
        ("settle", "image", "3.00"),
        ("settle", "credit", "6.00"),
    ]
    assert (body["credits_charged"], body["credits_returned"]) == ("6.00", "0.00")


def test_what_comes_back_is_what_was_set_aside_and_not_charged(program):
    start(program.team)
    complete(make_job(program.user, count=4, size="512x512"), blocked=1)
    give(program.team, 100)
    open_job = make_job(program.user)
    opened, ended = program.get("jobs").json()["items"]
    assert opened["id"] == str(open_job.pk) and opened["credits_returned"] is None
    assert (ended["credits_quoted"], ended["credits_charged"], ended["credits_returned"]) == ("24.00", "0.00", "6.00")
    assert "receipt" not in ended
    canceled = program.delete(f"jobs/{open_job.pk}").json()
    assert (canceled["credits_returned"], canceled["receipt"]["released"]) == ("6.00", "6.00")


def test_the_key_of_another_team_reads_none_of_it(program):
    job = make_job(program.user)
    other = Program(make_user(credits=5))
    assert other.get(f"jobs/{job.pk}").status_code == 404
    assert other.get("credits/balance").json()["available_credits"] == "5.00"
    assert other.get("passes").json() == {"items": [], "next_cursor": None}
