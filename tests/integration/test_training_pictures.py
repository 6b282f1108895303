"""The pictures of a model from upload to removal: limits, likeness, captions, and what a refusal leaves behind."""

from types import SimpleNamespace

import pytest
from django.db.models import Sum
from django.db.models.functions import Now

from accounts.models import Activity
from credits.models import Plan
from generation import rates, storage
from generation.custom import drafts, pictures, services
from generation.errors import InvalidParams, ModelNotReady, NoSuchModel, PromptRefused, TooFast, TooManyModels
from generation.models import CustomModel, TrainingImage
from generation.uploads import likeness
from tests.custom import add_pictures, make_draft, make_reference
from tests.factories import allow, make_user, team_of
from tests.hostile_files import encoded, scene

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("catalogue")]


@pytest.fixture
def user():
    return make_user()


@pytest.fixture
def model(user):
    return make_draft(user, pictures=0)


def stored(model):
    return sorted(storage.walk(f"models/{model.team_id}/{model.pk}"))


def some(number, first=0):
    return [(f"{n}.png", encoded(scene(first + n), "PNG")) for n in range(number)]


def limit_plan(user, **limits):
    Plan.objects.filter(subscriptions__team=team_of(user)).update(**limits)


def test_the_same_picture_is_taken_once_and_one_like_it_is_flagged(model, user):
    first = scene(1, (400, 300))
    packed = encoded(first.resize((320, 240)), "JPEG", quality=40)
    files = [
        ("a.png", encoded(first, "PNG")),
        ("again.png", encoded(first, "PNG", compress_level=9)),
        ("small.jpg", packed),
        ("other.png", encoded(scene(2, (400, 300)), "PNG")),
    ]
    result = pictures.add_files(model, user=user, files=files)
    assert [(refused.name, refused.reason) for refused in result.refused] == [("again.png", pictures.ALREADY_THERE)]
    assert [picture.like for picture in result.added] == [None, result.added[0], None]
    assert [picture.position for picture in model.pictures.order_by("position")] == [0, 1, 2]
    assert likeness.distance(*(picture.likeness for picture in (result.added[0], result.added[2]))) > 15
    again = pictures.add_files(model, user=user, files=files)
    assert again.added == [] and {refused.reason for refused in again.refused} == {pictures.ALREADY_THERE}
    assert len(stored(model)) == 6


def test_a_plan_bounds_pictures_and_bytes(model, user):
    allow(user, 1)
    limit_plan(user, training_images_max=5)
    add_pictures(model, 3)
    result = pictures.add_files(model, user=user, files=some(4))
    full = "The Test plan allows 5 pictures a model. Take one away first."
    assert [refused.reason for refused in result.refused] == [full] * 2 and len(result.added) == 2
    with pytest.raises(TooManyModels, match="5 pictures"):
        pictures.add_files(model, user=user, files=some(1))
    other = make_draft(user, pictures=0)
    size = TrainingImage.objects.aggregate(size=Sum("size_bytes"))["size"]
    limit_plan(user, model_storage_bytes=size + 100)
    result = pictures.add_files(other, user=user, files=some(2, 10))
    assert result.added == [] and len({refused.reason for refused in result.refused}) == 1 and stored(other) == []
    assert result.end.code == "model_limit"
    limit_plan(user, model_storage_bytes=size)
    with pytest.raises(TooManyModels, match="Delete some"):
        pictures.add_files(other, user=user, files=some(1))
    assert TrainingImage.objects.count() == 5 and len(stored(model)) == 4


def test_a_team_sends_so_many_pictures_a_day_whatever_becomes_of_them(model, user, monkeypatch, settings):
    settings.RATE_LIMITS = True
    monkeypatch.setattr(rates, "UPLOADS_A_DAY_MAX", 3)
    monkeypatch.setattr(rates, "time", SimpleNamespace(time=lambda: 86_400 * 20_000 + 80_000))
    sent = [*some(1), ("bad.png", b"no picture"), *some(3, 1)]
    result = pictures.add_files(model, user=user, files=sent)
    assert len(result.added) == 2 and model.pictures.count() == 2 and len(stored(model)) == 4
    assert [refused.reason for refused in result.refused[1:]] == [
        "Your team has sent 3 pictures today. Go on after midnight UTC."
    ] * 2
    assert (result.end.code, result.end.retry_after_seconds) == ("too_fast", 6_400)
    with pytest.raises(TooFast, match="after midnight"):  # and nothing is fetched any more
        pictures.add_urls(model, user=user, urls=["https://example.com/a.png"])
    other = make_user()
    assert len(pictures.add_files(make_draft(other, pictures=0), user=other, files=some(1)).added) == 1
    monkeypatch.setattr(rates, "time", SimpleNamespace(time=lambda: 86_400 * 20_001))
    assert len(pictures.add_files(model, user=user, files=some(1, 5)).added) == 1


