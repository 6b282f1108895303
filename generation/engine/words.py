"""Prompts as the denoiser reads them: encoded once, kept, and put together into batches.

Every prompt is kept by itself, so that the images of one job, and the same words tomorrow, cost no text encoder. What a
row says does not depend on the rows beside it.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import torch

from generation.engine import Batch, ImageRequest
from generation.engine.catalog import ModelSpec

# What `encode_prompt` of each family returns, by the arguments of `__call__`; "" belongs to no row.
RETURNED = {
    "StableDiffusionPipeline": ("prompt_embeds", "negative_prompt_embeds"),
    "StableDiffusionXLPipeline": (
        "prompt_embeds",
        "negative_prompt_embeds",
        "pooled_prompt_embeds",
        "negative_pooled_prompt_embeds",
    ),
    "FluxPipeline": ("prompt_embeds", "pooled_prompt_embeds", ""),
    "QwenImagePipeline": ("prompt_embeds", "prompt_embeds_mask"),
}
WITH_GUIDANCE = frozenset({"StableDiffusionPipeline", "StableDiffusionXLPipeline"})
MASK = "prompt_embeds_mask"
Key = tuple[str, str, bool, tuple[Any, ...]]
Row = dict[str, torch.Tensor]


class Words:
    """The encoded prompts of one resident pipeline. Safe to use from several threads."""

    def __init__(self, pipe: Any, spec: ModelSpec, bytes_max: int) -> None:
        self._pipe, self._spec, self._bytes_max = pipe, spec, bytes_max
        self._rows: OrderedDict[Key, Row] = OrderedDict()
        self._bytes = 0
        self.misses = 0
        # Tokenizers change their settings while they work, and adapters change the encoders: one at a time.
        self.lock = threading.RLock()

    @property
    def keeps_any(self) -> bool:
        return self._bytes_max > 0 and self._spec.pipeline in RETURNED

    def length(self, prompt: str) -> int:
        """Tokens of a prompt, start and end marks included."""
        with self.lock:
            return len(self._pipe.tokenizer(prompt).input_ids)

    def arguments(self, batch: Batch) -> dict[str, Any]:
        """The prompts of a batch as arguments of the pipeline's call. The caller has set the batch's adapters."""
        if not self.keeps_any:
            words: dict[str, Any] = {"prompt": [request.prompt for request in batch.requests]}
            if self._spec.supports_negative_prompt:
                words["negative_prompt"] = [request.negative_prompt for request in batch.requests]
            return words
        with self.lock:
            return together(self._rows_of(batch))

    def _rows_of(self, batch: Batch) -> list[Row]:
        keys = [self._key(batch, request) for request in batch.requests]
        found = {key: self._rows[key] for key in keys if key in self._rows}
        missing = list(dict.fromkeys(key for key in keys if key not in found))
        if missing:
            self.misses += len(missing)
            found |= zip(missing, self._encode(missing), strict=True)
        for key in dict.fromkeys(keys):
            self._keep(key, found[key])
        return [found[key] for key in keys]

    def _key(self, batch: Batch, request: ImageRequest) -> Key:
        negative = request.negative_prompt if self._spec.supports_negative_prompt else ""
        return request.prompt, negative, batch.guidance_scale > 1, batch.adapters

    def _keep(self, key: Key, row: Row) -> None:
        if key not in self._rows:
            self._bytes += _bytes(row)
        self._rows[key] = row
        self._rows.move_to_end(key)
        while self._bytes > self._bytes_max and len(self._rows) > 1:
            self._bytes -= _bytes(self._rows.popitem(last=False)[1])

    def _encode(self, keys: Sequence[Key]) -> list[Row]:
        """One row per key, by one call per kind of guidance: (1, ...) tensors without padding."""
        rows: dict[Key, Row] = {}
        for is_guided in {key[2] for key in keys}:
            chosen = [key for key in keys if key[2] == is_guided]
            prompts, negatives = [key[0] for key in chosen], [key[1] for key in chosen] if is_guided else None
            with torch.inference_mode():
                rows |= zip(chosen, encode(self._pipe, self._spec, prompts, negatives), strict=True)
        return [rows[key] for key in keys]


def encode(pipe: Any, spec: ModelSpec, prompts: list[str], negatives: list[str] | None = None) -> list[Row]:
    """One row per prompt, (1, ...) tensors without padding; gradients reach the encoders where the caller lets them.

    Args:
        negatives: for a second pass with guidance; None: there will be none.
    """
    extra: dict[str, Any] = {}
    if "max_sequence_length" in spec.call_arguments:
        extra["max_sequence_length"] = spec.call_arguments["max_sequence_length"]
    if spec.pipeline in WITH_GUIDANCE:
        extra["do_classifier_free_guidance"] = negatives is not None
        if spec.supports_negative_prompt and negatives is not None:
            extra["negative_prompt"] = negatives
    parts = pipe.encode_prompt(prompt=prompts, device=pipe._execution_device, num_images_per_prompt=1, **extra)
    named = dict(zip(RETURNED[spec.pipeline], parts, strict=True))
    named.pop("", None)
    return [_row(named, place) for place in range(len(prompts))]


def _row(named: dict[str, torch.Tensor | None], place: int) -> Row:
    row = {name: part[place : place + 1] for name, part in named.items() if part is not None}
    if (mask := row.pop(MASK, None)) is not None:
        row["prompt_embeds"] = row["prompt_embeds"][:, : int(mask.sum())]
    # A slice would keep the memory of its neighbours alive.
    return {name: part.clone() for name, part in row.items()}


def together(rows: list[Row]) -> dict[str, Any]:
    """Rows of one family as a batch. Shorter prompts are padded with zeros and masked, as the pipelines do it."""
    named: dict[str, Any] = {}
    for name in rows[0]:
        parts = [row[name] for row in rows]
        lengths = [part.shape[1] for part in parts]
        if len(set(lengths)) > 1:
            longest = max(lengths)
            parts = [torch.nn.functional.pad(part, (0, 0, 0, longest - part.shape[1])) for part in parts]
            mask = [[1] * length + [0] * (longest - length) for length in lengths]
            named[MASK] = torch.tensor(mask, device=parts[0].device)
        named[name] = torch.cat(parts)
    return named


def _bytes(row: Row) -> int:
    return sum(part.numel() * part.element_size() for part in row.values())
