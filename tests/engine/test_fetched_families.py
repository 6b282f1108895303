"""The catalogue's own entries, fetched file by file by their own patterns from a hub laid out as the real one.

Toy weights in the real classes, the real folders, variants, shards and tokenizer files, and beside them everything the
real repositories also hold and nobody may fetch.
"""

import dataclasses
import shutil

import pytest
import torch

from generation.engine import Batch, ImageRequest, fetching
from generation.engine.catalog import CATALOG
from generation.engine.diffusion import DiffusionEngine
from generation.engine.hub import Hub
from generation.engine.loading import Shelf
from tests.engine import tiny
from tests.fake_hub import FakeHub, read_folder

SIZES = ((64, 64),)
JUNK = {
    "README.md": b"# model",
    "comfy.safetensors": b"everything in one file",
    "unet/diffusion_pytorch_model.bin": b"pickle",
    "unet/diffusion_pytorch_model.non_ema.safetensors": b"for training",
    "text_encoder/pytorch_model.fp16.bin": b"pickle",
    "vae_1_0/diffusion_pytorch_model.safetensors": b"old",
    "unet/sample.py": b"import os",
    "transformer/flax_model.msgpack": b"flax",
}


def entry(name):
    """The real entry of the catalogue, at toy size."""
    return dataclasses.replace(CATALOG[name], sizes=SIZES, default_size=SIZES[0], batch_caps={})


def with_spelt_tokenizer(folder, spelt):
    """CLIP's and Qwen's tokenizers lie on the hub as vocabulary and merges; T5's as one file."""
    for part in sorted(folder.glob("tokenizer*")):
        if folder.name != "flux" or part.name == "tokenizer":
            (part / "tokenizer.json").unlink()
            for name in ("vocab.json", "merges.txt"):
                shutil.copy(spelt / name, part / name)


def make_sd15(folder):
    """With the safety checker and its feature extractor, which the shipped starter does not have."""
    from diffusers import AutoencoderKL, PNDMScheduler, StableDiffusionPipeline
    from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
    from transformers import CLIPConfig, CLIPImageProcessor

    torch.manual_seed(0)
    small = {"hidden_size": 32, "intermediate_size": 37, "num_hidden_layers": 2, "num_attention_heads": 4}
    vision = small | {"image_size": 32, "patch_size": 8, "projection_dim": 16}
    StableDiffusionPipeline(
        vae=AutoencoderKL(
            block_out_channels=(8,) * 4,
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            norm_num_groups=4,
            latent_channels=4,
        ),
        text_encoder=tiny.make_text_encoder(),
        tokenizer=tiny.make_tokenizer(folder.parent / "sd15-tokenizer"),
        unet=tiny._unet(channels=4),
        scheduler=PNDMScheduler(skip_prk_steps=True, steps_offset=1),
        safety_checker=StableDiffusionSafetyChecker(
            CLIPConfig(text_config=small, vision_config=vision, projection_dim=16)
        ),
        feature_extractor=CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}),
    ).save_pretrained(folder, variant="fp16")
    return folder.parent / "sd15-tokenizer"


def make_like_a_toy(folder, toy, *, variant=None, shards=()):
    from diffusers import DiffusionPipeline

    pipe = DiffusionPipeline.from_pretrained(toy, local_files_only=True)
    pipe.save_pretrained(folder, variant=variant)
    for part in shards:
        shutil.rmtree(folder / part)
        getattr(pipe, part).save_pretrained(folder / part, max_shard_size="20KB")
    return toy.parent / (toy.name + "-tokenizer")


def lay_out(name, folder, toys):
    """Write the repository of a catalogue entry into `folder`."""
    toys = toys / "models"
    if name == "sd15":
        spelt = make_sd15(folder)
    elif name == "sdxl-lightning":
        spelt = make_like_a_toy(folder, toys / "tiny-xl", variant="fp16")
    elif name == "flux-schnell":
        spelt = make_like_a_toy(folder, toys / "flux-schnell", shards=("transformer", "text_encoder_2"))
    else:
        spelt = make_like_a_toy(folder, toys / "qwen-image-lightning", shards=("transformer", "text_encoder"))
    with_spelt_tokenizer(folder, spelt)


def distilled(folder):
    """Weights as a trainer saves them: a bare state, unlike the base's in every number, and no word on the format."""
    from diffusers import UNet2DConditionModel
    from safetensors.torch import save

    unet = UNet2DConditionModel.from_pretrained(folder / "unet", variant="fp16", local_files_only=True)
    return save({name: weight + 0.01 for name, weight in unet.state_dict().items()})


@pytest.mark.parametrize("name", ["sd15", "sdxl-lightning", "flux-schnell", "qwen-image-lightning"])
def test_the_patterns_of_the_catalogue_bring_a_model_that_draws(name, toys, tmp_path):
    folder = tmp_path / ("flux" if name == "flux-schnell" else "model")
    lay_out(name, folder, toys)
    spec = entry(name)
    if name == "qwen-image-lightning":  # how a LoRA is fetched and fused: test_fetching, test_loading
        spec = dataclasses.replace(spec, adapter=None)
    shelf = Shelf(tmp_path / "models", tmp_path / "models.lock", {name: spec})
    with FakeHub() as fake:
        fake.commit(spec.repository, JUNK | read_folder(folder))
        if spec.adapter:
            weights = distilled(folder)
            fake.commit(spec.adapter.repository, {spec.adapter.filename: weights, "other.safetensors": b"x"})
        hub = Hub(fake.url)
        fetching.fetch(shelf, fetching.plan(shelf, name, hub), hub)
        asked = {seen.path for seen in fake.seen}
    assert not asked & {*JUNK, "other.safetensors"}
    engine = DiffusionEngine("cpu", shelf)
    request = ImageRequest("a red fox", "", 1)
    (picture,) = engine.generate(
        Batch(name, 64, 64, spec.steps_min, spec.guidance_default, (request,)), lambda step: None
    )
    assert picture.shape == (64, 64, 3)
    if spec.adapter:
        assert (shelf.folder(name) / spec.adapter.path).read_bytes() == weights
