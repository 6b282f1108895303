"""Trainings of toys of the real classes: what goes in, what comes out, and what they leave behind."""

import dataclasses
import functools
import json

import numpy as np
import pytest
import torch
from safetensors.torch import load

from generation.engine import (
    Canceled,
    EngineError,
    Lora,
    LossDiverged,
    ModelUnavailable,
    OutOfMemory,
    Sample,
    TooFewPictures,
    lessons,
    training,
)
from generation.engine.catalog import GIB
from generation.engine.diffusion import DiffusionEngine
from tests.engine import tiny, tiny_flow
from tests.engine.learning import WORD, Notes, examples, toy_training
from tests.engine.test_batches import with_adapters
from tests.engine.test_diffusion import CAT, apart, batch, ignore

QWEN, FLUX = tiny_flow.qwen_spec(), tiny_flow.flux_spec()
FAMILIES = {
    "tiny": {"guidance": 3.0},
    "tiny-xl": {"guidance": 1.0},
    FLUX.name: {"guidance": 1.0},
    QWEN.name: {"guidance": 1.0},
}


@pytest.fixture(scope="module")
def own(toys):
    """An engine of this file. Its toys call themselves large, so that they recompute what they do not keep."""
    specs = (tiny.spec(), tiny.sdxl_spec(), FLUX, QWEN)
    return tiny.engine(toys, *(dataclasses.replace(spec, memory_bytes=2 * GIB) for spec in specs))


@pytest.fixture(scope="module")
def taught(own, tmp_path_factory):
    """What two steps leave, by model, trained when it is first asked for: (result, notes, the adapter's file)."""

    @functools.cache
    def teach(model):
        folder, notes = tmp_path_factory.mktemp(model), Notes()
        made = own.train(toy_training(folder, model, checkpoint_every=1), notes)
        return made, notes, adapter(folder, made.adapter)

    return teach


def plain_training(folder, model="tiny", **changes):
    """Without a trigger word, so without the anchors that cost more than the steps: where they change nothing."""
    return toy_training(folder, model, trigger_word="", **changes)


def adapter(folder, content, name="made.safetensors"):
    path = folder / name
    path.write_bytes(content)
    return Lora(str(path))


def draw(engine, model, *adapters):
    plain = batch(CAT, model=model, **FAMILIES[model])
    return engine.generate(dataclasses.replace(plain, adapters=adapters), ignore)[0]


# --- Every family -----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("model", FAMILIES)
def test_two_steps_leave_an_adapter_that_changes_the_picture_and_nothing_else(own, taught, model):
    before = draw(own, model)
    made, _, mine = taught(model)
    assert np.array_equal(draw(own, model), before)
    assert apart(draw(own, model, mine), before) > 1
    assert np.array_equal(draw(own, model), before)
    assert made.base_revision == own.load(model).revision


@pytest.mark.parametrize("model", ["tiny", "tiny-xl"])
def test_text_encoders_learn_where_it_is_asked_for(own, tmp_path, model):
    made = own.train(plain_training(tmp_path, model, train_text_encoder=True), Notes())
    parts = {name.partition(".")[0] for name in load(made.adapter)}
    assert parts == {"unet", "text_encoder"} | ({"text_encoder_2"} if model == "tiny-xl" else set())
    before = draw(own, model)
    assert apart(draw(own, model, adapter(tmp_path, made.adapter)), before) > 1
    assert np.array_equal(draw(own, model), before)


def test_the_text_encoder_of_another_family_is_refused(own, tmp_path):
    notes = Notes()
    with pytest.raises(EngineError, match="text encoder of"):
        own.train(toy_training(tmp_path, QWEN.name, train_text_encoder=True), notes)
    assert notes.steps == []


