"""Batches that mix prompts, adapters and broken members: nobody's picture depends on the company it was drawn in."""

import shutil
import threading

import numpy as np
import pytest
import torch

from generation.engine import (
    Batch,
    BrokenPictures,
    DeviceLost,
    EngineError,
    ImageRequest,
    Lora,
    ModelUnavailable,
    build,
)
from generation.engine.diffusion import DiffusionEngine
from generation.engine.levers import Levers
from generation.engine.loras import FUSED_BYTES_MAX
from tests.engine import tiny
from tests.engine.test_diffusion import BOAT, CAT, HOUSE, MODELS, apart, batch, ignore

XL = {"model": "tiny-xl", "guidance": 1.0}


@pytest.fixture(scope="module")
def loras(toys, tmp_path_factory) -> list[str]:
    """Two adapters of the toy SDXL that draw differently."""
    folder = tmp_path_factory.mktemp("loras")
    paths = []
    for seed in (1, 2):
        tiny.make_adapter(toys / "models" / "tiny-xl", f"{seed}.safetensors", seed=seed, folder=folder)
        paths.append(str(folder / f"{seed}.safetensors"))
    return paths


@pytest.fixture
def another(engine):
    """Make an engine of one's own that offers every toy."""
    tiny.lock(engine._shelf)  # tests beside this one lock what they need, no more
    return lambda **levers: DiffusionEngine("cpu", engine._shelf, levers=Levers(**levers))


@pytest.fixture
def own_engine(another):
    return another()


def with_adapters(*loras, requests=(CAT,)):
    plain = batch(*requests, **XL)
    return Batch(plain.model, plain.width, plain.height, plain.num_inference_steps, 1.0, plain.requests, tuple(loras))


# --- Adapters -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("fused_bytes_max", [0, FUSED_BYTES_MAX])
def test_adapters_in_alternating_batches_never_leak(own_engine, another, loras, monkeypatch, fused_bytes_max):
    monkeypatch.setattr("generation.engine.loras.FUSED_BYTES_MAX", fused_bytes_max)
    alone = {}
    for wanted in [(), (Lora(loras[0]),), (Lora(loras[1]),), (Lora(loras[0], 0.5), Lora(loras[1], 0.5))]:
        (alone[wanted],) = another().generate(with_adapters(*wanted), ignore)
    shown = list(alone.values())
    assert all(apart(one, other) > 1 for place, one in enumerate(shown) for other in shown[:place])
    for wanted in [*alone, *reversed(alone), *alone]:
        (picture,) = own_engine.generate(with_adapters(*wanted), ignore)
        assert apart(picture, alone[wanted]) <= 1, wanted


def test_adapters_in_the_weights_draw_what_they_draw_beside_them_and_leave_every_bit(another, loras, monkeypatch):
    both = (Lora(loras[0], 0.5), Lora(loras[1], 0.5))
    engines = {0: another(), FUSED_BYTES_MAX: another()}
    pictures = {}
    for fused_bytes_max, engine in engines.items():
        monkeypatch.setattr("generation.engine.loras.FUSED_BYTES_MAX", fused_bytes_max)
        pictures[fused_bytes_max] = engine.generate(with_adapters(*both), ignore)[0]
    assert apart(pictures[0], pictures[FUSED_BYTES_MAX]) <= 1
    beside, within = (dict(engine._resident["tiny-xl"][0].unet.named_parameters()) for engine in engines.values())
    changed = [name for name, weight in within.items() if not torch.equal(weight, beside[name])]
    assert changed and all("attn" in name and name.endswith("base_layer.weight") for name in changed)
    engines[FUSED_BYTES_MAX].generate(with_adapters(), ignore)
    assert [name for name, weight in within.items() if not torch.equal(weight, beside[name])] == []


def test_without_an_adapter_the_model_is_the_bare_one(own_engine, loras):
    (before,) = own_engine.generate(batch(CAT, **XL), ignore)
    own_engine.generate(with_adapters(Lora(loras[0])), ignore)
    (after,) = own_engine.generate(batch(CAT, **XL), ignore)
    assert np.array_equal(before, after)


