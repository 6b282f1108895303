"""The driver on real pipelines: seeds, batches, steps, cancel, memory, broken numbers."""

import math
import threading

import numpy as np
import pytest
import torch

from generation.engine import Batch, Canceled, EngineError, ImageRequest, OutOfMemory
from generation.engine.diffusion import DiffusionEngine, to_pixels
from generation.engine.levers import Levers
from tests.engine import tiny

MODELS = [("tiny", 3.0), ("tiny-xl", 1.0), ("flux-schnell", 1.0), ("qwen-image-lightning", 1.0)]
CAT = ImageRequest("a red cat by the sea", "", 7)
BOAT = ImageRequest("blue boat", "a dog", 8)
HOUSE = ImageRequest("the house on a hill at night under the moon over a lake", "red", 9)


def batch(*requests, model="tiny", guidance=3.0, size=(64, 96), steps=None):
    steps = steps or (4 if guidance == 1.0 else 3)  # Lightning takes four
    return Batch(model, *size, steps, guidance, requests)


def ignore(step):
    pass


def apart(one, other):
    return np.abs(one.astype(np.int16) - other.astype(np.int16)).max()


@pytest.mark.parametrize(("model", "guidance"), MODELS)
def test_pictures_come_in_request_order_as_bytes(engine, model, guidance):
    pictures = engine.generate(batch(CAT, BOAT, model=model, guidance=guidance), ignore)
    assert [(p.shape, p.dtype, p.flags.c_contiguous) for p in pictures] == [((96, 64, 3), np.uint8, True)] * 2
    assert apart(*pictures) > 1
    swapped = engine.generate(batch(BOAT, CAT, model=model, guidance=guidance), ignore)
    assert apart(swapped[0], pictures[1]) <= 1 and apart(swapped[1], pictures[0]) <= 1


@pytest.mark.parametrize(("model", "guidance"), MODELS)
def test_a_picture_does_not_depend_on_its_batch(engine, model, guidance):
    together = engine.generate(batch(CAT, BOAT, HOUSE, model=model, guidance=guidance), ignore)
    for request, picture in zip((CAT, BOAT, HOUSE), together, strict=True):
        (alone,) = engine.generate(batch(request, model=model, guidance=guidance), ignore)
        assert apart(alone, picture) <= 1


def test_the_words_and_the_seed_matter_to_every_family(engine):
    for model, guidance in MODELS:
        first, reseeded, reworded = engine.generate(
            batch(
                CAT,
                ImageRequest(CAT.prompt, "", 99),
                ImageRequest(HOUSE.prompt, "", CAT.seed),
                model=model,
                guidance=guidance,
            ),
            ignore,
        )
        assert apart(first, reseeded) > 1 and not np.array_equal(first, reworded), model


def test_a_distilled_model_runs_once_a_step_and_its_sampler_is_the_one_it_was_distilled_with(engine, monkeypatch):
    engine.load("qwen-image-lightning")
    pipe = engine._resident["qwen-image-lightning"][0]
    calls, forward = [], pipe.transformer.forward
    monkeypatch.setattr(
        pipe.transformer, "forward", lambda *args, **kwargs: calls.append(1) or forward(*args, **kwargs)
    )
    engine.generate(batch(BOAT, model="qwen-image-lightning", guidance=1.0), ignore)
    assert len(calls) == 4
    config = pipe.scheduler.config
    assert (config.shift_terminal, config.use_dynamic_shifting, config.shift) == (None, True, 1.0)
    assert config.base_shift == config.max_shift == math.log(3)


def test_seed_prompt_negative_prompt_guidance_and_steps_all_matter(engine):
    (first,) = engine.generate(batch(BOAT), ignore)
    (again,) = engine.generate(batch(BOAT), ignore)
    assert np.array_equal(first, again)
    others = [
        batch(ImageRequest(BOAT.prompt, BOAT.negative_prompt, 99)),
        batch(ImageRequest("green fox", BOAT.negative_prompt, BOAT.seed)),
        batch(ImageRequest(BOAT.prompt, "moon", BOAT.seed)),
        batch(BOAT, guidance=9.0),
        batch(BOAT, steps=5),
    ]
    for other in others:
        assert apart(first, engine.generate(other, ignore)[0]) > 0


def test_our_pixels_are_those_of_the_bare_pipeline(engine):
    (ours,) = engine.generate(batch(CAT), ignore)
    pipe, _, _ = engine._resident["tiny"]
    bare = pipe(
        CAT.prompt,
        negative_prompt=CAT.negative_prompt,
        width=64,
        height=96,
        num_inference_steps=3,
        guidance_scale=3.0,
        generator=torch.Generator("cpu").manual_seed(CAT.seed),
    ).images[0]
    assert apart(ours, np.asarray(bare)) <= 1


@pytest.mark.parametrize(("model", "guidance"), MODELS)
def test_every_step_is_told_once_and_in_order(engine, model, guidance):
    steps = []
    engine.generate(batch(CAT, model=model, guidance=guidance, steps=4), steps.append)
    assert [(step.done, step.total) for step in steps] == [(1, 4), (2, 4), (3, 4), (4, 4)]


