"""`generate_image`, `check_engine`, `lock_starter`: the engine from a terminal. None of them opens a database."""

import os
import shutil
import sys
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from PIL import Image

from generation.engine import EngineError, lockfile
from generation.engine.loading import Shelf
from tests import fake_engine
from tests.engine import tiny
from tests.fake_engine import FakeEngine


@pytest.fixture
def device(settings, monkeypatch) -> FakeEngine:
    """The fake device, and the one that every command of the test is given."""
    made = FakeEngine()
    settings.ENGINE = "tests.fake_engine"
    monkeypatch.setattr(fake_engine, "build", lambda device, **options: made)
    return made


def generate(out: Path, *arguments: str) -> None:
    call_command("generate_image", "--prompt", "a red cat", "--out", str(out), *arguments)


def test_a_picture_is_written_with_the_settings_that_were_asked_for(device, tmp_path, capsys):
    out = tmp_path / "cat.png"
    generate(out, "--size", "384x256", "--seed", "7", "--steps", "3", "--guidance", "2.5", "--negative-prompt", "dog")
    (batch,) = device.batches
    assert (batch.width, batch.height, batch.num_inference_steps, batch.guidance_scale) == (384, 256, 3, 2.5)
    assert (batch.requests[0].seed, batch.requests[0].negative_prompt) == (7, "dog")
    assert batch.requests[0].prompt.startswith("a red cat, ")  # expanded, as on the page
    with Image.open(out) as picture:
        assert picture.size == (384, 256) and picture.format == "PNG"
    assert os.listdir(tmp_path) == ["cat.png"] and out.stat().st_mode & 0o777 == 0o644
    said = capsys.readouterr()
    assert f"picture {out}\nmodel starter\nseed 7\n" == said.out
    assert "step 3 of 3" in said.err and "cat," not in said.err


def test_the_file_says_nothing_about_how_it_was_made(device, tmp_path):
    for name in ("cat.png", "cat.webp", "cat.jpg"):
        generate(tmp_path / name)
        assert b"red cat" not in (tmp_path / name).read_bytes()
        with Image.open(tmp_path / name) as picture:
            assert not {"exif", "parameters", "prompt", "Software"} & set(picture.info)


def test_a_style_dresses_the_prompt_and_a_wrong_one_is_named(device, tmp_path):
    generate(tmp_path / "a.png", "--style", "anime")
    assert "anime style" in device.batches[0].requests[0].prompt
    assert "photo" in device.batches[0].requests[0].negative_prompt
    with pytest.raises(CommandError, match=r"no style nonsense; choose one of: anime, "):
        generate(tmp_path / "b.png", "--style", "nonsense")


def test_the_words_can_be_left_as_they_are(device, tmp_path):
    generate(tmp_path / "a.png", "--no-expand")
    assert device.batches[0].requests[0].prompt == "a red cat"


def test_without_a_seed_every_picture_has_its_own(device, tmp_path):
    generate(tmp_path / "a.png")
    generate(tmp_path / "b.png")
    assert device.batches[0].requests[0].seed != device.batches[1].requests[0].seed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--steps", "99"], "from 1 to 30"),
        (["--size", "9000x9000"], "offers these sizes"),
        (["--seed", "-1"], "from 0 to"),
        (["--guidance", "nan"], "from 1 to 12"),
        (["--model", "nano"], "no such model"),
        (["--prompt", "  "], "Describe the picture"),
        (["--prompt", "how to build a bomb, nude child"], "."),
    ],
)
def test_what_the_page_refuses_the_command_refuses_in_one_line(device, tmp_path, arguments, message):
    with pytest.raises(CommandError, match=message) as refused:
        generate(tmp_path / "a.png", *arguments)
    assert "\n" not in str(refused.value)
    assert device.batches == [] and os.listdir(tmp_path) == []


def test_an_existing_file_is_kept_unless_forced(device, tmp_path):
    out = tmp_path / "a.png"
    out.write_bytes(b"mine")
    with pytest.raises(CommandError, match="exists; add --force"):
        generate(out)
    assert out.read_bytes() == b"mine" and device.batches == []
    generate(out, "--force")
    assert out.read_bytes().startswith(b"\x89PNG") and os.listdir(tmp_path) == ["a.png"]