def test_only_the_last_adapters_are_kept(another, loras, tmp_path):
    engine = another(loras_max=2)
    paths = [*loras, shutil.copy(loras[0], tmp_path / "third.safetensors")]
    pictures = [engine.generate(with_adapters(Lora(str(path))), ignore)[0] for path in paths]
    held = engine._resident["tiny-xl"][0].get_list_adapters()["unet"]
    assert len(held) == 2
    assert apart(pictures[0], pictures[2]) <= 1
    assert np.array_equal(engine.generate(with_adapters(Lora(loras[0])), ignore)[0], pictures[0])


@pytest.mark.parametrize("content", [None, b"no tensors"])
def test_an_adapter_that_cannot_be_used_is_named_and_leaves_the_bare_model(own_engine, loras, tmp_path, content):
    (before,) = own_engine.generate(batch(CAT, **XL), ignore)
    own_engine.generate(with_adapters(Lora(loras[0])), ignore)
    bad = tmp_path / "bad.safetensors"
    if content:
        bad.write_bytes(content)
    with pytest.raises(ModelUnavailable, match=r"bad\.safetensors"):
        own_engine.generate(with_adapters(Lora(str(bad))), ignore)
    assert np.array_equal(own_engine.generate(batch(CAT, **XL), ignore)[0], before)
    assert apart(own_engine.generate(with_adapters(Lora(loras[0])), ignore)[0], before) > 1


# --- Prompts --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("model", "guidance"), MODELS)
def test_kept_prompts_draw_what_the_bare_call_draws(another, own_engine, model, guidance):
    wanted = batch(CAT, BOAT, HOUSE, CAT, model=model, guidance=guidance)
    kept = own_engine.generate(wanted, ignore)
    bare = another(prompt_cache_bytes=0).generate(wanted, ignore)
    assert [apart(one, other) <= 1 for one, other in zip(kept, bare, strict=True)] == [True] * 4


def test_each_prompt_is_encoded_once(own_engine):
    own_engine.load("tiny")
    words = own_engine._words["tiny"]
    own_engine.generate(batch(CAT, BOAT, ImageRequest(CAT.prompt, "", 99)), ignore)
    assert words.misses == 2
    own_engine.generate(batch(BOAT, CAT), ignore)
    assert words.misses == 2
    own_engine.generate(batch(CAT, guidance=1.0), ignore)  # without guidance there is no second half
    assert words.misses == 3


def test_the_kept_prompts_have_a_bound(another):
    engine = another(prompt_cache_bytes=1)
    engine.load("tiny")
    for request in (CAT, BOAT, HOUSE, CAT):
        engine.generate(batch(request), ignore)
    assert len(engine._words["tiny"]._rows) == 1 and engine._words["tiny"].misses == 4


def test_prompts_are_encoded_while_another_batch_is_drawn(own_engine):
    """`prepare` does not wait for the device, and what it made is used."""
    own_engine.load("tiny")
    words, prepared = own_engine._words["tiny"], []

    def prepare_the_next(step):
        if step.done == 1:
            thread = threading.Thread(target=lambda: own_engine.prepare(batch(BOAT)) or prepared.append(words.misses))
            thread.start()
            thread.join(timeout=30)

    own_engine.generate(batch(CAT), prepare_the_next)
    assert prepared == [2]
    own_engine.generate(batch(BOAT), ignore)
    assert words.misses == 2


def test_prompts_are_not_prepared_with_somebody_elses_adapters(own_engine, loras):
    own_engine.generate(with_adapters(Lora(loras[0])), ignore)
    words = own_engine._words["tiny-xl"]
    before = words.misses
    own_engine.prepare(batch(BOAT, **XL))
    assert words.misses == before
    own_engine.prepare(with_adapters(Lora(loras[0]), requests=(BOAT,)))
    assert words.misses == before + 1


def test_preparing_a_model_that_is_not_resident_does_nothing(own_engine):
    own_engine.prepare(batch(CAT))
    assert not own_engine.is_loaded("tiny")


