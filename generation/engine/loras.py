"""LoRA files beside the weights of one resident pipeline: loaded when a batch asks for them, the last few kept.

Those that are switched on are added to the weights where that rounds nothing away: beside the weights each costs two
products more in every layer and step. What was there before is kept and put back, bit for bit.

A file is proved to be nothing but weights for this pipeline before diffusers sees any of it.
"""

from __future__ import annotations

import hashlib
import math
import os
import re
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from generation.engine import Lora, ModelUnavailable
from generation.engine.checkpoints import OURS, Broken, Entry, Weights, read_header, what_it_tells

RANK_MAX = 128
FILE_BYTES_MAX = 2**30
FUSED_BYTES_MAX = 2**28  # of the weights that adapters are added to: they are there twice meanwhile
DTYPE_BYTES = {"F32": 4, "F16": 2, "BF16": 2}
_NAME = re.compile(r"(unet|transformer|text_encoder|text_encoder_2)\.([A-Za-z0-9_.]{1,200})\.lora_([AB])\.weight")


class Loras:
    """Which LoRA files a pipeline holds, and which of them are switched on. One thread at a time."""

    def __init__(self, pipe: Any, kept_max: int, model: str) -> None:
        self._pipe, self._kept_max, self._model = pipe, max(1, kept_max), model
        self._loaded: OrderedDict[str, None] = OrderedDict()
        self._bare: list[tuple[Any, Any]] = []  # (layer with adapters added, its weights without)
        self.active: tuple[Lora, ...] = ()

    def use(self, wanted: tuple[Lora, ...]) -> None:
        """Switch to exactly these, or to the bare model. A repeated call costs nothing.

        Raises:
            ModelUnavailable: a file is not there, or is no LoRA of this model. Then none is switched on.
        """
        if wanted == self.active:
            return
        self._switch_off()
        if not wanted:
            return
        names = [self._load(lora) for lora in wanted]
        self._pipe.enable_lora()
        self._pipe.set_adapters(names, adapter_weights=[lora.scale for lora in wanted])
        while len(self._loaded) > max(self._kept_max, len(names)):
            oldest, _ = self._loaded.popitem(last=False)
            self._pipe.delete_adapters(oldest)
        self._fuse(names)
        self.active = wanted

    def _fuse(self, names: list[str]) -> None:
        layers = [layer for layer in _layers(self._pipe) if not layer.lora_A.keys().isdisjoint(names)]
        weights = [layer.get_base_layer().weight for layer in layers]
        # Sums in half precision would lose the finer part of an adapter.
        if any(weight.dtype.itemsize < 4 for weight in weights) or sum(w.nbytes for w in weights) > FUSED_BYTES_MAX:
            return
        for layer, weight in zip(layers, weights, strict=True):
            self._bare.append((layer, weight.detach().clone()))
            layer.merge(adapter_names=names)

    def _switch_off(self) -> None:
        self.active = ()
        for layer, weight in self._bare:
            layer.get_base_layer().weight.data.copy_(weight)
            layer.merged_adapters.clear()  # else the library would subtract them, and what it rounded would stay
        self._bare.clear()
        if self._loaded:
            self._pipe.disable_lora()

    def _load(self, lora: Lora) -> str:
        path = Path(lora.path)
        try:
            name = _name_of(path)
            if name not in self._loaded:
                self._pipe.load_lora_weights(read(path, self._pipe, self._model), adapter_name=name)
        except Exception as error:  # every library on the way has its own family of errors
            self._pipe.unload_lora_weights()
            self._loaded.clear()
            if isinstance(error, ModelUnavailable):
                raise
            raise ModelUnavailable(f"The adapter {path.name} cannot be used with this model.") from error
        self._loaded[name] = None
        self._loaded.move_to_end(name)
        return name


