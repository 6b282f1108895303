"""The samples of the styles: drawn by our own engine, small, and shown where they are there."""

import io

import numpy as np
import pytest
from django.core.management import call_command
from django.test import Client
from PIL import Image as Pillow

from generation.management.commands import render_style_previews as command
from generation.templatetags import generation as tags
from tests.fake_engine import FakeEngine


@pytest.fixture
def project(tmp_path, settings, monkeypatch):
    """An empty project folder, and a device that keeps what it was asked for."""
    engine = FakeEngine()
    settings.BASE_DIR = tmp_path
    monkeypatch.setattr(command, "build", lambda device: engine)
    return tmp_path, engine


def test_every_style_gets_a_sample_of_the_same_words_and_seed(project, capsys):
    folder, engine = project
    call_command("render_style_previews", "--apply", "--steps", "2", "--seed", "5")
    files = sorted(folder.glob("static/styles/*.webp"))
    assert len(files) == 14 == len(engine.batches)
    assert all(Pillow.open(file).size == (256, 256) and file.stat().st_size <= 12_000 for file in files)
    requests = [batch.requests[0] for batch in engine.batches]
    assert {request.seed for request in requests} == {5} and len({request.prompt for request in requests}) == 14
    assert all(command.PROMPT in request.prompt for request in requests)
    assert "watercolour.webp" in capsys.readouterr().out


def test_it_only_lists_unless_told_to_write(project, capsys):
    folder, engine = project
    call_command("render_style_previews")
    assert not list(folder.rglob("*.webp")) and engine.batches == []
    assert "anime.webp" in capsys.readouterr().out


def test_a_busy_picture_is_made_small_enough():
    noise = np.random.default_rng(1).integers(0, 255, (512, 512, 3)).astype(np.uint8)
    content = command.shrink(noise // 3 + 60)
    assert len(content) <= command.BYTES_MAX * 2  # the worst case: nothing but noise, at the lowest quality
    assert Pillow.open(io.BytesIO(content)).size == (256, 256)


@pytest.mark.django_db
@pytest.mark.usefixtures("catalogue")
@pytest.mark.parametrize("is_there", [True, False])
def test_the_front_page_shows_samples_only_when_they_are_there(monkeypatch, is_there):
    monkeypatch.setattr(tags, "_has_preview", lambda slug: is_there)
    page = Client().get("/").content.decode()
    assert ("One sentence, 14 styles" in page) is is_there
    assert ("/static/styles/anime.webp" in page) is is_there
    assert ("swatch--anime" in page) is not is_there
