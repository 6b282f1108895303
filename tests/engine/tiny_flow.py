"""Toys of the flow-matching families: FLUX and Qwen-Image, which pack their latents into tokens."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import torch

from generation.engine.catalog import CATALOG, ModelSpec
from tests.engine import tiny

QWEN_TEXT = {
    "hidden_size": 16,
    "intermediate_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "rope_scaling": {"mrope_section": [1, 1, 2], "rope_type": "default", "type": "default"},
    "rope_theta": 1_000_000.0,
}
QWEN_VISION = {
    "depth": 2,
    "hidden_size": 16,
    "intermediate_size": 16,
    "num_heads": 2,
    "out_hidden_size": 16,
}


def flux_spec() -> ModelSpec:
    return _like("flux-schnell", tiny.spec("tiny-flux").sizes)


def qwen_spec() -> ModelSpec:
    return _like("qwen-image-lightning", tiny.spec("tiny-qwen").sizes, adapter=None)


def _like(name: str, sizes: Any, **changes: Any) -> ModelSpec:
    """The real entry of the catalogue, at toy size."""
    return dataclasses.replace(CATALOG[name], sizes=sizes, default_size=sizes[0], batch_caps={}, **changes)


def make_flux(folder: Path) -> None:
    from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler, FluxPipeline, FluxTransformer2DModel
    from transformers import T5Config, T5EncoderModel

    torch.manual_seed(0)
    tokenizer = tiny.make_tokenizer(folder.parent / (folder.name + "-tokenizer"))
    pipe = FluxPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(),
        vae=AutoencoderKL(
            block_out_channels=(8,) * 4,
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            norm_num_groups=4,
            latent_channels=4,
            scaling_factor=0.3611,
            shift_factor=0.1159,
            use_quant_conv=False,
            use_post_quant_conv=False,
        ),
        text_encoder=tiny.make_text_encoder(),
        tokenizer=tokenizer,
        text_encoder_2=T5EncoderModel(
            T5Config(vocab_size=len(tokenizer), d_model=32, d_kv=8, d_ff=37, num_layers=2, num_heads=4)
        ),
        tokenizer_2=tokenizer,
        transformer=FluxTransformer2DModel(
            in_channels=16,
            num_layers=1,
            num_single_layers=1,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=32,
            pooled_projection_dim=tiny.TEXT_WIDTH,
            axes_dims_rope=(4, 4, 8),
        ),
    )
    pipe.save_pretrained(folder)


def make_qwen(folder: Path) -> None:
    from diffusers import (
        AutoencoderKLQwenImage,
        FlowMatchEulerDiscreteScheduler,
        QwenImagePipeline,
        QwenImageTransformer2DModel,
    )

    torch.manual_seed(0)
    tokenizer = _qwen_tokenizer(folder.parent / (folder.name + "-tokenizer"))
    pipe = QwenImagePipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(shift_terminal=0.02),  # stock: Lightning needs another
        vae=AutoencoderKLQwenImage(
            base_dim=8,
            z_dim=4,
            dim_mult=[1, 2, 4, 4],
            num_res_blocks=1,
            temperal_downsample=[False, True, True],
            latents_mean=[0.0] * 4,
            latents_std=[1.0] * 4,
        ),
        text_encoder=_qwen_text_encoder(len(tokenizer)),
        tokenizer=tokenizer,
        transformer=QwenImageTransformer2DModel(
            patch_size=2,
            in_channels=16,
            out_channels=4,
            num_layers=2,
            attention_head_dim=16,
            num_attention_heads=3,
            joint_attention_dim=16,
            axes_dims_rope=(8, 4, 4),
        ),
    )
    pipe.save_pretrained(folder)


def _qwen_text_encoder(words: int) -> Any:
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    config = Qwen2_5_VLConfig(
        text_config={**QWEN_TEXT, "vocab_size": words},
        vision_config=QWEN_VISION,
        vision_start_token_id=words - 3,
        vision_end_token_id=words - 2,
        image_token_id=words - 1,
    )
    return Qwen2_5_VLForConditionalGeneration(config)


def _qwen_tokenizer(folder: Path) -> Any:
    """Byte by byte, without merges: every text of every language, in 256 tokens."""
    from tokenizers.pre_tokenizers import ByteLevel
    from transformers import Qwen2Tokenizer

    folder.mkdir(parents=True, exist_ok=True)
    letters = sorted(ByteLevel.alphabet())
    words = [*letters, "<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    (folder / "vocab.json").write_text(json.dumps({word: index for index, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    return Qwen2Tokenizer.from_pretrained(folder, local_files_only=True)
