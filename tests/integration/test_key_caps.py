"""A key's own cap a month: what counts, what comes back, what it says, and where a key stands."""

from datetime import UTC, datetime

import pytest

from accounts.models import ApiKey
from credits.amounts import plain
from credits.models import Entry, Hold
from generation import services
from generation.custom import services as custom
from generation.errors import KeyCapReached
from generation.models import Job
from tenkaigen.months import month_of
from tests.custom import make_draft
from tests.factories import give, make_job, make_user
from tests.integration.pages import client_of, complete
from tests.integration.program import ASK, Program

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("catalogue", "bell")]


@pytest.fixture
def program() -> Program:
    """Its pictures cost 6 credits each, and it may spend 13 a month."""
    program = Program(make_user(credits=100))
    ApiKey.objects.update(monthly_cap_centi=1300)
    return program


def order(program: Program, query: str = "", **fields):
    return program.post(f"generate{query}", ASK | fields)


def spent(program: Program) -> str:
    return program.get("key").json()["spent_credits"]


def rows() -> tuple[int, int, int]:
    return Job.objects.count(), Hold.objects.count(), Entry.objects.count()


def test_what_runs_and_what_was_charged_count_and_what_came_back_does_not(program):
    delivered, failed = (Job.objects.get(pk=order(program).json()["id"]) for _ in range(2))
    assert spent(program) == "12.00" and {delivered.api_key_id, failed.api_key_id} == {ApiKey.objects.get().pk}
    complete(delivered)
    assert spent(program) == "12.00"
    services.cancel_job(failed)
    assert spent(program) == "6.00"
    make_job(program.user)  # by the person, on a page
    assert spent(program) == "6.00"
    assert order(program).status_code == 202


@pytest.mark.parametrize("query", ["", "?dry_run=true"])
def test_over_the_cap_nothing_moves_and_the_answer_says_when_it_begins_anew(program, query):
    order(program, count=2)
    before = rows()
    answer = order(program, query)
    until = month_of(Job.objects.get().created_at)[1]
    assert answer.status_code == 402 and 0 < int(answer["Retry-After"]) <= 31 * 86_400
    body = answer.json()
    assert (body["code"], body["cap"], body["spent"]) == ("key_cap_reached", "13.00", "12.00")
    assert body["resets_at"] == f"{until:%Y-%m-%dT00:00:00Z}" == program.get("key").json()["resets_at"]
    assert body["message"].startswith("This API key may spend 13 credits a month; 12 are spent or set aside")
    assert rows() == before


def test_the_next_month_begins_at_nothing_and_another_key_has_its_own(program):
    order(program, count=2)
    other = Program(program.user)
    assert other.get("key").json()["cap_credits"] is None and spent(other) == "0.00"
    assert order(other).status_code == 202
    Job.objects.update(created_at=datetime(2026, 1, 31, 23, 59, tzinfo=UTC))
    assert spent(program) == "0.00" and order(program).status_code == 202


def test_what_a_pass_pays_is_no_credit(program):
    give(program.team, 200, source="pass", covers_px=512)
    assert order(program, count=2, size="512x512").status_code == 202
    assert spent(program) == "0.00"


def test_trainings_count_too(program):
    give(program.team, 20_000)
    model = make_draft(program.user)
    price, before = custom.quote_of(model).total_centi, rows()
    with pytest.raises(KeyCapReached):
        custom.submit_training(model, user=program.user, request_key="k", api_key=ApiKey.objects.get())
    assert rows() == before and spent(program) == "0.00"
    ApiKey.objects.update(monthly_cap_centi=price)
    custom.submit_training(model, user=program.user, request_key="k", api_key=ApiKey.objects.get())
    assert spent(program) == plain(price) and order(program).status_code == 402


def test_a_repeated_order_over_the_cap_answers_with_the_first_job(program):
    first = program.post("generate", ASK | {"count": 2}, Idempotency_Key="k").json()
    again = program.post("generate", ASK | {"count": 2}, Idempotency_Key="k")
    assert (again.status_code, again.json()["id"]) == (202, first["id"])


def test_people_and_staff_see_what_a_key_has_spent(program):
    order(program)
    assert "6 of at most 13 credits spent this month" in client_of(program.user).get("/account/").content.decode()
    staff = client_of(make_user(is_staff=True, is_superuser=True))
    assert b"600" in staff.get(f"/admin/accounts/apikey/{ApiKey.objects.get().pk}/change/").content
    assert client_of(program.user).get("/api/v1/key").status_code == 404


@pytest.mark.parametrize(
    ("moment", "since", "until"),
    [
        (
            datetime(2026, 12, 31, 23, 59, tzinfo=UTC),
            datetime(2026, 12, 1, tzinfo=UTC),
            datetime(2027, 1, 1, tzinfo=UTC),
        ),
        (datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC)),
    ],
)
def test_months_begin_at_midnight_in_utc(moment, since, until):
    assert month_of(moment) == (since, until)
