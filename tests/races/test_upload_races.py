"""Uploads at the same moment: a model's and a team's limits hold, and each picture is taken once."""

from threading import Barrier

import pytest
from django.db.models import Sum

from credits.models import Plan
from generation import storage
from generation.custom import pictures, rows
from generation.models import CustomModel, TrainingImage
from generation.uploads.decoding import Pixels
from tests.custom import make_draft
from tests.factories import allow, make_user, team_of
from tests.hostile_files import scene

UPLOADS = 6


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """The race is for the rows: the content names the scene that the reader would have found."""
    monkeypatch.setattr(pictures.Decoder, "read", lambda self, content: Pixels(160, 160, scene(int(content)).tobytes()))


@pytest.fixture
def user(catalogue):
    user = make_user()
    allow(user, 1)
    return user


def limit_plan(user, **limits):
    Plan.objects.filter(subscriptions__team=team_of(user)).update(**limits)


def uploads(user, models, scenes):
    return [
        lambda model=model, number=number: pictures.add_files(model, user=user, files=[("a.png", b"%d" % number)])
        for model, number in zip(models, scenes, strict=True)
    ]


def files_of(user):
    return len(list(storage.walk(f"models/{team_of(user).pk}")))


def without_locks(monkeypatch):
    """As the services would be with a plain SELECT: all have counted before anybody inserts."""
    barrier = Barrier(UPLOADS)
    refuse = pictures._refuse_full

    def refuse_together(model, limits, more_bytes):
        refuse(model, limits, more_bytes)
        barrier.wait(timeout=30)

    monkeypatch.setattr(rows, "lock_team", lambda team_id: None)
    monkeypatch.setattr(pictures, "_open", lambda model: CustomModel.objects.get(pk=model.pk))
    monkeypatch.setattr(pictures, "_refuse_full", refuse_together)


def test_uploads_together_stop_at_the_models_limit(user, run_together):
    limit_plan(user, training_images_max=2)
    model = make_draft(user, pictures=0)
    run_together(uploads(user, [model] * UPLOADS, range(UPLOADS)))
    assert list(model.pictures.order_by("position").values_list("position", flat=True)) == [0, 1]
    assert files_of(user) == 4


def test_without_the_lock_uploads_together_overrun_the_models_limit(user, run_together, monkeypatch):
    limit_plan(user, training_images_max=2)
    model = make_draft(user, pictures=0)
    without_locks(monkeypatch)
    run_together(uploads(user, [model] * UPLOADS, range(UPLOADS)))
    assert model.pictures.count() == UPLOADS
    assert list(model.pictures.values_list("position", flat=True)) == [0] * UPLOADS


def test_uploads_to_many_models_stop_at_the_teams_bytes(user, run_together):
    models = [make_draft(user, pictures=0) for _ in range(UPLOADS)]
    (first,) = pictures.add_files(models[0], user=user, files=[("a.png", b"50")]).added
    limit_plan(user, model_storage_bytes=first.size_bytes * 3)
    run_together(uploads(user, models, range(UPLOADS)))
    kept = TrainingImage.objects.aggregate(size=Sum("size_bytes"))["size"]
    assert first.size_bytes < kept <= first.size_bytes * 3
    assert files_of(user) == 2 * TrainingImage.objects.count()


def test_without_the_lock_uploads_to_many_models_overrun_the_teams_bytes(user, run_together, monkeypatch):
    models = [make_draft(user, pictures=0) for _ in range(UPLOADS)]
    (first,) = pictures.add_files(models[0], user=user, files=[("a.png", b"50")]).added
    limit_plan(user, model_storage_bytes=first.size_bytes * 3)
    without_locks(monkeypatch)
    run_together(uploads(user, models, range(UPLOADS)))
    assert TrainingImage.objects.aggregate(size=Sum("size_bytes"))["size"] > first.size_bytes * 3


def test_the_same_picture_sent_together_is_taken_once(user, run_together):
    model = make_draft(user, pictures=0)
    results = run_together(uploads(user, [model] * UPLOADS, [7] * UPLOADS))
    assert sorted(len(result.added) for result in results) == [0] * (UPLOADS - 1) + [1]
    assert {refused.reason for result in results for refused in result.refused} == {pictures.ALREADY_THERE}
    assert files_of(user) == 2