def read(path: Path, pipe: Any, model: str) -> Weights:
    """The tensors of an adapter that fits this pipeline, by the names of its file, on the CPU.

    Raises:
        ModelUnavailable: it does not; says why.
    """
    from safetensors.torch import load

    try:
        if (size := path.stat().st_size) > FILE_BYTES_MAX:
            raise Broken(f"it has {size} bytes")
        content = path.read_bytes()
        check(content, pipe, model)
        return load(content)
    except Broken as error:
        raise ModelUnavailable(f"The adapter {path.name} cannot be used: {error}.") from error
    except OSError as error:
        raise ModelUnavailable(f"The adapter {path.name} is not there.") from error


def check(content: bytes, pipe: Any, model: str) -> None:
    """Raises: Broken, when these are not the bytes of a LoRA for this pipeline."""
    entries, metadata, begin = read_header(content)
    if not metadata.keys() <= {"format", OURS}:  # diffusers would build settings from some
        raise Broken("its metadata have entries that are not ours")
    if (base := what_it_tells(metadata).get("base_model", model)) != model:
        raise Broken(f"it belongs to the model {str(base)[:60]!r}")
    _check_layout(entries, len(content) - begin)
    halves: dict[str, dict[str, Entry]] = {}
    for name, entry in entries.items():
        match = _NAME.fullmatch(name)
        if match is None:
            raise Broken("it has a tensor that no LoRA has")
        halves.setdefault(f"{match[1]}.{match[2]}", {})[match[3]] = entry
    if not halves:
        raise Broken("it is empty")
    shapes: dict[str, dict[str, tuple[int, ...]]] = {}
    for target, pair in halves.items():
        part, _, place = target.partition(".")
        if part not in shapes:
            shapes[part] = _shapes(getattr(pipe, part, None))
        _check_pair(place, pair, shapes[part].get(place))


def _check_layout(entries: dict[str, Entry], size: int) -> None:
    """Every byte belongs to exactly one tensor."""
    place = 0
    for entry in sorted(entries.values(), key=lambda entry: entry.begin):
        if entry.dtype not in DTYPE_BYTES:
            raise Broken("it has numbers of a kind that no LoRA has")
        if entry.begin != place or entry.end - place != math.prod(entry.shape) * DTYPE_BYTES[entry.dtype]:
            raise Broken("its tensors do not lie where it says")
        place = entry.end
    if place != size:
        raise Broken("it is longer or shorter than it says")


def _shapes(component: Any) -> dict[str, tuple[int, ...]]:
    """(out, in) of every linear layer, (out, in, height, width) of every convolution, under the bare model's names."""
    import torch

    if not isinstance(component, torch.nn.Module):
        return {}
    return {
        name.removesuffix(".base_layer"): tuple(module.weight.shape)
        for name, module in component.named_modules()
        if isinstance(module, torch.nn.Linear | torch.nn.Conv2d) and ".lora_" not in name
    }


def _check_pair(place: str, pair: dict[str, Entry], shape: tuple[int, ...] | None) -> None:
    if shape is None:
        raise Broken(f"this model has no part {place!r}")
    if len(pair) != 2:
        raise Broken(f"half of it is missing at {place!r}")
    down, up = pair["A"].shape, pair["B"].shape
    rank = down[0] if down else 0
    if not 1 <= rank <= RANK_MAX:
        raise Broken(f"its rank is {rank}; it may be 1 to {RANK_MAX}")
    if down != (rank, *shape[1:]) or up != (shape[0], rank, *(1 for _ in shape[2:])):
        raise Broken(f"it does not fit this model at {place!r}")


def _layers(pipe: Any) -> Iterator[Any]:
    """Every layer that holds adapters."""
    import torch
    from peft.tuners.lora import LoraLayer

    for component in pipe.components.values():
        if isinstance(component, torch.nn.Module):
            yield from (module for module in component.modules() if isinstance(module, LoraLayer))


def _name_of(path: Path) -> str:
    """A name for this file as it is now: another file at the same place is another adapter."""
    status = os.stat(path)
    text = f"{path.resolve()}:{status.st_mtime_ns}:{status.st_size}"
    return "lora_" + hashlib.sha256(text.encode()).hexdigest()[:16]
