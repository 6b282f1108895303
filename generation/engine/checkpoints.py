"""Our files of weights, all of them safetensors: the adapter that a training leaves, and where it stands in between.

The layout is documented at github.com/huggingface/safetensors: eight bytes with the length of the header, the header in
JSON, the tensors one behind the other.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from safetensors.torch import load, save

from generation.engine import EngineError, LoadedModel, Training

HEADER_BYTES_MAX = 10_000_000
FORMAT = 1
OURS = "tenkaigen"
ADAPTER, CHECKPOINT = "tenkaigen-adapter", "tenkaigen-checkpoint"
WEIGHT, MEAN, SQUARE = "weight:", "mean:", "square:"
Weights = dict[str, torch.Tensor]


class Broken(ValueError):
    """The file is no safetensors file."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What the header says about one tensor."""

    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


def read_header(content: bytes) -> tuple[dict[str, Entry], dict[str, str], int]:
    """What a file says it holds: (tensors by name, metadata, where the first tensor begins).

    Raises:
        Broken: the header is too large, no JSON of that kind, or names a tensor twice.
    """
    if len(content) < 8:
        raise Broken("it is too short")
    length = struct.unpack("<Q", content[:8])[0]
    if length > min(HEADER_BYTES_MAX, len(content) - 8):
        raise Broken("its header is too long")
    try:
        header = json.loads(content[8 : 8 + length].decode(), object_pairs_hook=_once)
        metadata = header.pop("__metadata__", {})
        entries = {name: _entry(value) for name, value in header.items()}
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise Broken("its header cannot be read") from error
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise Broken("its metadata are not words")
    return entries, metadata, 8 + length


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({name for name, _ in pairs}) != len(pairs):
        raise ValueError("a name stands there twice")
    return dict(pairs)


def _entry(value: dict[str, Any]) -> Entry:
    shape, (begin, end) = value["shape"], value["data_offsets"]
    if not all(type(number) is int and number >= 0 for number in (*shape, begin, end)):
        raise ValueError("numbers are no numbers")
    return Entry(str(value["dtype"]), tuple(shape), begin, end)


def write_adapter(weights: Mapping[str, torch.Tensor], base: LoadedModel, training: Training) -> bytes:
    """The LoRA as `Lora` reads it. Halves of 16 bits: a step of theirs is far below what a picture shows."""
    told = {
        "format": ADAPTER,
        "version": FORMAT,
        "base_model": base.name,
        "base_revision": base.revision,
        "rank": training.rank,
    }
    return save({name: weight.half().cpu().contiguous() for name, weight in weights.items()}, _metadata(told))


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A training in the middle. Chance needs no memory: every step draws from its own number."""

    step: int
    losses: list[float]
    weights: Weights
    means: Weights  # of AdamW
    squares: Weights


def write_checkpoint(checkpoint: Checkpoint, identity: str) -> bytes:
    tensors = {"losses": torch.tensor(checkpoint.losses, dtype=torch.float64)}
    for prefix, part in zip(
        (WEIGHT, MEAN, SQUARE), (checkpoint.weights, checkpoint.means, checkpoint.squares), strict=True
    ):
        tensors |= {prefix + name: tensor.detach().cpu().contiguous() for name, tensor in part.items()}
    told = {"format": CHECKPOINT, "version": FORMAT, "step": checkpoint.step, "training": identity}
    return save(tensors, _metadata(told))


def _metadata(told: dict[str, Any]) -> dict[str, str]:
    # One entry: the library writes several in another order every time, and the same training gives the same file.
    return {OURS: json.dumps(told, sort_keys=True)}


def what_it_tells(metadata: Mapping[str, str]) -> dict[str, Any]:
    """What we wrote about a file of ours; nothing of somebody else's.

    Raises:
        Broken: it is not what we write.
    """
    try:
        told = json.loads(metadata.get(OURS, "{}"))
    except (ValueError, RecursionError) as error:
        raise Broken("its metadata cannot be read") from error
    if not isinstance(told, dict):
        raise Broken("its metadata cannot be read")
    return told


def read_checkpoint(content: bytes, identity: str, shapes: Mapping[str, torch.Size]) -> Checkpoint:
    """Raises: EngineError, when it is broken or belongs to another training."""
    try:
        told = what_it_tells(read_header(content)[1])
        tensors = load(content)
    except Exception as error:
        raise EngineError("The checkpoint cannot be read.") from error
    wanted = {"format": CHECKPOINT, "version": FORMAT, "training": identity}
    if any(told.get(name) != value for name, value in wanted.items()):
        raise EngineError("The checkpoint belongs to another training.")
    nothing = torch.empty(0)
    parts = [{name: tensors.get(prefix + name, nothing) for name in shapes} for prefix in (WEIGHT, MEAN, SQUARE)]
    if any(part[name].shape != shape for part in parts for name, shape in shapes.items()):
        raise EngineError("The checkpoint belongs to another training.")
    return Checkpoint(int(told["step"]), tensors["losses"].tolist(), *parts)