@pytest.fixture
def decodes(engine, monkeypatch):
    """Counts the decoder's calls in a list."""
    engine.load("tiny")
    vae = engine._resident["tiny"][0].vae
    calls = []
    decode = vae.decode
    monkeypatch.setattr(vae, "decode", lambda *args, **kwargs: calls.append(1) or decode(*args, **kwargs))
    return calls


def test_canceling_stops_at_once_and_decodes_nothing(engine, decodes):
    seen = []

    def cancel(step):
        seen.append(step.done)
        raise Canceled

    with pytest.raises(Canceled):
        engine.generate(batch(CAT, steps=5), cancel)
    assert seen == [1] and decodes == []
    engine.generate(batch(CAT), ignore)
    assert len(decodes) == 1


def test_a_canceled_batch_leaves_nothing_behind_for_the_next(engine):
    (before,) = engine.generate(batch(CAT), ignore)

    def cancel_in_the_middle(step):
        if step.done == 2:
            raise Canceled

    with pytest.raises(Canceled):
        engine.generate(batch(BOAT, steps=7), cancel_in_the_middle)
    (after,) = engine.generate(batch(CAT), ignore)
    assert np.array_equal(before, after)


def test_any_other_error_of_the_listener_comes_out_as_it_is(engine):
    def fail(step):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        engine.generate(batch(CAT), fail)


def break_unet(engine, monkeypatch, error):
    def forward(*args, **kwargs):
        raise error

    engine.load("tiny")
    monkeypatch.setattr(engine._resident["tiny"][0].unet, "forward", forward)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        MemoryError(),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
    ],
)
def test_running_out_of_memory_has_a_name(engine, monkeypatch, error):
    break_unet(engine, monkeypatch, error)
    with pytest.raises(OutOfMemory):
        engine.generate(batch(CAT), ignore)


def test_another_runtime_error_is_not_taken_for_memory(engine, monkeypatch):
    break_unet(engine, monkeypatch, RuntimeError("shapes differ"))
    with pytest.raises(RuntimeError, match="shapes differ"):
        engine.generate(batch(CAT), ignore)


def test_numbers_that_are_no_picture_are_an_error_not_a_black_square(engine, monkeypatch):
    engine.load("tiny")
    vae = engine._resident["tiny"][0].vae
    decode = vae.decode

    def half_broken(*args, **kwargs):
        (pictures,) = decode(*args, **kwargs)
        pictures[1, 0, 0, 0] = float("nan")
        return (pictures,)

    monkeypatch.setattr(vae, "decode", half_broken)
    with pytest.raises(EngineError, match="request 2 of 2"):
        engine.generate(batch(CAT, BOAT), ignore)


def test_bytes_are_the_nearest_to_the_numbers():
    numbers = torch.tensor([0.0, 0.4, 0.6, 127.4, 127.6, 254.6, 255.0, 300.0, -9.0]) / 255
    (pixels,) = to_pixels(numbers.reshape(1, 3, 1, 3))
    assert pixels.transpose(2, 0, 1).flatten().tolist() == [0, 0, 1, 127, 128, 255, 255, 255, 0]


@pytest.mark.parametrize(
    "bad",
    [
        batch(CAT, size=(64, 128)),
        batch(CAT, steps=-1),
        batch(CAT, steps=11),
        batch(CAT, guidance=0.5),
        batch(CAT, guidance=float("nan")),
        batch(),
        batch(*[CAT] * 65),
    ],
)
def test_what_the_catalogue_does_not_offer_is_refused_before_the_model_runs(engine, bad):
    with pytest.raises(ValueError):
        engine.generate(bad, ignore)


def test_prompts_reach_no_log_even_when_they_are_too_long(toys, capfd, caplog):
    secret = "canary " * 40
    tiny.engine(toys, tiny.spec()).generate(batch(ImageRequest(secret, secret, 1)), ignore)
    out, err = capfd.readouterr()
    assert "canary" not in out + err + caplog.text
    assert "%|" not in out + err  # and no progress bar of somebody else's


def test_two_threads_take_turns_and_get_their_own_pictures(engine):
    alone = [engine.generate(batch(request), ignore)[0] for request in (CAT, BOAT)]
    results = {}

    def draw(index, request):
        results[index] = engine.generate(batch(request), ignore)[0]

    threads = [threading.Thread(target=draw, args=(i, request)) for i, request in enumerate((CAT, BOAT) * 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert all(np.array_equal(results[i], alone[i % 2]) for i in range(4))


def test_the_memory_layout_does_not_change_the_picture(toys, engine):
    other = DiffusionEngine("cpu", tiny.shelf(toys, tiny.spec()), levers=Levers(channels_last=False))
    assert apart(other.generate(batch(CAT), ignore)[0], engine.generate(batch(CAT), ignore)[0]) <= 1
