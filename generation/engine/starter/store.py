"""Fresh pictures while training runs: a painter process fills ring files that the trainer reads.

`latents` holds many pictures as half-precision latents with their labels, `pictures` the newest ones as pixels for the
decoder. Every slot is written before `painted` counts it. Files stay, so a resumed run starts with a full store.
"""

import multiprocessing
import os
import random
import time
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path

import numpy as np
import torch

from generation.engine.starter.autoencoder import CHANNELS, PATCH, patches_of
from generation.engine.starter.scenes import FACTORS, SIDE, Scene, draw_split, paint

CELLS = SIDE // PATCH
USES_PER_PICTURE = 4  # the painter rests while pictures have been seen less often than this
HEAD_START = 6000


@dataclass(frozen=True)
class Sizes:
    latents: int = 48_000
    pictures: int = 1_200


class Store:
    """The ring files of one training folder, as memory maps shared by painter and trainer."""

    def __init__(self, folder: Path, sizes: Sizes) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.sizes = folder, sizes
        self.latents = self._map("latents.f16", np.float16, (sizes.latents, CHANNELS, CELLS, CELLS))
        self.labels = self._map("labels.u8", np.uint8, (sizes.latents, len(FACTORS)))
        self.pictures = self._map("pictures.u8", np.uint8, (sizes.pictures, SIDE, SIDE, 3))
        self.counters = self._map("counters.i64", np.int64, (2,))  # painted, wanted

    def _map(self, name: str, kind: type, shape: tuple[int, ...]) -> np.memmap:
        path, size = self.folder / name, int(np.prod(shape)) * np.dtype(kind).itemsize
        if not path.exists() or path.stat().st_size != size:
            with path.open("wb") as file:
                file.truncate(size)
        return np.memmap(path, kind, "r+", shape=shape)

    @property
    def painted(self) -> int:
        return int(self.counters[0])

    def want(self, count: int) -> None:
        self.counters[1] = count

    def scene(self, slot: int) -> Scene:
        return Scene(*(names[value] for names, value in zip(FACTORS.values(), self.labels[slot], strict=True)))

    def add(self, latents: np.ndarray, scene: Scene, picture: np.ndarray) -> None:
        number = self.painted
        self.latents[number % self.sizes.latents] = latents
        self.labels[number % self.sizes.latents] = scene.labels()
        self.pictures[number % self.sizes.pictures] = picture
        self.counters[0] = number + 1

    def draw_crops(self, rng: np.random.Generator, count: int, side: int) -> torch.Tensor:
        """(count, 3, side, side) float in 0 to 1, cut from the newest pictures, mostly on the latent grid."""
        held = min(self.painted, self.sizes.pictures)
        crops = np.empty((count, side, side, 3), np.uint8)
        for index in range(count):
            step = 1 if rng.random() < 0.2 else PATCH
            top, left = (int(rng.integers((SIDE - side) // step + 1)) * step for _ in range(2))
            crops[index] = self.pictures[rng.integers(held), top : top + side, left : left + side]
        return torch.from_numpy(crops).permute(0, 3, 1, 2).float() / 255


def encode(picture: np.ndarray, projection: torch.Tensor, bias: torch.Tensor) -> np.ndarray:
    """Latents (4, height / 8, width / 8) of one (height, width, 3) uint8 picture."""
    tensor = torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 255
    return (patches_of(tensor) @ projection + bias)[0].permute(2, 0, 1).numpy()


def _paint_forever(folder: Path, sizes: Sizes, projection: torch.Tensor, bias: torch.Tensor, parent: int) -> None:
    torch.set_num_threads(1)
    store = Store(folder, sizes)
    while os.getppid() == parent:  # a killed trainer leaves no painter behind
        number = store.painted
        if number >= max(HEAD_START, store.counters[1]):
            time.sleep(0.2)
            continue
        scene = draw_split(random.Random(number), is_held_out=False)
        picture = paint(scene, number)
        store.add(encode(picture, projection, bias), scene, picture)


def start_painter(store: Store, projection: torch.Tensor, bias: torch.Tensor) -> BaseProcess:
    context = multiprocessing.get_context("spawn")
    arguments = (store.folder, store.sizes, projection, bias, os.getpid())
    painter = context.Process(target=_paint_forever, args=arguments, daemon=True)
    painter.start()
    return painter