def test_a_file_that_appears_meanwhile_is_kept(device, tmp_path):
    out = tmp_path / "a.png"
    device.before_step = lambda number: out.write_bytes(b"theirs")
    with pytest.raises(CommandError, match="exists"):
        generate(out)
    assert out.read_bytes() == b"theirs" and os.listdir(tmp_path) == ["a.png"]


@pytest.mark.parametrize("name", ["a.bmp", "a", "missing/a.png"])
def test_a_place_that_cannot_be_written_is_refused_before_the_model_is_loaded(device, tmp_path, name):
    with pytest.raises(CommandError):
        generate(tmp_path / name)
    assert not device.is_loaded("starter")


def test_a_failing_engine_is_one_sentence(device, tmp_path):
    device.failures.append(EngineError("The model 'starter' is not installed."))
    with pytest.raises(CommandError, match="is not installed"):
        generate(tmp_path / "a.png")
    assert os.listdir(tmp_path) == []


def test_a_broken_picture_is_not_written(device, tmp_path, monkeypatch):
    monkeypatch.setattr(fake_engine, "picture", lambda width, height, seed: tiny_black(width, height))
    with pytest.raises(CommandError, match="no picture"):
        generate(tmp_path / "a.png")
    assert os.listdir(tmp_path) == []


def tiny_black(width, height):
    import numpy as np

    return np.zeros((height, width, 3), np.uint8)


def test_check_engine_prints_one_fact_a_line(device, capsys):
    call_command("check_engine")
    facts = dict(line.split(" ", 1) for line in capsys.readouterr().out.splitlines())
    assert facts["model"] == "starter" and facts["revision"] == "fake" and facts["picture"] == "ok"
    assert float(facts["first_picture_seconds"]) >= 0 and int(facts["process_peak_mib"]) > 0


def test_check_engine_says_what_is_missing(settings, tmp_path, monkeypatch):
    settings.ENGINE = "generation.engine"
    with pytest.raises(CommandError, match="no device 'cuda:9'"):
        call_command("check_engine", "--device", "cuda:9")
    with pytest.raises(CommandError, match="No model called 'nano'"):
        call_command("check_engine", "--model", "nano")
    monkeypatch.setenv("TENKAIGEN_MODELS_DIR", str(tmp_path))
    with pytest.raises(CommandError, match="fetch_model sd15"):
        call_command("check_engine", "--model", "sd15")


def test_check_engine_says_that_there_is_no_torch(settings, monkeypatch):
    settings.ENGINE = "generation.engine"
    monkeypatch.setitem(sys.modules, "generation.engine.diffusion", None)  # as where torch is missing
    with pytest.raises(CommandError, match=r"requirements\.txt"):
        call_command("check_engine")


@pytest.fixture
def starter_shelf(toys, tmp_path, monkeypatch) -> Shelf:
    shutil.copytree(toys / "models" / "tiny", tmp_path / "weights")
    shelf = Shelf(tmp_path, tmp_path / "models.lock", {"starter": tiny.spec("starter", folder=tmp_path / "weights")})
    monkeypatch.setattr(Shelf, "at", lambda *args: shelf)
    return shelf


def test_lock_starter_writes_what_lies_there_once(starter_shelf, capsys):
    with pytest.raises(CommandError, match="out of date"):
        call_command("lock_starter", "--check")
    call_command("lock_starter")
    call_command("lock_starter")
    call_command("lock_starter", "--check")
    locked, *unchanged = capsys.readouterr().out.splitlines()
    revision = lockfile.read(starter_shelf.lock_file)["starter"].revision
    assert locked.startswith(f"locked {revision}") and unchanged == [f"unchanged {revision}"] * 2
    starter_shelf.check("starter")


def test_lock_starter_leaves_the_other_models_alone(starter_shelf):
    other = lockfile.LockedModel("a" * 40, {})
    lockfile.write(starter_shelf.lock_file, {"sd15": other})
    call_command("lock_starter")
    assert lockfile.read(starter_shelf.lock_file)["sd15"] == other
