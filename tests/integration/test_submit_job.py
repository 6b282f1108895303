import pytest
from django.db import transaction

from credits.audit import find_drift
from credits.errors import InsufficientCredits
from credits.models import Hold, Plan
from credits.queries import balance_of
from generation import services
from generation.errors import InvalidParams, JobIsOver, PromptRefused, RequestKeyReused, TooManyJobs
from generation.models import Job, Style
from tests.factories import make_job, make_params, make_user, team_of

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("catalogue", "bell")]


def submit(user, request_key="key", **fields) -> Job:
    return services.submit_job(team=team_of(user), user=user, params=make_params(**fields), request_key=request_key)


def test_a_job_keeps_both_prompts_and_its_price(bell, django_capture_on_commit_callbacks):
    user = make_user(credits=100)
    with django_capture_on_commit_callbacks(execute=True):
        job = submit(user, style="watercolour", product="mug", count=2, size="512x384")
    job.refresh_from_db()
    assert job.prompt == "a red fox by a lake"
    assert (
        job.expanded_prompt == "a red fox by a lake, watercolor painting, soft washes, paper texture, wraparound design"
    )
    assert (job.style, job.product, job.expander, job.status) == ("watercolour", "mug", "local", "queued")
    assert job.quoted_centi == 1200 == balance_of(team_of(user)).held_centi
    assert bell == ["ring"]


def test_repeating_the_request_key_charges_once():
    user = make_user(credits=100)
    assert submit(user).id == submit(user).id
    assert Job.objects.count() == Hold.objects.count() == 1


def test_the_same_key_with_another_request_is_refused():
    user = make_user(credits=100)
    submit(user)
    with pytest.raises(RequestKeyReused):
        submit(user, prompt="a blue fox")


def test_two_teams_may_use_the_same_key():
    assert submit(make_user(credits=100)).id != submit(make_user(credits=100)).id


def test_refusal_leaves_no_trace():
    user = make_user(credits=5)
    with pytest.raises(InsufficientCredits), transaction.atomic():
        submit(user)
    assert not Job.objects.exists() and not Hold.objects.exists()


def test_the_policy_speaks_before_money_moves():
    user = make_user(credits=100)
    with pytest.raises(PromptRefused, match="sexual pictures"):
        submit(user, prompt="a naked child")
    with pytest.raises(PromptRefused):
        submit(user, expanded_prompt="a fox with a swastika")
    assert not Job.objects.exists()


def test_the_person_may_edit_the_expansion_or_switch_it_off():
    user = make_user(credits=100)
    edited = submit(user, "edited", expanded_prompt="a fox, my way")
    assert (edited.expanded_prompt, edited.expander) == ("a fox, my way", "person")
    bare = submit(user, "bare", expand=False)
    assert (bare.expanded_prompt, bare.expander, bare.negative_prompt) == (bare.prompt, "", "")


def test_styles_that_are_not_offered_are_refused():
    user = make_user(credits=100)
    Style.objects.filter(slug="neon").update(is_active=False)
    for slug in ("neon", "no-such-style"):
        with pytest.raises(InvalidParams, match="no style"):
            submit(user, style=slug)


def test_unfinished_jobs_are_bounded_by_the_plan():
    Plan.objects.update(queue_cap=2)
    user = make_user(credits=100)
    submit(user, "1"), submit(user, "2")
    with pytest.raises(TooManyJobs):
        submit(user, "3")
    assert Job.objects.count() == 2
    assert balance_of(team_of(user)).held_centi == 1200


def test_cancel_gives_everything_back_at_once():
    user = make_user(credits=100)
    job = services.cancel_job(make_job(user))
    assert job.status == "canceled" and job.finished_at
    now = balance_of(team_of(user))
    assert (now.available_centi, now.held_centi) == (10_000, 0)
    with pytest.raises(JobIsOver, match="canceled already"):
        services.cancel_job(job)
    assert find_drift() == []


def test_a_failed_job_is_tried_again_as_a_new_one():
    user = make_user(credits=100)
    job = services.cancel_job(make_job(user, style="anime", count=2))
    again = services.retry_job(job)
    assert again.id != job.id and again.status == "queued"
    assert services.params_of(again) == services.params_of(job)
    assert services.retry_job(job).id == again.id


def test_submit_takes_few_statements(django_assert_max_num_queries):
    user, team = make_user(credits=100), None
    team = team_of(user)
    params = make_params(style="anime")
    with django_assert_max_num_queries(20):
        services.submit_job(team=team, user=user, params=params, request_key="k")
