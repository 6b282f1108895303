"""What of models goes by itself, what a purge and an export take, and what the sweep leaves alone."""

import io
import json
import zipfile
from datetime import timedelta

import pytest
from django.utils import timezone

from accounts.signals import team_purged
from generation import account_export, cleanup, retention, storage, transitions
from generation.models import CustomModel, Job, ModelVersion, TrainingImage
from tests.factories import make_training_job, make_user, team_of

pytestmark = [pytest.mark.usefixtures("catalogue", "bell")]


@pytest.fixture(autouse=True)
def swept_at_once(transactional_db, settings):
    settings.ORPHAN_AGE_HOURS = 0


@pytest.fixture
def user():
    return make_user(credits=100)


def trained(user) -> ModelVersion:
    """A version with every kind of file."""
    job = make_training_job(user, pictures=2)
    version = ModelVersion.objects.select_related("model").get(job=job)
    names = {
        name: storage.version_key(version, 1, name) for name in ("adapter.safetensors", "checkpoint-5.safetensors")
    }
    version.adapter_key, version.adapter_sha256, version.adapter_bytes = names["adapter.safetensors"], "0" * 64, 3
    version.checkpoint_key, version.checkpoint_sha256 = names["checkpoint-5.safetensors"], "0" * 64
    version.samples = [
        {"step": 5, "prompt": "zuko", "seed": 1, "key": storage.version_key(version, 1, "sample-5-0.webp")}
    ]
    for key in (*names.values(), version.samples[0]["key"]):
        storage.put(key, b"abc")
    version.save()
    return version


def files_of(user) -> set[str]:
    return set(storage.walk(f"models/{team_of(user).pk}"))


def test_the_sweep_takes_what_nothing_names_and_nothing_else(user):
    version, named = trained(user), files_of(user)
    strays = {
        storage.version_key(version, 2, "checkpoint-9.safetensors"), storage.version_key(version, 1, "sample-9-0.webp"),
        f"models/{version.model.team_id}/{version.model_id}/images/nobody.png", f"models/{version.model.team_id}/stray",
    }  # fmt: skip
    for key in strays:
        storage.put(key, b"abc")
    found = {key for key in cleanup.orphans() if str(version.model.team_id) in key}
    assert found == strays and len(named) == 2 * 2 + 3


def test_checkpoints_go_once_nobody_goes_on_from_them(user):
    version = trained(user)
    assert retention.forget_checkpoints() == 0 and version.checkpoint_key in files_of(user)
    assert transitions.cancel(version.job)
    assert retention.forget_checkpoints() == 1 and version.checkpoint_key not in files_of(user)
    version.refresh_from_db()
    assert (version.checkpoint_key, version.steps_done) == ("", 0) and retention.forget_checkpoints() == 0


def test_drafts_are_forgotten_when_nobody_went_on_with_them(user, settings):
    made = trained(user).model
    old, touched = (CustomModel.objects.create(team=team_of(user), user=user, name=name) for name in ("old", "touched"))
    long_ago = timezone.now() - timedelta(days=settings.DRAFT_DAYS, minutes=1)
    for model in (made, old, touched):
        CustomModel.objects.filter(pk=model.pk).update(updated_at=long_ago)
    picture = made.pictures.last()
    TrainingImage.objects.filter(pk=picture.pk).update(model=touched)
    assert retention.forget_drafts() == 1
    assert set(CustomModel.objects.filter(deleted_at=None)) == {made, touched}
    CustomModel.objects.filter(pk=old.pk).update(updated_at=long_ago)
    assert retention.forget_drafts() == 0 and not CustomModel.objects.filter(pk=old.pk).exists()


def test_a_purged_team_leaves_no_model_and_no_file_but_its_receipts(user):
    version, stranger = trained(user), trained(make_user(credits=100))
    transitions.cancel(version.job)
    refined = make_training_job(user, parent=version)
    Job.objects.filter(pk=refined.pk).update(model_version=version)
    others = files_of(stranger.model.user)
    team_purged.send(sender=None, team=version.model.team)
    assert files_of(user) == set() and files_of(stranger.model.user) == others
    assert list(CustomModel.objects.all()) == [stranger.model] and ModelVersion.objects.count() == 1
    refined.refresh_from_db()
    assert (refined.status, refined.model_version_id, refined.prompt) == ("canceled", None, "")


def test_an_export_has_ones_models_with_their_pictures_and_files(user):
    version = trained(user)
    trained(make_user(credits=100))
    with zipfile.ZipFile(io.BytesIO(b"".join(account_export.zip_of(user)))) as archive:
        (told,) = json.loads(archive.read("models.json"))
        names = {name for name in archive.namelist() if name.startswith("models/")}
        assert archive.read(f"models/{version.model_id}/version-1.safetensors") == b"abc"
    assert (told["name"], told["trigger_word"]) == ("Zuko", version.model.trigger_word)
    assert {one["file"] for one in told["pictures"]} | {f"models/{version.model_id}/version-1.safetensors"} == names
    assert len(names) == 3 and told["versions"][0]["number"] == 1