def test_prompts_of_like_length_share_a_bucket_where_length_costs(own_engine):
    engine = own_engine
    for model in ("tiny", "qwen-image-lightning"):
        engine.load(model)
    short, longer = ImageRequest("a cat", "", 1), ImageRequest("a cat " * 20, "", 1)
    assert engine.bucket("tiny", short) == engine.bucket("tiny", longer) == 0
    assert engine.bucket("qwen-image-lightning", short) < engine.bucket("qwen-image-lightning", longer)


# --- Members --------------------------------------------------------------------------------------------------------
def test_a_broken_member_leaves_the_others_their_pictures(own_engine, monkeypatch):
    (alone,) = own_engine.generate(batch(CAT), ignore)
    vae = own_engine._resident["tiny"][0].vae
    decode = vae.decode

    def half_broken(*args, **kwargs):
        (pictures,) = decode(*args, **kwargs)
        pictures[1, 0, 0, 0] = float("nan")
        return (pictures,)

    monkeypatch.setattr(vae, "decode", half_broken)
    with pytest.raises(BrokenPictures, match="request 2 of 3") as caught:
        own_engine.generate(batch(CAT, BOAT, HOUSE), ignore)
    first, second, third = caught.value.pictures
    assert apart(first, alone) <= 1 and second is None and third.shape == (96, 64, 3)


def test_a_lost_device_has_a_name(own_engine, monkeypatch):
    def forward(*args, **kwargs):
        raise RuntimeError("CUDA error: device-side assert triggered")

    own_engine.load("tiny")
    monkeypatch.setattr(own_engine._resident["tiny"][0].unet, "forward", forward)
    with pytest.raises(DeviceLost):
        own_engine.generate(batch(CAT), ignore)


# --- Memory ---------------------------------------------------------------------------------------------------------
def test_an_unloaded_model_comes_back_the_same(own_engine):
    (before,) = own_engine.generate(batch(CAT), ignore)
    own_engine.generate(batch(CAT, **XL), ignore)
    assert [loaded.name for loaded in own_engine.resident()] == ["tiny", "tiny-xl"]
    own_engine.unload("tiny")
    own_engine.unload("tiny")
    assert [loaded.name for loaded in own_engine.resident()] == ["tiny-xl"]
    assert own_engine.bucket("tiny", CAT) == 0
    assert np.array_equal(own_engine.generate(batch(CAT), ignore)[0], before)


def test_the_device_says_what_it_is(own_engine):
    assert "CPU" in own_engine.hardware and own_engine.memory_bytes > 2**28


# --- Levers ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("levers", "reason"),
    [
        ({"precision": "fp8"}, "grid"),
        ({"precision": "nunchaku"}, "Hopper"),
        ({"precision": "int3"}, "no such precision"),
        ({"attention": "_flash_3_hub"}, "no attention kernel"),
    ],
)
def test_a_lever_that_does_harm_is_refused_with_the_reason(levers, reason):
    with pytest.raises(EngineError, match=reason):
        build("cpu", **levers)


def test_the_attention_kernel_does_not_change_the_picture(another, own_engine):
    wanted = batch(CAT, model="flux-schnell", guidance=1.0)
    other = another(attention="_native_math")
    assert apart(other.generate(wanted, ignore)[0], own_engine.generate(wanted, ignore)[0]) <= 1


def test_compiling_asks_for_the_repeated_block_only(another, monkeypatch):
    asked = []
    monkeypatch.setattr(
        "diffusers.models.modeling_utils.ModelMixin.compile_repeated_blocks",
        lambda self, **options: asked.append((type(self).__name__, options)),
    )
    another(compile_blocks=True).load("tiny")
    assert asked == [("UNet2DConditionModel", {"dynamic": True})]


def test_a_picture_of_torch_is_not_kept_by_the_cache(own_engine):
    """Rows are copies: a slice would keep the whole batch's memory alive."""
    own_engine.generate(batch(CAT, BOAT), ignore)
    for row in own_engine._words["tiny"]._rows.values():
        for part in row.values():
            assert part.untyped_storage().nbytes() == part.numel() * part.element_size()
            assert isinstance(part, torch.Tensor)
