"""What the tests of trainings share: painted pictures, trainings of the toys, a watcher that remembers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from generation.engine import Example, Training

WORD = "zuko"


class Notes:
    """A watcher that remembers everything, and may stop a training after a step."""

    def __init__(self, *, stop_at: int = 0, stop: Exception | None = None) -> None:
        self.losses: list[float] = []
        self.steps: list[int] = []
        self.checkpoints: dict[int, bytes] = {}
        self.samples: dict[int, list[np.ndarray]] = {}
        self._stop_at, self._stop = stop_at, stop

    def on_step(self, step: int, loss: float) -> None:
        self.steps.append(step)
        self.losses.append(loss)
        if step == self._stop_at and self._stop is not None:
            raise self._stop

    def on_checkpoint(self, step: int, checkpoint: bytes) -> None:
        self.checkpoints[step] = checkpoint

    def on_samples(self, step: int, pictures: list[np.ndarray]) -> None:
        self.samples[step] = pictures


def examples(folder: Path, count: int = 3, side: int = 64) -> tuple[Example, ...]:
    """Pictures of coloured halves."""
    folder.mkdir(parents=True, exist_ok=True)
    made = []
    for number in range(count):
        picture = np.zeros((side, side, 3), np.uint8)
        picture[:, : side // 2] = (250, 20 * number, 10)
        picture[side // 2 :] += 40
        Image.fromarray(picture).save(folder / f"{number}.png")
        made.append(Example(str(folder / f"{number}.png"), f"a {WORD} in red"))
    return tuple(made)


def toy_training(folder: Path, model: str = "tiny", **changes: Any) -> Training:
    """Two steps on a toy, large enough to be seen."""
    settings: dict[str, Any] = {
        "model": model,
        "examples": changes.get("examples") or examples(folder / "examples"),
        "steps": 2,
        "resolution": 64,
        "batch_size": 2,
        "rank": 4,
        "learning_rate": 0.5,
        "seed": 7,
        "trigger_word": WORD,
    }
    return Training(**(settings | changes))