def test_more_than_a_request_may_hold_is_refused_whole(model, user):
    with pytest.raises(InvalidParams, match="at most 40"):
        pictures.add_files(model, user=user, files=some(1) * 41)
    with pytest.raises(InvalidParams, match="at most 20"):
        pictures.add_urls(model, user=user, urls=["https://example.com/a.png"] * 21)
    assert stored(model) == []


def test_pictures_of_a_model_that_trains_stay_as_they_are(bell):
    user = make_user(credits=500)
    model = make_draft(user, pictures=3)
    picture = model.pictures.first()
    services.submit_training(model, user=user, request_key="k")
    before = list(TrainingImage.objects.order_by("id").values())
    for change in (
        lambda: pictures.add_files(model, user=user, files=some(1)),
        lambda: pictures.remove(picture, actor=user),
        lambda: pictures.set_caption(picture, "a cat", actor=user),
        lambda: pictures.suggest_captions(model, actor=user),
    ):
        with pytest.raises(ModelNotReady):
            change()
    assert list(TrainingImage.objects.order_by("id").values()) == before and stored(model) == []


def test_a_model_that_is_deleted_while_its_pictures_are_read_keeps_none(model, user, monkeypatch):
    keep = pictures._keep

    def deleted_meanwhile(picture, limits):
        CustomModel.objects.filter(pk=model.pk).update(deleted_at=Now())
        keep(picture, limits)

    with monkeypatch.context() as patch:
        patch.setattr(pictures, "_keep", deleted_meanwhile)
        result = pictures.add_files(model, user=user, files=some(2))
    assert result.added == [] and {refused.reason for refused in result.refused} == {"This model was deleted."}
    with pytest.raises(NoSuchModel):
        pictures.add_files(model, user=user, files=some(1))
    assert stored(model) == [] and not TrainingImage.objects.exists()


def test_a_store_that_is_down_refuses_and_leaves_no_row(model, user, monkeypatch, settings):
    settings.STORE_RETRY_SECONDS = 0

    def fail(self, name, content):
        raise OSError("no space left on device")

    monkeypatch.setattr(storage.SignedFileSystemStorage, "save", fail)
    result = pictures.add_files(model, user=user, files=some(2))
    assert [refused.reason for refused in result.refused] == [pictures.NOT_STORED] * 2 and result.end.code == "busy"
    assert not TrainingImage.objects.exists() and stored(model) == []


def test_a_picture_is_removed_with_its_files(model, user, django_capture_on_commit_callbacks):
    first, second = pictures.add_files(model, user=user, files=some(2)).added
    for _ in range(2):
        with django_capture_on_commit_callbacks(execute=True):
            pictures.remove(first, actor=user)
    assert stored(model) == sorted([second.key, second.thumbnail_key]) and model.pictures.get() == second
    assert Activity.objects.filter(verb="model.picture_removed").count() == 1


def test_captions_are_tidied_bounded_and_checked(model, user):
    (picture,) = pictures.add_files(model, user=user, files=some(1)).added
    assert pictures.set_caption(picture, " zuko7\n on\u200b the  beach ", actor=user).caption == "zuko7 on the beach"
    with pytest.raises(InvalidParams, match="at most 300"):
        pictures.set_caption(picture, "x" * 301, actor=user)
    with pytest.raises(PromptRefused):
        pictures.set_caption(picture, "a naked child", actor=user)
    picture.refresh_from_db()
    assert picture.caption == "zuko7 on the beach"


def test_suggested_captions_name_the_trigger_word_and_leave_written_ones(user):
    model = make_draft(user, pictures=0, trigger_word="zuko9", reference=make_reference(name="Street Look"))
    first = pictures.add_files(model, user=user, files=some(2)).added[0]
    pictures.set_caption(first, "my own words", actor=user)
    assert [pictures.suggest_captions(model, actor=user) for _ in range(2)] == [1, 0]
    captions = list(model.pictures.order_by("position").values_list("caption", flat=True))
    assert captions == ["my own words", "a picture of zuko9, street look, fashion"]
    drafts.change(model, actor=user, trigger_word="aki4", description="another")
    captions = list(model.pictures.order_by("position").values_list("caption", flat=True))
    assert captions == ["my own words", "a picture of aki4, street look, fashion"]


def test_every_call_leaves_one_line_in_the_log_without_names_of_files(model, user):
    pictures.add_files(model, user=user, files=[*some(2), ("secret-name.png", b"")])
    line = Activity.objects.get(verb="model.pictures_added")
    assert line.details == {"model": str(model.pk), "source": "files", "pictures": 2, "refused": 1}
    assert (line.target, line.actor_user) == ("My dog Zuko", user)
