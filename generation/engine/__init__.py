"""What the rest of the product knows about making pictures: requests in, pixels out.

This module is the protocol and is pure standard library: the web imports it, and must not import torch by
doing so. `build` is the only door to the part that needs torch.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np


class Canceled(Exception):
    """Raised by `on_step` to stop a batch. `generate` stops at once, decodes nothing and lets it through."""


class EngineError(Exception):
    """The engine could not make the pictures; `str(error)` says why, without the prompt."""


class OutOfMemory(EngineError):
    """The batch does not fit on the device. A smaller one may."""


class ModelUnavailable(EngineError):
    """The model is not in the catalogue, not installed, or not what `models.lock` says. Retrying does not help."""


class TooFewPictures(EngineError):
    """Not enough of the examples can be learned from."""


class LossDiverged(EngineError):
    """The training ran away: its loss is no number any more, or far above where it began."""


class DeviceLost(EngineError):
    """The device answers no call of this process any more. Only a new process gets it back."""


class BrokenPictures(EngineError):
    """Some requests of a batch gave numbers that are no picture. `pictures` has the others, None in their places."""

    def __init__(self, pictures: list[np.ndarray | None]) -> None:
        first = [picture is None for picture in pictures].index(True) + 1
        super().__init__(f"The model produced no picture for request {first} of {len(pictures)}.")
        self.pictures = pictures


@dataclass(frozen=True, slots=True)
class ImageRequest:
    """One picture. The same request in the same `Batch` settings gives the same picture, whoever shares the batch."""

    prompt: str
    negative_prompt: str
    seed: int


@dataclass(frozen=True, slots=True)
class Lora:
    """Weights on top of a model's own, for one batch: a safetensors file on this machine, and how much of it."""

    path: str
    scale: float = 1.0


@dataclass(frozen=True, slots=True)
class Batch:
    """Pictures that share one run of the model. Only prompt, negative prompt and seed differ between them."""

    model: str
    width: int
    height: int
    num_inference_steps: int
    guidance_scale: float
    requests: tuple[ImageRequest, ...]
    adapters: tuple[Lora, ...] = ()


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a batch is done.

    `preview` makes the rough pictures when it is called, a few milliseconds each: (height, width, 3) uint8, one
    per request, one latent cell per pixel (an eighth or sixteenth of the final side). It may be called later
    and from another thread; it then still shows this step.
    """

    done: int
    total: int
    preview: Callable[[], list[np.ndarray]]


@dataclass(frozen=True, slots=True)
class Example:
    """A picture to learn from, and the words that go with it."""

    path: str  # of a PNG that we encoded ourselves
    caption: str  # with the trigger word in it


@dataclass(frozen=True, slots=True)
class Sample:
    """A picture to draw from time to time while a model learns, always from the same noise."""

    prompt: str
    seed: int


@dataclass(frozen=True, slots=True)
class Training:
    """Everything that a training depends on. The same one gives the same weights on the same hardware."""

    model: str  # of the catalogue
    examples: tuple[Example, ...]
    steps: int
    resolution: int  # pixels of the square that pictures are cut to
    batch_size: int
    rank: int
    learning_rate: float
    seed: int
    train_text_encoder: bool = False
    # Part of every batch are the captions without it, towards what the model says to them anyway; empty: it may drift.
    trigger_word: str = ""
    parent: str = ""  # an adapter of ours to start from: the path of its file
    checkpoint_every: int = 0  # steps; 0: never
    sample_every: int = 0  # and after the last step; 0: never
    samples: tuple[Sample, ...] = ()


class Watcher(Protocol):
    """Whoever follows a training. Called on the calling thread; an exception ends the training and comes out of it."""

    def on_step(self, step: int, loss: float) -> None:
        """After every step, counted from 1, those before a resumed checkpoint included. May raise `Canceled`."""
        ...

    def on_checkpoint(self, step: int, checkpoint: bytes) -> None:
        """Everything that `resume` needs to go on after `step` as if nothing had happened; a safetensors file."""
        ...

    def on_samples(self, step: int, pictures: list[np.ndarray]) -> None:
        """One (height, width, 3) uint8 picture for each of the training's samples, drawn with the weights so far."""
        ...


