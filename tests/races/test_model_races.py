"""Two people at one model at the same moment: one training, one version number, one trigger word, one plan's limit."""

from functools import partial
from threading import Barrier
from uuid import uuid4

import pytest

from credits.audit import find_drift
from credits.models import Plan
from credits.queries import balance_of
from generation.custom import drafts, queries, rows, rules, services
from generation.errors import InvalidParams, ModelNotReady, NoSuchModel, TooManyModels
from generation.models import CustomModel, Job, ModelVersion
from tenkaigen.errors import Busy
from tests.custom import make_draft, make_model
from tests.factories import make_user, team_of

pytestmark = pytest.mark.usefixtures("catalogue", "bell")


@pytest.fixture
def user():
    return make_user(credits=1000)


def submit(model, key=""):
    return services.submit_training(model, user=model.user, request_key=key or uuid4().hex)


def test_two_submits_of_one_draft_are_one_training(run_together, user):
    model = make_draft(user)
    results = run_together([partial(submit, model)] * 4)
    assert sum(isinstance(result, ModelNotReady) for result in results) == 3
    assert (Job.objects.count(), ModelVersion.objects.count()) == (1, 1)
    assert balance_of(team_of(user)).held_centi == 11_250 and find_drift() == []


def test_one_key_sent_twice_at_once_is_one_training_for_both(run_together, user):
    model = make_draft(user)
    first, *others = run_together([partial(submit, model, "key")] * 4)
    assert isinstance(first, Job) and others == [first] * 3
    assert balance_of(team_of(user)).held_centi == 11_250


def test_two_refinements_of_one_model_are_one(run_together, user):
    model = make_model(user)
    refine = [partial(services.refine, model, user=user, request_key=key, steps=100) for key in ("a", "b", "c")]
    results = run_together(refine)
    assert sum(isinstance(result, ModelNotReady) for result in results) == 2
    assert list(ModelVersion.objects.order_by("number").values_list("number", flat=True)) == [1, 2]
    assert balance_of(team_of(user)).held_centi == 5940


def test_without_the_lock_on_the_model_both_are_held_and_paid_for(run_together, user, monkeypatch):
    """The twin: both have looked for an open training before either writes one, and only the numbers still collide."""
    model, together, original = make_draft(user), Barrier(2), rules.refuse_open_training

    def after_looking(model):
        original(model)
        together.wait(timeout=30)

    monkeypatch.setattr(rows, "lock", lambda model: CustomModel.objects.select_related("team").get(pk=model.pk))
    monkeypatch.setattr(rules, "refuse_open_training", after_looking)
    numbers = iter([1, 2])
    monkeypatch.setattr("generation.custom.trainings.next_number", lambda model: next(numbers))
    results = run_together([partial(submit, model)] * 2)
    assert all(isinstance(result, Job) for result in results)
    assert Job.objects.filter(status="queued").count() == 2
    assert balance_of(team_of(user)).held_centi == 22_500


def test_a_plan_of_two_models_trains_two(run_together, user):
    Plan.objects.filter(is_default=True).update(models_max=2)
    models = [make_draft(user) for _ in range(5)]
    results = run_together([partial(submit, model) for model in models])
    assert sum(isinstance(result, TooManyModels) for result in results) == 3
    assert CustomModel.objects.filter(submitted_at__isnull=False).count() == Job.objects.count() == 2
    assert balance_of(team_of(user)).held_centi == 22_500


def test_counted_before_the_wallet_is_locked_a_plan_of_two_trains_more(run_together, user, monkeypatch):
    """The twin: everybody has counted before anybody reserves."""
    Plan.objects.filter(is_default=True).update(models_max=2)
    models, together = [make_draft(user) for _ in range(4)], Barrier(4)
    original, count = rules.refuse_incomplete, rules.refuse_models

    def count_early(model, limits):
        original(model, limits)
        count(model.team, limits)
        together.wait(timeout=30)

    monkeypatch.setattr(rules, "refuse_incomplete", count_early)
    monkeypatch.setattr(rules, "refuse_models", lambda team, limits: None)
    results = run_together([partial(submit, model) for model in models])
    assert all(isinstance(result, Job) for result in results)
    assert CustomModel.objects.filter(submitted_at__isnull=False).count() == 4


def test_one_trigger_word_for_two_models_at_once_is_a_clear_refusal_for_one(run_together, user):
    """No look beforehand could say it in time: the row itself refuses, and the refusal reads like any other."""
    models = [make_draft(user) for _ in range(4)]
    results = run_together([partial(drafts.change, model, actor=user, trigger_word="zuko7") for model in models])
    refused = [result for result in results if isinstance(result, InvalidParams)]
    assert [list(refusal.fields) for refusal in refused] == [["trigger_word"]] * 3
    assert CustomModel.objects.filter(trigger_word="zuko7").count() == 1


@pytest.mark.parametrize("attempt", range(4))
def test_deleting_a_model_while_it_is_submitted_leaves_no_training_of_nothing(run_together, user, attempt):
    model = make_draft(user)
    job, gone = run_together([partial(submit, model), partial(services.delete_model, model, actor=user)])
    assert gone is None or isinstance(gone, Busy)
    if gone is None:
        assert isinstance(job, Job | NoSuchModel)
        assert not Job.objects.filter(status="queued").exists() and balance_of(team_of(user)).held_centi == 0
    else:
        assert queries.open_training(model).job == job
    assert find_drift() == []


def test_drafts_begun_at_once_stop_at_the_most_a_team_may_have(run_together, user, monkeypatch):
    monkeypatch.setattr(drafts, "DRAFTS_MAX", 2)
    begin = partial(drafts.begin, team=team_of(user), user=user)
    assert sum(isinstance(result, TooManyModels) for result in run_together([begin] * 4)) == 2
    CustomModel.objects.all().delete()
    together, original = Barrier(4), CustomModel.objects.create
    monkeypatch.setattr(rows, "lock_team", lambda team_id: None)

    def after_counting(**fields):
        together.wait(timeout=30)
        return original(**fields)

    monkeypatch.setattr(CustomModel.objects, "create", after_counting)
    assert not [result for result in run_together([begin] * 4) if isinstance(result, Exception)]
    assert CustomModel.objects.count() == 4  # the twin: all counted before any wrote
