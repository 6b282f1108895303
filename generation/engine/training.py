"""Teaching a LoRA. Every training has a pipeline of its own, so that nothing it does can reach what others draw.

The same training gives the same weights: noise, order and first weights come from its seed alone, drawn anew for
every step, so that a resumed training needs no more than the weights, the optimizer's memory and the step's number.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path as File
from typing import Any

import torch

from generation.engine import (
    Batch,
    EngineError,
    ImageRequest,
    LoadedModel,
    LossDiverged,
    ModelUnavailable,
    Trained,
    Training,
    Watcher,
    lessons,
    loras,
)
from generation.engine.calls import call_arguments, to_pixels
from generation.engine.catalog import ENCODER_FAMILIES, GIB, ModelSpec
from generation.engine.checkpoints import Checkpoint, read_checkpoint, write_adapter, write_checkpoint
from generation.engine.framing import fit
from generation.engine.levers import denoiser_of
from generation.engine.objectives import FAMILIES, Asking, path_of
from generation.engine.words import Words, encode, together

NAME = "learning"
ENCODERS = ("text_encoder", "text_encoder_2")
# Where attention reads and mixes, and, in a UNet, what the words say to its convolutions; other networks have no
# modules of those names.
DENOISER_MODULES = (
    *("to_q", "to_k", "to_v", "to_out.0"),
    *("add_q_proj", "add_k_proj", "add_v_proj", "to_add_out"),
    *("time_emb_proj",),
)
ENCODER_MODULES = ("q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2")
WEIGHT_DECAY = 0.01
GRADIENT_MAX = 1.0
WARM_UP_STEPS = 10
ANCHOR_WEIGHT = 2.0  # of an answer that should stay, beside one that should change
# Recomputing what the backward pass needs costs a third more time; small models have the room.
CHECKPOINTED_FROM_BYTES = GIB
START_STEPS = 10  # whose mean loss is where a training began
DIVERGED_TIMES, DIVERGED_STEPS = 5.0, 10  # so far above it, on the mean of so many steps: it does not come back


class Lesson:
    """One training: the pipeline it wears its adapter on, what it learns from, and where it stands."""

    def __init__(self, pipe: Any, base: LoadedModel, spec: ModelSpec, training: Training, dtype: torch.dtype) -> None:
        self.pipe, self.base, self.spec, self.training = pipe, base, spec, training
        self.device = torch.device(pipe._execution_device)
        self.asking = Asking(pipe, spec.pipeline, training.resolution, dtype)
        self._prepare()
        self.weights = self._attach()
        self.optimizer = torch.optim.AdamW(
            list(self.weights.values()), training.learning_rate, weight_decay=WEIGHT_DECAY, fused=True
        )
        self.losses: list[float] = []

    # --- What is worked out once -----------------------------------------------------------------------------------
    def _prepare(self) -> None:
        pictures, self.captions = lessons.read_pictures(self.training)
        prompts = lessons.anchor_prompts(self.training, self.captions)
        self.prompts = [*self.captions, *prompts]
        with torch.no_grad():
            self.rows = [encode(self.pipe, self.spec, [prompt])[0] for prompt in self.prompts]
        self.latents = self.asking.pack(lessons.encode_pictures(self.pipe, pictures))
        self.path = path_of(self.pipe, self.latents.shape[1])
        bare = self.rows[len(self.captions) :]
        self.anchors = (
            lessons.ask_anchors(self.asking, self.path, bare, self.latents, self.training.seed) if bare else None
        )
        self.sampling = Words(self.pipe, self.spec, 0 if self.training.train_text_encoder else GIB)
        if not self.training.train_text_encoder:
            for batch in self._sample_batches():
                self.sampling.arguments(batch)
            for name in ENCODERS:  # several GiB that nothing asks for any more
                if getattr(self.pipe, name, None) is not None:
                    setattr(self.pipe, name, None)

    def _attach(self) -> dict[str, torch.nn.Parameter]:
        """The adapter, in float32, with weights from the seed or from the parent: by the names of its file."""
        from peft import LoraConfig

        training = self.training
        learning: dict[str, tuple[Any, tuple[str, ...]]] = {}
        learning["transformer" if self.asking.is_packed else "unet"] = (denoiser_of(self.pipe), DENOISER_MODULES)
        if training.train_text_encoder:
            learning |= {n: (getattr(self.pipe, n), ENCODER_MODULES) for n in ENCODERS if getattr(self.pipe, n, None)}
        weights: dict[str, torch.nn.Parameter] = {}
        for prefix, (module, targets) in learning.items():
            config = LoraConfig(r=training.rank, lora_alpha=training.rank, target_modules=_there(module, targets))
            module.requires_grad_(False)
            module.add_adapter(config, adapter_name=NAME)
            weights |= dict(_lora_weights(prefix, module))
        if self.spec.memory_bytes >= CHECKPOINTED_FROM_BYTES:
            denoiser_of(self.pipe).enable_gradient_checkpointing()
        self._begin(weights)
        return weights

    def _begin(self, weights: dict[str, torch.nn.Parameter]) -> None:
        parent = loras.read(File(self.training.parent), self.pipe, self.spec.name) if self.training.parent else None
        if parent is not None and {n: tuple(w.shape) for n, w in parent.items()} != {
            n: tuple(w.shape) for n, w in weights.items()
        }:
            raise ModelUnavailable("The version to start from has another rank, or another text encoder setting.")
        for place, (name, weight) in enumerate(weights.items()):
            weight.data = weight.data.float()
            if parent is not None:
                weight.data.copy_(parent[name])
            elif ".lora_B." in name:
                weight.data.zero_()
            else:  # as `torch.nn.Linear` begins: He et al. 2015, arXiv:1502.01852, with a = sqrt(5)
                bound = 1 / math.sqrt(weight[0].numel())
                drawn = torch.rand(weight.shape, generator=lessons.generator(self.training.seed, "weight", place))
                weight.data.copy_((drawn * 2 - 1) * bound)

    # --- One step ----------------------------------------------------------------------------------------------------
    def step(self, number: int) -> float:
        """Learn from one batch; the mean squared error of what should change. Chance depends on seed and number."""
        training, chance = self.training, lessons.generator(self.training.seed, "step", number)
        count = training.batch_size
        chosen = _dealt(training.seed, "order", len(self.captions), (number - 1) * count, count)
        clean = self.latents[chosen]
        noise = torch.randn(clean.shape, generator=chance).to(clean)
        levels = (torch.randperm(count, generator=chance) + torch.rand(count, generator=chance)) / count
        times = self.path.times(levels)
        noisy, wanted = self.path.noisy(clean, noise, times), self.path.answer(clean, noise, times)
        rows = list(chosen)
        if self.anchors is not None:
            kept = _dealt(training.seed, "anchors", len(self.anchors.words), (number - 1) * count, count)
            noisy, wanted = torch.cat((noisy, self.anchors.noisy[kept])), torch.cat((wanted, self.anchors.said[kept]))
            times = torch.cat((times, self.anchors.times[kept]))
            rows += [len(self.captions) + self.anchors.words[place] for place in kept]
        errors = (self.asking(noisy, times, self._words(rows)) - wanted).square().flatten(1).mean(1)
        (errors[:count].sum() + ANCHOR_WEIGHT * errors[count:].sum()).div(count).backward()
        self._turn(number)
        return float(errors[:count].detach().mean())

    def _words(self, rows: list[int]) -> dict[str, Any]:
        if not self.training.train_text_encoder:
            return together([self.rows[row] for row in rows])
        return together(encode(self.pipe, self.spec, [self.prompts[row] for row in rows]))

    def _turn(self, number: int) -> None:
        torch.nn.utils.clip_grad_norm_(list(self.weights.values()), GRADIENT_MAX)
        share = number / self.training.steps
        rate = (
            self.training.learning_rate * min(1.0, number / WARM_UP_STEPS) * (0.55 + 0.45 * math.cos(math.pi * share))
        )
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)

    def check_loss(self) -> None:
        """Raises: LossDiverged."""
        if not math.isfinite(self.losses[-1]):
            raise LossDiverged(f"The loss of step {len(self.losses)} is no number any more.")
        if len(self.losses) >= START_STEPS + DIVERGED_STEPS:
            start = sum(self.losses[:START_STEPS]) / START_STEPS
            now = sum(self.losses[-DIVERGED_STEPS:]) / DIVERGED_STEPS
            if now > DIVERGED_TIMES * start:
                raise LossDiverged(f"The loss rose from {start:.3g} to {now:.3g} by step {len(self.losses)}.")

    # --- What it shows and leaves ------------------------------------------------------------------------------------
    def _sample_batches(self) -> Iterator[Batch]:
        spec = self.spec
        for sample in self.training.samples:
            request = ImageRequest(sample.prompt, "", sample.seed)
            yield Batch(spec.name, *spec.default_size, spec.steps_default, spec.guidance_default, (request,))

    def draw_samples(self) -> list[Any]:
        """One picture per sample, as the model draws when nothing else is asked for."""
        pictures = []
        for batch in self._sample_batches():
            self.pipe.scheduler = type(self.pipe.scheduler).from_config(self.pipe.scheduler.config)
            with torch.no_grad():
                words = self.sampling.arguments(batch)
                drawn = self.pipe(**words, **call_arguments(batch, self.spec), output_type="pt").images
            pictures += to_pixels(fit(drawn, (batch.width, batch.height)))
        return pictures

    def checkpoint(self) -> bytes:
        # A weight no answer depends on has no memory: nobody reads what Qwen-Image's last block says to its words.
        means, squares = (
            {name: self.optimizer.state[w].get(key, torch.zeros_like(w)) for name, w in self.weights.items()}
            for key in ("exp_avg", "exp_avg_sq")
        )
        here = Checkpoint(len(self.losses), self.losses, dict(self.weights), means, squares)
        return write_checkpoint(here, self.identity)

    def resume(self, content: bytes) -> None:
        """Raises: EngineError, when the checkpoint is broken or belongs to another training."""
        shapes = {name: weight.shape for name, weight in self.weights.items()}
        there = read_checkpoint(content, self.identity, shapes)
        self.losses = list(there.losses)
        for name, weight in self.weights.items():
            weight.data.copy_(there.weights[name])
            self.optimizer.state[weight] = {
                "step": torch.tensor(float(there.step), device=weight.device),
                "exp_avg": there.means[name].to(weight.device),
                "exp_avg_sq": there.squares[name].to(weight.device),
            }

    @property
    def identity(self) -> str:
        """The same for every call that may go on with each other's checkpoints: files may have moved meanwhile."""
        same = replace(self.training, examples=(), samples=(), parent="", checkpoint_every=0, sample_every=0)
        told = [asdict(same), self.captions, bool(self.training.parent), self.base.revision]
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def check_training(training: Training, spec: ModelSpec) -> None:
    """Raises: EngineError, ValueError."""
    if spec.pipeline not in FAMILIES:
        raise EngineError(f"{spec.title} cannot be trained: no way is known for a {spec.pipeline}.")
    if training.train_text_encoder and spec.pipeline not in ENCODER_FAMILIES:
        raise EngineError(f"The text encoder of {spec.title} cannot be trained; train without it.")
    if not (1 <= training.rank <= loras.RANK_MAX and training.steps >= 1 and 1 <= training.batch_size <= 16):
        raise ValueError(f"a training has 1 step or more, rank 1 to {loras.RANK_MAX} and batches of 1 to 16")
    if not (64 <= training.resolution <= 2048 and training.resolution % 16 == 0):
        raise ValueError("a training's resolution is 64 to 2048 px, and a multiple of 16")
    if not 0 < training.learning_rate < math.inf:
        raise ValueError("a learning rate is above 0")


