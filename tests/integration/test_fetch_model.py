"""`fetch_model` from a terminal, against a hub over real HTTP. No weights of worth, no database."""

import json
import subprocess
import sys

import pytest
from django.core.management import CommandError, call_command

from generation.engine import hub as hub_module
from generation.engine import lockfile
from generation.engine.catalog import CATALOG, ModelSpec
from tests.fake_hub import FakeHub, cut, read_folder, sends, status

NAME = "toy"
REPOSITORY = "toys/toy"
WEIGHTS = "unet/model.safetensors"


def safetensors(filler: bytes) -> bytes:
    return (64).to_bytes(8, "little") + b"{".ljust(64) + filler * 3_000_000


FILES = {
    "model_index.json": json.dumps({"_class_name": "StableDiffusionPipeline"}).encode(),
    "unet/config.json": b"{}",
    WEIGHTS: safetensors(b"a"),
    "unet/model.bin": b"pickle",
}
WANTED = {path: FILES[path] for path in ("model_index.json", "unet/config.json", WEIGHTS)}


@pytest.fixture
def hub(tmp_path, monkeypatch):
    like = {field: getattr(CATALOG["sd15"], field) for field in ModelSpec.__slots__}
    spec = ModelSpec(**like | {"name": NAME, "repository": REPOSITORY, "files": ("*.json", "unet/*.json", WEIGHTS)})
    monkeypatch.setitem(CATALOG, NAME, spec)
    monkeypatch.setattr(hub_module, "BACKOFF_SECONDS", 0.0)
    monkeypatch.setenv("TENKAIGEN_MODELS_DIR", str(tmp_path / "models"))
    monkeypatch.setenv("TENKAIGEN_MODELS_LOCK", str(tmp_path / "models.lock"))
    with FakeHub() as made:
        monkeypatch.setenv("HF_ENDPOINT", made.url + "/")
        monkeypatch.setenv("HF_TOKEN", "hf_secret")
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")  # stays on: the command does not go through the hub's own library
        made.commit(REPOSITORY, FILES)
        yield made


@pytest.fixture
def lock(tmp_path):
    return tmp_path / "models.lock"


def fetch(*arguments: str) -> None:
    call_command("fetch_model", NAME, *arguments)


def refused(match: str, *arguments: str) -> None:
    with pytest.raises(CommandError, match=match):
        fetch(*arguments)


def test_a_model_is_fetched_with_progress_and_facts(hub, tmp_path, lock, capsys):
    fetch()
    said = capsys.readouterr()
    total, revision = sum(map(len, WANTED.values())), hub.newest[REPOSITORY]
    assert said.out == f"model {NAME}\nrevision {revision}\nfiles 3\nbytes {total}\nlocked {lock}\n"
    assert said.err.splitlines()[-1] == f"100 %  2.9 MiB of 2.9 MiB  {WEIGHTS}"
    assert "secret" not in said.out + said.err
    assert read_folder(tmp_path / "models" / NAME) == WANTED
    assert set(lockfile.read(lock)) == {NAME}
    fetch()
    assert capsys.readouterr().out.endswith("unchanged\n")


def test_the_rest_of_the_lock_stays(hub, lock):
    lockfile.write(lock, {"starter": lockfile.LockedModel("a" * 40, {})})
    fetch()
    assert set(lockfile.read(lock)) == {"starter", NAME}


def test_another_folder_can_be_named(hub, tmp_path):
    fetch("--dir", str(tmp_path / "elsewhere"))
    assert read_folder(tmp_path / "elsewhere" / NAME) == WANTED
    assert not (tmp_path / "models").exists()


def test_a_break_is_followed_by_the_rest(hub, tmp_path, lock):
    hub.store_faults[WEIGHTS] = [cut(1_000_000), status(404)]
    refused("404")
    assert not lock.exists()
    hub.store_faults[WEIGHTS] = [status(503)]
    fetch()
    assert read_folder(tmp_path / "models" / NAME) == WANTED
    assert sum(seen.sent for seen in hub.fetched(WEIGHTS)) == len(FILES[WEIGHTS])


def test_other_contents_are_refused(hub, tmp_path, lock):
    hub.store_faults[WEIGHTS] = [sends(safetensors(b"b"))]
    refused("another hash")
    assert not lock.exists() and not (tmp_path / "models" / NAME).exists()


def test_only_the_catalogue_is_fetched(hub, tmp_path):
    for name in (REPOSITORY, "../toy"):
        with pytest.raises(CommandError, match="No model called"):
            call_command("fetch_model", name)
    with pytest.raises(CommandError, match="shipped"):
        call_command("fetch_model", "starter")
    assert hub.seen == []


def test_an_update_is_shown_first_and_taken_with_yes(hub, tmp_path, lock, capsys):
    fetch()
    before, old = lock.read_bytes(), hub.newest[REPOSITORY]
    files = {"model_index.json": FILES["model_index.json"], "more.json": b"[]", WEIGHTS: safetensors(b"b")}
    new = hub.commit(REPOSITORY, files | {"unet/config.json": b"{}"})
    hub.seen.clear()
    capsys.readouterr()
    fetch("--update")
    assert capsys.readouterr().out.splitlines() == [
        f"revision {old} -> {new}",
        "added more.json 2",
        f"changed {WEIGHTS} 3000072",
        f"bytes 3000074 new of {sum(map(len, files.values())) + 2}",
        "nothing changed: run it again with --yes to take this",
    ]
    assert lock.read_bytes() == before and read_folder(tmp_path / "models" / NAME) == WANTED
    assert hub.fetched(WEIGHTS) == []
    fetch("--update", "--yes")
    assert read_folder(tmp_path / "models" / NAME) == files | {"unet/config.json": b"{}"}
    assert lockfile.read(lock)[NAME].revision == new


def test_without_update_a_newer_revision_is_not_taken_and_a_rewritten_one_refused(hub, tmp_path, lock, capsys):
    fetch()
    before = lock.read_bytes()
    old = hub.newest[REPOSITORY]
    hub.commit(REPOSITORY, FILES | {WEIGHTS: safetensors(b"b")})
    fetch()
    hub.commits[REPOSITORY, old] = FILES | {WEIGHTS: safetensors(b"c")}
    refused("is not what models.lock says")
    assert lock.read_bytes() == before and read_folder(tmp_path / "models" / NAME) == WANTED


def test_a_disk_that_cannot_be_written_is_said(hub, tmp_path):
    (tmp_path / "models").write_text("a file")
    refused("models")


def test_a_lock_that_cannot_be_written_is_said_before_the_weights_are_fetched(hub, tmp_path, monkeypatch):
    monkeypatch.setenv("TENKAIGEN_MODELS_LOCK", str(tmp_path / "nowhere" / "models.lock"))
    refused("nowhere/models.lock cannot be written: .* TENKAIGEN_MODELS_LOCK")
    assert hub.fetched(WEIGHTS) == [] and not (tmp_path / "models" / NAME).exists()


def test_yes_without_update_is_a_slip(hub):
    refused("say --update, too", "--yes")
    assert hub.seen == []


def test_it_runs_where_no_torch_is():
    code = (
        "import django, sys; django.setup(); import generation.management.commands.fetch_model\n"
        "print([name for name in ('torch', 'diffusers', 'huggingface_hub', 'numpy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr
