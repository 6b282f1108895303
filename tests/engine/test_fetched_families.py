"""The catalogue's own entries, fetched file by file by their own patterns from a hub laid out as the real one.

Toy weights in the real classes, the real folders, variants, shards and tokenizer files, and beside them everything the
real repositories also hold and nobody may fetch.
"""

import dataclasses
import os
import shutil
import subprocess
import sys

import pytest
import torch

from generation.engine import Batch, ImageRequest, fetching
from generation.engine.catalog import CATALOG
from generation.engine.diffusion import DiffusionEngine
from generation.engine.hub import Hub
from generation.engine.levers import Levers
from generation.engine.loading import Shelf, load
from tests.engine import tiny
from tests.fake_hub import FakeHub, read_folder

SIZES = ((64, 64),)
PLAIN = Levers(channels_last=False)
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


def distilled_unet(folder):
    """Weights as a trainer saves them: a bare state, unlike the base's in every number, and no word on the format."""
    from diffusers import UNet2DConditionModel
    from safetensors.torch import save

    unet = UNet2DConditionModel.from_pretrained(folder / "unet", variant="fp16", local_files_only=True)
    return save({name: weight + 0.01 for name, weight in unet.state_dict().items()})


def distilled_lora(folder):
    """A LoRA with the names, the rank and the alpha of Qwen-Image-Lightning (generate_with_diffusers.py there)."""
    from safetensors.torch import save

    torch.manual_seed(2)
    named = {}
    for block in (0, 1):
        for layer in ("attn.to_q", "attn.add_k_proj", "img_mlp.net.0.proj", "img_mod.1"):
            outs, ins = qwen_transformer(folder).state_dict()[f"transformer_blocks.{block}.{layer}.weight"].shape
            name = f"transformer_blocks.{block}.{layer}"
            named[f"{name}.lora_down.weight"] = torch.randn(4, ins)
            named[f"{name}.lora_up.weight"] = torch.randn(outs, 4)
            named[f"{name}.alpha"] = torch.tensor(2.0)
    return save(named)


def qwen_transformer(folder):
    from diffusers import QwenImageTransformer2DModel

    return QwenImageTransformer2DModel.from_pretrained(folder / "transformer", local_files_only=True)


@pytest.mark.parametrize("name", ["sd15", "sdxl-lightning", "flux-schnell", "qwen-image-lightning"])
def test_the_patterns_of_the_catalogue_bring_a_model_that_draws(name, toys, tmp_path):
    folder = tmp_path / ("flux" if name == "flux-schnell" else "model")
    lay_out(name, folder, toys)
    spec = entry(name)
    shelf = Shelf(tmp_path / "models", tmp_path / "models.lock", {name: spec})
    with FakeHub() as fake:
        fake.commit(spec.repository, JUNK | read_folder(folder))
        if spec.adapter:
            weights = (distilled_unet if name == "sdxl-lightning" else distilled_lora)(folder)
            fake.commit(spec.adapter.repository, {spec.adapter.filename: weights, "other.safetensors": b"x"})
        hub = Hub(fake.url)
        fetching.fetch(shelf, fetching.plan(shelf, name, hub), hub)
        asked = {seen.path for seen in fake.seen}
    assert not asked & {*JUNK, "other.safetensors"}
    if spec.adapter:
        assert (shelf.folder(name) / spec.adapter.path).read_bytes() == weights
    engine = DiffusionEngine("cpu", shelf)
    request = ImageRequest("a red fox", "", 1)
    batch = Batch(name, 64, 64, spec.steps_min, spec.guidance_default, (request,))
    (picture,) = engine.generate(batch, lambda step: None)
    assert picture.shape == (64, 64, 3)


def test_a_lora_of_qwen_image_lightning_is_added_as_its_own_script_adds_it(toys, tmp_path):
    """delta = alpha / rank * up @ down, on exactly the layers that are named: load_and_merge_lora_weight there."""
    from safetensors.torch import load as read_tensors

    spec = entry("qwen-image-lightning")
    folder = tmp_path / "models" / spec.name
    shutil.copytree(toys / "models" / spec.name, folder)
    (folder / "adapter").mkdir()
    (folder / spec.adapter.path).write_bytes(lora := distilled_lora(folder))
    shelf = tiny.shelf(tmp_path, spec)
    pipe, _ = load(shelf, spec.name, "cpu", PLAIN)
    fused, plain, lora = pipe.transformer.state_dict(), qwen_transformer(folder).state_dict(), read_tensors(lora)
    assert fused.keys() == plain.keys()
    for key, weight in plain.items():
        name = key.removesuffix(".weight")
        if f"{name}.alpha" in lora:
            down, up = lora[f"{name}.lora_down.weight"], lora[f"{name}.lora_up.weight"]
            weight = weight + lora[f"{name}.alpha"] / 4 * (up @ down)  # noqa: PLW2901
        torch.testing.assert_close(fused[key], weight)


def test_what_loads_models_has_the_hubs_library_switched_off():
    code = (
        "from generation.engine import catalog, loading; loading._pipeline_class(catalog.get('starter'))\n"
        "from huggingface_hub import constants; print(constants.HF_HUB_OFFLINE)"
    )
    environment = {name: value for name, value in os.environ.items() if name != "HF_HUB_OFFLINE"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.stdout.strip() == "True", done.stderr