def test_a_model_that_predicts_velocity_is_asked_for_velocity(own_toys, tmp_path):
    config = own_toys / "models" / "tiny" / "scheduler" / "scheduler_config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"prediction_type": "v_prediction"}))
    engine = tiny.engine(own_toys, tiny.spec())
    before = draw(engine, "tiny")
    made = engine.train(plain_training(tmp_path), Notes())
    assert apart(draw(engine, "tiny", adapter(tmp_path, made.adapter)), before) > 1
    config.write_text(json.dumps(json.loads(config.read_text()) | {"prediction_type": "sample"}))
    tiny.lock(engine._shelf)
    with pytest.raises(EngineError, match="sample"):
        engine.train(plain_training(tmp_path), Notes())


# --- The same again, and going on -------------------------------------------------------------------------------------
@pytest.mark.parametrize(("model", "with_text"), [("tiny", False), ("tiny", True), (QWEN.name, False)])
def test_a_resumed_training_has_the_weights_of_the_whole_one_to_the_last_bit(own, tmp_path, model, with_text):
    wanted = toy_training(tmp_path, model, steps=5, checkpoint_every=2, train_text_encoder=with_text)
    whole, chance = Notes(), torch.get_rng_state()
    expected = own.train(wanted, whole)
    assert torch.equal(torch.get_rng_state(), chance)
    assert list(whole.checkpoints) == [2, 4]
    rest = Notes()
    assert own.train(wanted, rest, resume=whole.checkpoints[2]).adapter == expected.adapter
    assert (rest.steps, rest.losses) == ([3, 4, 5], whole.losses[2:])
    assert rest.checkpoints == {4: whole.checkpoints[4]}


def test_a_checkpoint_of_another_training_is_refused(own, taught, tmp_path):
    _, notes, _ = taught("tiny")
    for other, content in (
        (toy_training(tmp_path, learning_rate=0.01), notes.checkpoints[1]),
        (toy_training(tmp_path, model="tiny-xl"), notes.checkpoints[1]),
        (toy_training(tmp_path), notes.checkpoints[1][:-1]),
        (toy_training(tmp_path), b"nothing"),
    ):
        with pytest.raises(EngineError, match="checkpoint"):
            own.train(other, Notes(), resume=content)


def test_a_refinement_begins_where_its_parent_ended(own, taught, tmp_path):
    parent, _, file = taught("tiny")
    path = file.path
    child = own.train(plain_training(tmp_path, steps=1, learning_rate=1e-9, parent=path), Notes())
    first, second = load(parent.adapter), load(child.adapter)
    assert all(torch.allclose(first[name], second[name], atol=1e-4) for name in first)
    with pytest.raises(ModelUnavailable, match="another rank"):
        own.train(plain_training(tmp_path, rank=2, parent=path), Notes())
    with pytest.raises(ModelUnavailable, match="belongs to the model 'tiny'"):
        own.train(plain_training(tmp_path, model="tiny-xl", parent=path), Notes())


# --- What the watcher sees --------------------------------------------------------------------------------------------
def test_samples_are_drawn_at_their_steps_from_the_same_noise(own, tmp_path):
    samples = (Sample(f"a {WORD}", 1), Sample(f"a {WORD}", 2), Sample(f"a {WORD}", 1))
    notes = Notes()
    wanted = plain_training(tmp_path, steps=3, sample_every=2, samples=samples)
    made = own.train(wanted, notes)
    assert notes.steps == [1, 2, 3]
    assert {step: len(pictures) for step, pictures in notes.samples.items()} == {2: 3, 3: 3}
    one, two, again = notes.samples[3]
    assert np.array_equal(one, again) and apart(one, two) > 1 and apart(one, notes.samples[2][0]) > 1
    silent = own.train(dataclasses.replace(wanted, samples=(), sample_every=0), Notes())
    assert silent.adapter == made.adapter


@pytest.mark.parametrize("stop", [Canceled(), RuntimeError("the watcher broke")])
def test_what_the_watcher_raises_comes_out_and_the_model_draws_as_before(own, tmp_path, stop):
    before = draw(own, QWEN.name)
    notes = Notes(stop_at=1, stop=stop)
    with pytest.raises(type(stop)):
        own.train(plain_training(tmp_path, QWEN.name), notes)
    assert notes.steps == [1]
    assert np.array_equal(draw(own, QWEN.name), before)