@dataclass(frozen=True, slots=True)
class Trained:
    """What came of a training: a LoRA as a safetensors file, readable by `Lora`."""

    adapter: bytes
    base_revision: str
    loss_first: float  # means over the first and the last tenth of the steps that were made in this call
    loss_last: float


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model that is resident: which weights, what the load took, what they hold on the device."""

    name: str
    revision: str
    seconds: float
    bytes: int


class Engine(Protocol):
    """One device. Safe to call from several threads; calls that use the device take turns."""

    device: str
    hardware: str  # what is measured on one holds for all of the same name: "NVIDIA H200"
    memory_bytes: int  # of the device, in all; 0: not known

    def load(self, model: str) -> LoadedModel:
        """Make `model` resident. A repeated call returns the first answer and costs nothing.

        Raises:
            ModelUnavailable: not in the catalogue, not installed, or its files differ from `models.lock`.
            OutOfMemory: the weights do not fit on the device.
        """
        ...

    def is_loaded(self, model: str) -> bool: ...

    def unload(self, model: str) -> None:
        """Give a model's memory back. Waits for its turn; a model that is not resident changes nothing."""
        ...

    def resident(self) -> list[LoadedModel]:
        """The models that are resident, in the order they were loaded."""
        ...

    def bucket(self, model: str, request: ImageRequest) -> int:
        """Requests of one number may share a batch at full speed. 0 where a prompt's length costs nothing, and for a
        model that is not resident."""
        ...

    def prepare(self, batch: Batch) -> None:
        """Encode the prompts of a batch that `generate` will be asked for next, while another one is being drawn.

        Safe to call from another thread, and only worth something there. Does nothing where it would have to wait for
        the device, or where the model is not resident.
        """
        ...

    def generate(self, batch: Batch, on_step: Callable[[Step], None]) -> list[np.ndarray]:
        """Make one picture per request, in request order, loading the model when it is not resident.

        Args:
            batch: settings within the limits of the model's catalogue entry.
            on_step: called after every denoising step, on the calling thread. May raise `Canceled`; any exception
                it raises ends the batch and comes out of this function.

        Returns:
            (height, width, 3) uint8 RGB, 0 to 255, on the host. Each depends on its own request and on size, steps,
            guidance and model; on the CPU not on the rest of the batch, to one level of 255.

        Raises:
            Canceled: `on_step` asked for it.
            OutOfMemory: the batch does not fit.
            ModelUnavailable: as `load`.
            BrokenPictures: the model produced numbers that are no picture for some of the requests.
            DeviceLost: the device is of no more use to this process.
            EngineError: anything else that has a sentence.
            ValueError: the batch asks for something the catalogue does not offer.
        """
        ...

    def train(self, training: Training, watcher: Watcher, *, resume: bytes = b"") -> Trained:
        """Learn a LoRA from the examples, loading the model when it is not resident. The device is its own meanwhile.

        Whatever happens, `generate` draws afterwards what it would have drawn before.

        Args:
            resume: what `on_checkpoint` was given in an earlier call with the same `training`, on the same kind of
                hardware; the weights are those that the whole training would have had, on the CPU to the last bit.

        Raises:
            TooFewPictures: fewer than `lessons.PICTURES_MIN` of the examples can be read.
            OutOfMemory: a smaller batch, rank or resolution may fit.
            LossDiverged: a smaller learning rate may help.
            ModelUnavailable: as `load`; or `parent` is no adapter of this model.
            DeviceLost: the device is of no more use to this process.
            EngineError: the model cannot be trained this way, or `resume` belongs to another training.
            ValueError: the training asks for something no model offers.
        """
        ...


def build(
    device: str,
    *,
    models_dir: Path | str | None = None,
    lock_file: Path | str | None = None,
    threads: int | None = None,
    channels_last: bool = True,
    compile_blocks: bool = False,
    attention: str = "",
    precision: str = "",
    prompt_cache_bytes: int = 64 * 2**20,
    loras_max: int = 8,
) -> Engine:
    """Make the engine of one device. Imports torch, and nothing of diffusers until a model is loaded.

    Args:
        device: "cpu", "cuda" or "cuda:1".
        models_dir: where fetched models lie; default `TENKAIGEN_MODELS_DIR`, else `var/models`. The shipped model
            comes from the package.
        lock_file: default `models.lock` beside the packages.
        threads: CPU threads of torch; default torch's own choice. Process-wide.
        channels_last: memory layout of the convolutions. On a 2-core CPU and a UNet of the starter's shape it takes
            0.84 of the time for 4 pictures of 256 px, 0.91 for one of 512 px, 1.0 for one of 256 px (medians of 6
            interleaved runs of `generate`).
        compile_blocks: compile the block that a denoiser repeats. Pays on an accelerator; the first picture of a size
            waits for the compiler.
        attention: a kernel of this machine, see `levers.ATTENTION`; empty: torch's own choice.
        precision: empty, as the catalogue says. Others are refused with the reason.
        prompt_cache_bytes: encoded prompts that are kept on the device, per model; 0: none, and `prepare` does nothing.
        loras_max: LoRA files kept beside the weights of a model.

    Raises:
        EngineError: torch does not offer that device, or a lever is not one.
    """
    # Threads that wait for each other by spinning starve each other as soon as anything else wants the cores: with two
    # threads on two busy cores a picture took 8 to 22 s, with this 1.1 s. Has to be said before torch is imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from generation.engine.loading import Shelf, collector_paused

    with collector_paused():
        from generation.engine.diffusion import DiffusionEngine
        from generation.engine.levers import Levers
    levers = Levers(channels_last, compile_blocks, attention, precision, prompt_cache_bytes, loras_max)
    return DiffusionEngine(device, Shelf.at(models_dir, lock_file), threads=threads, levers=levers)