def precision(device: str) -> torch.dtype:
    """Half precision with the range of whole one, where the device computes in it; see also `loading`."""
    is_half = device != "cpu" and torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.bfloat16 if is_half else torch.float32


def follow(lesson: Lesson, watcher: Watcher, resume: bytes) -> Trained:
    """Make the steps that are left. Whatever the watcher raises comes out."""
    training = lesson.training
    if resume:
        lesson.resume(resume)
    before = len(lesson.losses)
    for number in range(before + 1, training.steps + 1):
        lesson.losses.append(lesson.step(number))
        lesson.check_loss()
        watcher.on_step(number, lesson.losses[-1])
        if training.samples and _is_sampled(training, number):
            watcher.on_samples(number, lesson.draw_samples())
        if training.checkpoint_every and number % training.checkpoint_every == 0 and number < training.steps:
            watcher.on_checkpoint(number, lesson.checkpoint())
    made = lesson.losses[before:] or lesson.losses[-1:]
    tenth = max(1, len(made) // 10)
    return Trained(
        adapter=write_adapter(lesson.weights, lesson.base, training),
        base_revision=lesson.base.revision,
        loss_first=sum(made[:tenth]) / tenth,
        loss_last=sum(made[-tenth:]) / tenth,
    )


def _is_sampled(training: Training, step: int) -> bool:
    every = training.sample_every
    return every > 0 and (step % every == 0 or step == training.steps)


def _there(module: torch.nn.Module, endings: tuple[str, ...]) -> list[str]:
    """Which of these modules there are."""
    names = [name for name, _ in module.named_modules()]
    return [ending for ending in endings if any(name == ending or name.endswith("." + ending) for name in names)]


def _lora_weights(prefix: str, module: torch.nn.Module) -> Iterator[tuple[str, torch.nn.Parameter]]:
    for name, weight in module.named_parameters():
        if f".lora_A.{NAME}." in name or f".lora_B.{NAME}." in name:
            yield f"{prefix}.{name.replace(f'.{NAME}.', '.')}", weight


def _dealt(seed: int, purpose: str, cards: int, first: int, count: int) -> list[int]:
    """`count` cards from place `first` on, of decks that are shuffled one after the other."""
    dealt, deck, shuffled = [], -1, []
    for place in range(first, first + count):
        if place // cards != deck:
            deck = place // cards
            shuffled = torch.randperm(cards, generator=lessons.generator(seed, purpose, deck)).tolist()
        dealt.append(shuffled[place % cards])
    return dealt
