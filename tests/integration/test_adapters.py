"""Pictures with a model of one's own: its file is fetched once, checked, drawn with, and nobody waits for ever."""

import os
from pathlib import Path

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from credits.audit import find_drift
from credits.queries import balance_of
from generation import mates, storage, transitions
from generation.adapters import AdapterBroken, Adapters
from generation.models import Job, ModelVersion
from generation.versions import Adapter
from tests.drawing import run
from tests.factories import allow, make_job, make_training_job, make_user, team_of


@pytest.fixture(autouse=True)
def committed(transactional_db, catalogue, bell, settings, tmp_path):
    """The worker's threads have connections of their own."""
    settings.STORE_RETRY_SECONDS = settings.RETRY_BASE_SECONDS = 0
    settings.ADAPTER_DIR = tmp_path / "adapters"


@pytest.fixture
def user():
    made = make_user(credits=1000)
    allow(made, 20)
    return made


def trained(user, content: bytes = b"weights") -> ModelVersion:
    """A finished version whose file holds `content`."""
    import hashlib

    job = make_training_job(user, pictures=1)
    (job,) = transitions.claim(worker="t", models=["starter"], images_max=lambda job: 1, kinds=[Job.Kind.CREATION])
    version = ModelVersion.objects.select_related("model").get(job=job)
    adapter = Adapter(
        storage.version_key(version, job.fence, "adapter.safetensors"), hashlib.sha256(content).hexdigest(),
        len(content), "fake",
    )  # fmt: skip
    storage.put(adapter.key, content)
    assert transitions.finish_training(job, adapter, [[1, 0.5]])
    version.refresh_from_db()
    return version


def drawn_with(user, version: ModelVersion, **fields) -> Job:
    """A queued picture with a version, as `submit_job` makes it."""
    job = make_job(user, **fields)
    job.model_version, job.metadata = version, job.metadata | {"adapters": str(version.pk)}
    job.batch_key = mates.batch_key(job)
    job.save()
    return job


def test_a_run_has_the_adapter_of_its_jobs_and_of_no_other(worker, engine, user, settings):
    first, second = trained(user, b"one"), trained(user, b"two")
    jobs = [drawn_with(user, first), make_job(user), drawn_with(user, second), drawn_with(user, first)]
    run(worker)
    runs = {
        tuple(Path(lora.path).read_bytes() for lora in batch.adapters): len(batch.requests) for batch in engine.batches
    }
    assert runs == {(b"one",): 2, (): 1, (b"two",): 1}
    assert {Job.objects.get(pk=job.pk).status for job in jobs} == {"completed"}


def test_a_file_is_fetched_once_and_asked_for_once_a_batch(user, monkeypatch):
    version, adapters, reads, real = trained(user), Adapters(), [], storage.read
    job = drawn_with(user, version, count=4)
    monkeypatch.setattr(storage, "read", lambda key: reads.append(key) or real(key))
    for _ in range(3):
        with CaptureQueriesContext(connection) as queries:
            (lora,) = adapters.of(job)
        assert len(queries) == 1 and Path(lora.path).read_bytes() == b"weights"
    assert reads == [version.adapter_key] and Adapters().of(job) == (lora,) and len(reads) == 1  # of another process
    assert adapters.of(make_job(user)) == ()
    written_at = os.stat(lora.path).st_mtime_ns
    adapters.of(job)
    assert os.stat(lora.path).st_mtime_ns == written_at  # the engine knows the file by it


def test_a_copy_that_rots_is_fetched_again_and_a_store_that_rots_is_refused(user, caplog):
    version = trained(user)
    path = Adapters().path_of(version)
    path.write_bytes(b"rotten")
    assert Adapters().path_of(version).read_bytes() == b"weights" and "adapter_copy_broken" in caplog.text
    path.unlink()
    storage.put(version.adapter_key, b"rotten")
    with pytest.raises(AdapterBroken):
        Adapters().path_of(version)
    assert "adapter_broken" in caplog.text and not path.exists()


def test_the_ones_used_longest_ago_go_first_but_none_that_was_just_given(user, settings):
    settings.ADAPTER_CACHE_BYTES = 10
    versions = [trained(user, bytes([65 + number]) * 4) for number in range(3)]
    patient, hasty = Adapters(), Adapters(keep_seconds=-1)
    paths = [patient.path_of(version) for version in versions]
    assert all(path.exists() for path in paths)  # twelve bytes: somebody may still be loading them
    for path, used_at in zip(paths, (300, 100, 200), strict=True):
        os.utime(path, (used_at, path.stat().st_mtime))
    hasty.path_of(trained(user, b"DDDD"))
    assert [path.exists() for path in paths] == [True, False, False]


@pytest.mark.parametrize(
    ("change", "code"), [("deleted", "version_gone"), ("missing", "version_gone"), ("changed", "version_broken")]
)
def test_a_version_that_cannot_be_drawn_with_fails_the_picture_and_costs_nothing(worker, engine, user, change, code):
    version = trained(user)
    job = drawn_with(user, version)
    available = balance_of(team_of(user)).available_centi
    if change == "deleted":
        no_file = {"adapter_key": "", "adapter_sha256": "", "adapter_bytes": 0}
        ModelVersion.objects.filter(pk=version.pk).update(deleted_at=version.finished_at, **no_file)
    else:
        storage.delete([version.adapter_key])
    if change == "changed":
        storage.put(version.adapter_key, b"another")
    run(worker)
    job.refresh_from_db()
    assert (job.status, job.failure_code, job.images.count()) == ("failed", code, 0) and engine.batches == []
    assert find_drift() == [] and balance_of(team_of(user)).available_centi == available + 600


def test_a_version_that_is_no_longer_the_current_one_is_still_drawn_with(worker, engine, user):
    version = trained(user)
    job = drawn_with(user, version)
    version.model.current = None
    version.model.save()
    run(worker)
    job.refresh_from_db()
    assert job.status == "completed" and len(engine.batches[0].adapters) == 1


def test_four_adapters_of_one_team_take_turns_and_a_flood_of_one_starves_none(user):
    versions = [trained(user, bytes([65 + number])) for number in range(4)]
    flood = [drawn_with(user, versions[0]) for _ in range(6)]
    others = [drawn_with(user, version) for version in versions[1:]]
    order = []
    for _ in range(5):
        drawn_with(user, versions[0])  # it never ends
        batch = transitions.claim(worker="w", models=["starter"], images_max=lambda job: 4)
        assert len({job.metadata["adapters"] for job in batch}) == 1
        order.append(len(batch))
        if batch[0] in others:
            others.remove(batch[0])
    # One batch of the flood goes first, its second is what is left of the six that came before the others.
    assert others == [] and order[:2] == [4, 4] and flood


def test_who_has_no_adapters_gets_no_picture_that_needs_one(user):
    own, plain = drawn_with(user, trained(user)), make_job(user)
    claim = {"worker": "remote", "models": ["starter"], "images_max": lambda job: 1}
    assert transitions.claim(**claim, has_adapters=False) == [plain]
    assert transitions.claim(**claim, has_adapters=False) == []
    assert transitions.claim(**claim) == [own]
