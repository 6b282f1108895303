"""`train_model`: from a folder of pictures to a version, from the shell."""

import numpy as np
import pytest
from django.core.management import CommandError, call_command
from PIL import Image as Pillow

from credits.queries import balance_of
from generation.engine import LossDiverged
from generation.management.commands import train_model
from generation.models import CustomModel, Job
from generation.worker import Worker
from tests.custom import make_reference
from tests.factories import make_user, team_of


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(3)
    for number in range(4):
        pixels = np.kron(rng.integers(0, 255, (6, 6, 3)), np.ones((30, 30, 1))).astype(np.uint8)
        Pillow.fromarray(pixels).save(tmp_path / f"{number}.png")
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8 nothing")
    (tmp_path / "notes.txt").write_text("no picture")
    return tmp_path


@pytest.fixture
def command(transactional_db, catalogue, bell, engine, monkeypatch, folder):
    """The command, with a trainer that works while it waits."""
    user, reference = make_user(credits=500), make_reference()
    trainer = Worker(engine, models=["starter"], kinds=["creation"])
    trainer.start()
    monkeypatch.setattr(train_model, "sleep", lambda seconds: trainer.drain())

    def run(*more: str, trigger: str = "zuko7") -> None:
        call_command(
            "train_model", "--team", user.email, "--reference", reference.slug, "--name", "Zuko", "--trigger", trigger,
            "--images", str(folder), "--steps", "60", *more,
        )  # fmt: skip

    run.user = user
    yield run
    trainer.stop()


def test_a_folder_becomes_a_version_and_the_same_command_again_charges_nothing(command, capsys, engine):
    before = balance_of(team_of(command.user)).available_centi
    command("--consent")
    said = capsys.readouterr().out
    model = CustomModel.objects.get()
    assert f"model {model.pk}\njob {model.current.job_id}\n" in said and said.endswith("trained version 1\n")
    assert "refused broken.jpg: " in said and "notes" not in said and model.pictures.count() == 4
    assert [len(asked.examples) for asked, _ in engine.trainings] == [4]
    after = balance_of(team_of(command.user)).available_centi
    assert before - after == model.current.job.charged_centi > 0
    command("--consent")
    assert Job.objects.count() == 1 and balance_of(team_of(command.user)).available_centi == after


def test_what_cannot_be_trained_is_said_in_words_and_exits_1(command, engine, folder):
    with pytest.raises(CommandError, match="nobody of that address owns one"):
        call_command(
            "train_model", "--team", "nobody@example.com", "--reference", "x", "--name", "x", "--trigger", "zuko7",
            "--images", str(folder),
        )  # fmt: skip
    with pytest.raises(CommandError, match="Confirm"):
        command()
    with pytest.raises(CommandError, match="small letters"):
        command("--consent", trigger="Z!")
    assert not Job.objects.exists() and CustomModel.objects.get().trigger_word == "zuko7"
    engine.failures = [LossDiverged("nan")]
    with pytest.raises(CommandError, match=r"ran away from the pictures.* given back"):
        command("--consent")
    assert Job.objects.get().status == "failed" and balance_of(team_of(command.user)).held_centi == 0
    command("--consent")
    assert sorted(Job.objects.values_list("status", flat=True)) == ["completed", "failed"]