# --- Failures ---------------------------------------------------------------------------------------------------------
def test_pictures_that_cannot_be_read_are_left_out_and_too_few_are_refused(own, tmp_path):
    made = examples(tmp_path / "examples", 4)
    (tmp_path / "examples" / "3.png").write_bytes(b"no picture")
    own.train(plain_training(tmp_path, steps=1, examples=made), Notes())
    (tmp_path / "examples" / "2.png").unlink()
    notes = Notes()
    with pytest.raises(TooFewPictures, match="at least 3 pictures that can be read; 2 can"):
        own.train(plain_training(tmp_path, examples=made), notes)
    assert notes.steps == []


def test_a_training_that_does_not_fit_says_so(own, tmp_path, monkeypatch):
    def ask(*arguments):
        raise torch.OutOfMemoryError("no room")

    monkeypatch.setattr(lessons, "ask_anchors", ask)
    before = draw(own, "tiny")
    with pytest.raises(OutOfMemory):
        own.train(toy_training(tmp_path), Notes())
    assert np.array_equal(draw(own, "tiny"), before)


def test_a_loss_that_is_no_number_or_far_above_its_start_ends_the_training(own, tmp_path, monkeypatch):
    notes = Notes()
    with pytest.raises(LossDiverged, match="no number"):
        own.train(plain_training(tmp_path, steps=20, learning_rate=1e30), notes)
    assert len(notes.steps) < 20
    told = iter([1.0] * 10 + [6.0] * 30)
    monkeypatch.setattr(training.Lesson, "step", lambda self, number: next(told))
    notes = Notes()
    with pytest.raises(LossDiverged, match="from 1 to 6 by step 20"):
        own.train(plain_training(tmp_path, steps=40), notes)
    assert notes.steps == list(range(1, 20))


@pytest.mark.parametrize(
    "change",
    [{"rank": 0}, {"rank": 129}, {"steps": 0}, {"batch_size": 17}, {"resolution": 72}, {"learning_rate": float("inf")}],
    ids=str,
)
def test_settings_that_no_model_offers_are_refused(own, tmp_path, change):
    with pytest.raises(ValueError):
        own.train(toy_training(tmp_path, **change), Notes())


def test_models_to_draw_with_make_room_for_a_training_that_would_not_fit_beside_them(own, tmp_path):
    engine = DiffusionEngine("cpu", own._shelf)
    engine.memory_bytes = 100 * GIB
    before = draw(engine, "tiny")
    engine.train(plain_training(tmp_path, steps=1), Notes())
    assert engine.is_loaded("tiny")
    engine.memory_bytes = engine.load("tiny").bytes + GIB
    engine.train(plain_training(tmp_path, steps=1), Notes())
    assert not engine.is_loaded("tiny")
    assert np.array_equal(draw(engine, "tiny"), before)


# --- Captions ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("caption", "bare"),
    [
        ("zuko, a dog", "a dog"),
        ("a Zuko dog", "a dog"),
        ("a dog, zuko, at night", "a dog, , at night"),
        ("zukos zuko", "zukos"),
        ("zuko", ""),
    ],
)
def test_the_trigger_word_is_taken_out_of_captions(caption, bare):
    assert lessons.without(caption, WORD) == bare.replace(", ,", ",")


def test_two_adapters_in_a_mixed_queue_never_leak(own, taught, tmp_path):
    made, _, first = taught("tiny-xl")
    other = own.train(toy_training(tmp_path, "tiny-xl", seed=8), Notes())
    assert other.adapter != made.adapter
    second = adapter(tmp_path, other.adapter)
    alone = {}
    for wanted in ((first,), (second,), ()):
        own.unload("tiny-xl")
        alone[wanted] = own.generate(with_adapters(*wanted), ignore)[0]
    assert apart(alone[(first,)], alone[(second,)]) > 1 and apart(alone[(first,)], alone[()]) > 1
    for wanted in ((first,), (second,), (), (first,)):
        assert apart(own.generate(with_adapters(*wanted), ignore)[0], alone[wanted]) <= 1, wanted
