"""The text encoder: taught to name the scene before the UNet sees it, then frozen.

Trained together with the UNet it stays deaf for tens of thousands of pictures; taught first, the UNet is
handed features in which style, time, place, subject and colour already lie apart.
"""

import logging
import random
import time

import torch
from torch import nn
from torch.nn import functional
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from generation.engine.starter.captions import caption
from generation.engine.starter.scenes import FACTORS, draw_split
from generation.engine.starter.tokenizer import TOKENS_MAX

logger = logging.getLogger(__name__)
WIDTH = 128
LAYERS = 3
BATCH = 96
STEPS = 500
LEARNING_RATE = 2e-3


def build_text_encoder(tokenizer: CLIPTokenizer) -> CLIPTextModel:
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=WIDTH,
        intermediate_size=WIDTH * 3,
        num_hidden_layers=LAYERS,
        num_attention_heads=4,
        max_position_embeddings=TOKENS_MAX,
        hidden_act="gelu",
        projection_dim=WIDTH,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    return CLIPTextModel(config)


def tokenize(tokenizer: CLIPTokenizer, texts: list[str]) -> torch.Tensor:
    """(batch, TOKENS_MAX) int64 token ids, padded and cut to length."""
    padded = tokenizer(texts, padding="max_length", truncation=True, max_length=TOKENS_MAX, return_tensors="pt")
    return padded.input_ids


def _last(ids: torch.Tensor, end: int) -> torch.Tensor:
    """Index of the first end marker: with a causal mask the first position that has read the whole text."""
    return (ids == end).int().argmax(1)


class Naming(nn.Module):
    """Linear heads that read each factor off the text features, at the end marker and at the mean of all positions."""

    def __init__(self) -> None:
        super().__init__()
        self.heads = nn.ModuleList([nn.Linear(WIDTH, len(names)) for names in FACTORS.values()])

    def forward(self, features: torch.Tensor) -> list[torch.Tensor]:
        return [head(features) for head in self.heads]


def _draw_batch(
    tokenizer: CLIPTokenizer, rng: random.Random, is_held_out: bool, size: int
) -> tuple[torch.Tensor, torch.Tensor]:
    scenes = [draw_split(rng, is_held_out) for _ in range(size)]
    ids = tokenize(tokenizer, [caption(scene, rng) for scene in scenes])
    return ids, torch.tensor([scene.labels() for scene in scenes])


def teach_naming(
    encoder: CLIPTextModel, tokenizer: CLIPTokenizer, device: torch.device, steps: int = STEPS, seed: int = 0
) -> list[float]:
    """Train the encoder to name every factor; returns its accuracy per factor on held-out meanings."""
    torch.manual_seed(seed)
    rng, naming = random.Random(seed), Naming().to(device)
    encoder.to(device).train()
    parameters = [*encoder.parameters(), *naming.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=LEARNING_RATE, betas=(0.9, 0.99), weight_decay=0.01)
    started = time.monotonic()
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = LEARNING_RATE * min(1, (step + 1) / 50) * (1 - step / steps) + 1e-5
        ids, labels = (tensor.to(device) for tensor in _draw_batch(tokenizer, rng, False, BATCH))
        hidden = encoder(ids)[0]
        at_end = hidden[torch.arange(BATCH, device=device), _last(ids, tokenizer.eos_token_id)]
        loss = sum(
            functional.cross_entropy(logits, labels[:, factor]) * weight
            for features, weight in ((at_end, 1.0), (hidden.mean(1), 0.5))
            for factor, logits in enumerate(naming(features))
        )
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        if step % 100 == 0:
            logger.info("text step %d of %d, loss %.3f, %.0f s", step, steps, loss.item(), time.monotonic() - started)
    encoder.eval().requires_grad_(False)
    return _measure(encoder, naming, tokenizer, device)


@torch.no_grad()
def _measure(encoder: CLIPTextModel, naming: Naming, tokenizer: CLIPTokenizer, device: torch.device) -> list[float]:
    ids, labels = (tensor.to(device) for tensor in _draw_batch(tokenizer, random.Random(99), True, 500))
    hidden = encoder(ids)[0]
    at_end = hidden[torch.arange(len(ids), device=device), _last(ids, tokenizer.eos_token_id)]
    return [(logits.argmax(1) == labels[:, k]).float().mean().item() for k, logits in enumerate(naming(at_end))]
