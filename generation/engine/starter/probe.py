"""The judge: a small classifier that names the scene in a picture, taught with painted scenes only."""

import itertools
import random

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from generation.engine.starter.autoencoder import CHANNELS
from generation.engine.starter.scenes import FACTORS, Scene, draw_split, paint
from generation.engine.starter.store import CELLS, encode

SCENES = 8_000
EPOCHS = 3
BATCH = 64
BLUR_NOISE = 0.15  # the judge must not lean on detail finer than a generated picture shows

Projection = tuple[torch.Tensor, torch.Tensor]


class Probe(nn.Module):
    """Latents (batch, 4, 32, 32) of a picture to logits for each factor."""

    def __init__(self) -> None:
        super().__init__()
        widths = (CHANNELS, 32, 64, 128, 128)
        layers: list[nn.Module] = []
        for index, (before, after) in enumerate(itertools.pairwise(widths)):
            layers += [
                nn.Conv2d(before, after, 3, stride=1 if index == 0 else 2, padding=1),
                nn.BatchNorm2d(after),
                nn.ReLU(),
            ]
        self.body = nn.Sequential(
            *layers, nn.Flatten(), nn.Linear(128 * (CELLS // 8) ** 2, 256), nn.ReLU(), nn.Dropout(0.2)
        )
        self.heads = nn.ModuleList([nn.Linear(256, len(names)) for names in FACTORS.values()])

    def forward(self, latents: torch.Tensor) -> list[torch.Tensor]:
        features = self.body(latents)
        return [head(features) for head in self.heads]

    @torch.no_grad()
    def name(self, latents: torch.Tensor) -> torch.Tensor:
        """(batch, factors) index of the most likely value of each factor."""
        return torch.stack([logits.argmax(1) for logits in self.eval()(latents)], 1)


def draw_painted(count: int, is_held_out: bool, seed: int, projection: Projection) -> tuple[torch.Tensor, torch.Tensor]:
    """Latents and labels of `count` painted scenes."""
    rng = random.Random(seed)
    scenes = [draw_split(rng, is_held_out) for _ in range(count)]
    latents = np.stack([encode(paint(scene, rng.randrange(1 << 30)), *projection) for scene in scenes])
    return torch.from_numpy(latents), labels_of(scenes)


def labels_of(scenes: list[Scene]) -> torch.Tensor:
    return torch.tensor([scene.labels() for scene in scenes])


def train_probe(projection: Projection, scenes: int = SCENES, seed: int = 77) -> Probe:
    torch.manual_seed(seed)
    latents, labels = draw_painted(scenes, False, seed, projection)
    probe, steps = Probe().train(), EPOCHS * (scenes // BATCH)
    optimizer = torch.optim.AdamW(probe.parameters(), lr=2e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps)
    for step in range(steps):
        if step % (scenes // BATCH) == 0:
            order = torch.randperm(scenes)
        chosen = order[(step % (scenes // BATCH)) * BATCH :][:BATCH]
        noisy = latents[chosen] + BLUR_NOISE * torch.randn_like(latents[chosen])
        loss = sum(functional.cross_entropy(logits, labels[chosen, k]) for k, logits in enumerate(probe(noisy)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return probe.eval()


def score(named: torch.Tensor, labels: torch.Tensor) -> dict[str, float]:
    """Share of right names per factor; subject and colour only where the prompt has a subject."""
    right, has_subject = named == labels, labels[:, 3] > 0
    shares = {}
    for index, factor in enumerate(FACTORS):
        counted = right[has_subject, index] if factor in ("subject", "colour") else right[:, index]
        shares[factor] = counted.float().mean().item()
    return shares
