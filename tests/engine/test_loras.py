"""Adapter files that are not what they should be: refused before any library sees them."""

import json
import struct

import numpy as np
import pytest
import torch
from safetensors.torch import load, save

from generation.engine import Lora, ModelUnavailable
from tests.engine import tiny
from tests.engine.test_batches import with_adapters
from tests.engine.test_diffusion import ignore

UNET = "unet.down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q"


@pytest.fixture(scope="module")
def good(toys, tmp_path_factory) -> bytes:
    folder = tmp_path_factory.mktemp("good")
    tiny.make_adapter(toys / "models" / "tiny-xl", "good.safetensors", folder=folder)
    return (folder / "good.safetensors").read_bytes()


def with_header(content: bytes, change) -> bytes:
    length = struct.unpack("<Q", content[:8])[0]
    header = json.loads(content[8 : 8 + length])
    change(header)
    raw = json.dumps(header).encode()
    return struct.pack("<Q", len(raw)) + raw + content[8 + length :]


def pair(name: str, rank: int = 2, columns: int = 32, rows: int = 32, dtype=torch.float32) -> dict:
    return {
        f"{name}.lora_A.weight": torch.ones(rank, columns, dtype=dtype),
        f"{name}.lora_B.weight": torch.ones(rows, rank, dtype=dtype),
    }


def shift(header):
    header[next(name for name in header if name != "__metadata__")]["data_offsets"][1] += 4


def twice(content: bytes) -> bytes:
    length = struct.unpack("<Q", content[:8])[0]
    raw = content[8 : 8 + length].rstrip()
    doubled = raw[:-1] + b"," + raw[1:-1] + b"}"
    return struct.pack("<Q", len(doubled)) + doubled + content[8 + length :]


HOSTILE = {
    "empty": (lambda good: b"", "too short"),
    "a header of 2^60 bytes": (lambda good: struct.pack("<Q", 2**60) + good[8:], "header is too long"),
    "a header of 11 MB": (lambda good: struct.pack("<Q", 11_000_000) + b" " * 11_000_000, "header is too long"),
    "no JSON": (lambda good: struct.pack("<Q", 4) + b"{{{{", "header cannot be read"),
    "deep JSON": (lambda good: struct.pack("<Q", 200_000) + b"[" * 200_000, "header cannot be read"),
    "a list": (lambda good: struct.pack("<Q", 2) + b"[]", "header cannot be read"),
    "every name twice": (twice, "header cannot be read"),
    "a pickle": (lambda good: b"\x80\x04\x95" + b"\0" * 40, "header is too long"),
    "cut off": (lambda good: good[:-1], "longer or shorter"),
    "something behind it": (lambda good: good + b"\0", "longer or shorter"),
    "tensors over each other": (lambda good: with_header(good, shift), "do not lie where"),
    "settings for diffusers": (
        lambda good: with_header(good, lambda header: header.update({"__metadata__": {"lora_adapter_metadata": "{}"}})),
        "entries that are not ours",
    ),
    "another model's": (
        lambda good: save(load(good), {"tenkaigen": json.dumps({"base_model": "tiny"})}),
        "belongs to the model 'tiny'",
    ),
    "no tensors": (lambda good: save({}), "is empty"),
    "whole weights": (lambda good: save({"unet.conv_in.weight": torch.ones(2, 2)}), "a tensor that no LoRA has"),
    "of the autoencoder": (lambda good: save(pair("vae.post_quant_conv")), "a tensor that no LoRA has"),
    "a part that is not there": (lambda good: save(pair("unet.nothing.to_q")), "has no part 'nothing.to_q'"),
    "of a transformer": (lambda good: save(pair("transformer.blocks.0.to_q")), "has no part"),
    "a part with no weights of its own": (lambda good: save(pair("unet.down_blocks.1")), "has no part"),
    "integers": (lambda good: save(pair(UNET, dtype=torch.int32)), "of a kind that no LoRA has"),
    "double precision": (lambda good: save(pair(UNET, dtype=torch.float64)), "of a kind that no LoRA has"),
    "half a pair": (lambda good: save({f"{UNET}.lora_A.weight": torch.ones(2, 32)}), "half of it is missing"),
    "rank 129": (lambda good: save(pair(UNET, rank=129)), "rank is 129"),
    "rank 0": (lambda good: save(pair(UNET, rank=0)), "rank is 0"),
    "too wide": (lambda good: save(pair(UNET, columns=33)), "does not fit this model"),
    "two ranks in a pair": (
        lambda good: save(pair(UNET) | {f"{UNET}.lora_B.weight": torch.ones(32, 3)}),
        "does not fit this model",
    ),
}


def test_hostile_adapters_are_refused_and_the_bare_model_goes_on(engine, good, tmp_path):
    tiny.lock(engine._shelf)
    (before,) = engine.generate(with_adapters(), ignore)
    path = tmp_path / "good.safetensors"
    path.write_bytes(good)
    (changed,) = engine.generate(with_adapters(Lora(str(path))), ignore)
    assert not np.array_equal(changed, before)
    for number, (what, (make, sentence)) in enumerate(HOSTILE.items()):
        bad = tmp_path / f"{number}.safetensors"
        bad.write_bytes(make(good))
        with pytest.raises(ModelUnavailable) as refusal:
            engine._loras["tiny-xl"].use((Lora(str(bad)),))
        assert sentence in str(refusal.value), what
        assert engine._resident["tiny-xl"][0].get_list_adapters() == {}, what
    assert np.array_equal(engine.generate(with_adapters(), ignore)[0], before)
