"""Training of the starter model, from nothing to a weights folder, on a CPU or a GPU.

Run it with `manage.py train_starter` or `python -m generation.engine.starter.train`. It ends by itself after the given
minutes and resumes from `state.pt` when started again: the minutes already spent count.
"""

import argparse
import logging
import math
import os
import random
import signal
import threading
import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"  # before diffusers: a mistyped folder must never become a look-up

import numpy as np
import torch
from torch import nn

from generation.engine.starter import autoencoder, text
from generation.engine.starter.captions import caption, meaningless
from generation.engine.starter.diffusion import WIDTHS, Average, build_scheduler, build_unet, velocity_loss
from generation.engine.starter.evaluate import contact_sheet
from generation.engine.starter.parallel import Gang
from generation.engine.starter.pipeline import assemble, publish
from generation.engine.starter.prepare import prepare_projection, prepare_text
from generation.engine.starter.scenes import Scene, draw_split, paint
from generation.engine.starter.store import USES_PER_PICTURE, Sizes, Store, encode, start_painter

logger = logging.getLogger(__name__)
WARM_UP_STEPS = 200
EMPTY_SHARE = 0.1
DECODER_SHARE = 0.1  # of all minutes, spent evenly over the first half
DECODER_CROP, DECODER_BATCH = 128, 8
LANDSCAPE_SHARE, SEARCH_MAX = 0.2, 20
LARGE_FROM = 0.85  # of all minutes: from here on some batches are larger than 256 x 256
LARGE_EVERY = 12
LARGE_BATCH = {(384, 256): 20, (256, 384): 20, (384, 384): 14, (384, 512): 10, (512, 384): 10, (512, 512): 8}


@dataclass(frozen=True)
class Plan:
    minutes: float
    out: Path
    device: str = "cpu"
    batch: int = 32
    learning_rate: float = 1.5e-3
    snapshot_minutes: float = 10
    publish_to: Path | None = None
    steps_max: int | None = None
    text_steps: int = text.STEPS
    widths: tuple[int, ...] = WIDTHS
    sizes: Sizes = field(default_factory=Sizes)
    sheet: bool = True
    workers: int = 2


class Trainer:
    """All state of one run. `state.pt` holds what a resumed run needs to go on as if nothing had happened."""

    def __init__(self, plan: Plan) -> None:
        self.plan, self.device = plan, torch.device(plan.device)
        plan.out.mkdir(parents=True, exist_ok=True)
        self.tokenizer, self.encoder = prepare_text(plan.out / "text", self.device, plan.text_steps)
        self.projection, self.bias = prepare_projection(plan.out / "projection.pt")
        self.vae = autoencoder.build_autoencoder()
        autoencoder.install_projection(self.vae, self.projection, self.bias)
        autoencoder.start_decoder(self.vae, self.projection, self.bias)
        self.vae.to(self.device, memory_format=torch.channels_last)  # a third faster than the default layout
        self.gang = Gang(plan.workers)
        self.unet = build_unet(self.plan.widths).to(self.device)
        self.average = Average(self.unet)
        options = {"betas": (0.9, 0.99), "weight_decay": 0.01, "fused": True}
        self.optimizer = torch.optim.AdamW(self.unet.parameters(), lr=plan.learning_rate, **options)
        self.decoder_optimizer = torch.optim.AdamW(self.vae.decoder.parameters(), lr=2e-3, **options)
        self.alphas = build_scheduler().alphas_cumprod.to(self.device)
        self.step, self.seen, self.seconds = 0, 0, 0.0
        self.decoder_step, self.decoder_seconds = 0, 0.0
        self.is_stopping = False
        self._resume()
        self.store = Store(plan.out, plan.sizes)

    @property
    def _modules(self) -> dict[str, nn.Module | torch.optim.Optimizer]:
        return {
            "unet": self.unet,
            "vae": self.vae,
            "optimizer": self.optimizer,
            "decoder_optimizer": self.decoder_optimizer,
        }

    _COUNTERS = ("step", "seen", "decoder_step", "seconds", "decoder_seconds")

    def _resume(self) -> None:
        path = self.plan.out / "state.pt"
        if not path.is_file():
            return
        state = torch.load(path, map_location=self.device, weights_only=True)
        for name, module in self._modules.items():
            module.load_state_dict(state[name])
        self.average.parameters = state["average"]
        for name in self._COUNTERS:
            setattr(self, name, state[name])
        logger.info("resumed at step %d after %.1f minutes", self.step, self.seconds / 60)

    def save(self) -> None:
        state = {name: module.state_dict() for name, module in self._modules.items()}
        state |= {name: getattr(self, name) for name in self._COUNTERS} | {"average": self.average.parameters}
        fresh = self.plan.out / "state.fresh"
        torch.save(state, fresh)
        fresh.rename(self.plan.out / "state.pt")

    @property
    def progress(self) -> float:
        """Share of the run that is over, 0 to 1."""
        return min(1.0, self.seconds / (self.plan.minutes * 60))

    def learning_rate(self) -> float:
        """Warm up, hold, and fall on a cosine over the last half of the time."""
        fall = max(0.0, (self.progress - 0.5) / 0.5)
        share = 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * fall))
        return self.plan.learning_rate * share * min(1.0, (self.step + 1) / WARM_UP_STEPS)

    def _captions(self, slots: list[int], rng: random.Random) -> list[str]:
        return [self._caption_of(self.store.scene(slot), rng) for slot in slots]

    def _caption_of(self, scene: Scene, rng: random.Random) -> str:
        if rng.random() >= EMPTY_SHARE:
            return caption(scene, rng)
        return "" if rng.random() < 0.5 else meaningless(rng)

    def _draw(self, rng: random.Random) -> tuple[torch.Tensor, list[str]]:
        """Latents (batch, 4, 32, 32) with captions; late in the run sometimes a few larger ones painted on the spot."""
        if self.progress > LARGE_FROM and self.step % LARGE_EVERY == 0:
            size = rng.choice(tuple(LARGE_BATCH))
            scenes = [draw_split(rng, False) for _ in range(LARGE_BATCH[size])]
            pictures = [paint(scene, rng.randrange(1 << 30), size) for scene in scenes]
            latents = np.stack([encode(picture, self.projection, self.bias) for picture in pictures])
            return torch.from_numpy(latents), [self._caption_of(scene, rng) for scene in scenes]
        held = min(self.store.painted, self.plan.sizes.latents)
        slots = [self._slot(held, rng) for _ in range(self.plan.batch)]
        return torch.from_numpy(self.store.latents[slots].astype(np.float32)), self._captions(slots, rng)

    def _slot(self, held: int, rng: random.Random) -> int:
        """A random picture; landscapes are drawn more often than painted, because people ask for them more often."""
        slot, wants_landscape = rng.randrange(held), rng.random() < LANDSCAPE_SHARE
        for _ in range(SEARCH_MAX if wants_landscape else 0):
            if self.store.scene(slot).subject == "nothing":
                break
            slot = rng.randrange(held)
        return slot

    def train_unet(self) -> float:
        latents, captions = self._draw(random.Random(self.step))
        ids = text.tokenize(self.tokenizer, captions)

        workers = self.gang.free()

        def share(index: int) -> torch.Tensor:
            part = slice(index, None, workers)
            generator = torch.Generator().manual_seed(self.step * workers + index)
            with torch.no_grad():
                features = self.encoder(ids[part].to(self.device))[0]
            return velocity_loss(self.unet, latents[part].to(self.device), features, self.alphas, generator)

        self.optimizer.param_groups[0]["lr"] = self.learning_rate()
        losses = [partial(share, index) for index in range(workers)]
        loss = self.gang.backward(list(self.unet.parameters()), losses)
        nn.utils.clip_grad_norm_(self.unet.parameters(), 1.0)
        self.optimizer.step()
        self.step += 1
        self.average.update(self.unet, self.step)
        self.seen += len(captions)
        self.store.want(self.seen // USES_PER_PICTURE + self.plan.sizes.pictures)
        return loss

    def train_decoder(self) -> float:
        rng = np.random.default_rng(self.decoder_step)
        crops = self.store.draw_crops(rng, DECODER_BATCH, DECODER_CROP).to(self.device)
        projection, bias = self.projection.to(self.device), self.bias.to(self.device)
        workers = self.gang.free()
        left = max(0.0, 1 - self.decoder_seconds / (DECODER_SHARE * self.plan.minutes * 60))
        self.decoder_optimizer.param_groups[0]["lr"] = 2e-3 * min(1, (self.decoder_step + 1) / 50) * (left + 0.02)

        def share(index: int) -> torch.Tensor:
            with torch.autocast(self.device.type, torch.bfloat16):
                return autoencoder.decoder_loss(self.vae, crops[index::workers], projection, bias)

        losses = [partial(share, index) for index in range(workers)]
        loss = self.gang.backward(list(self.vae.decoder.parameters()), losses)
        nn.utils.clip_grad_norm_(self.vae.decoder.parameters(), 0.5)
        self.decoder_optimizer.step()
        self.decoder_step += 1
        return loss

    def is_decoder_due(self) -> bool:
        share = DECODER_SHARE * 2 * min(self.progress, 0.5)
        return self.decoder_seconds < share * self.plan.minutes * 60

    def snapshot(self) -> None:
        """Save the state, publish the averaged weights and draw the contact sheet of fixed prompts and seeds."""
        self.save()
        averaged = build_unet(self.plan.widths).to(self.device)
        self.average.copy_to(averaged)
        pipe = assemble(self.vae, self.encoder, self.tokenizer, averaged.eval())
        if self.plan.sheet:
            contact_sheet(pipe).save(self.plan.out / f"sheet-{round(self.seconds / 60):03d}.png")
        vae = autoencoder.build_autoencoder()
        vae.load_state_dict(self.vae.state_dict())
        encoder = text.build_text_encoder(self.tokenizer)
        encoder.load_state_dict(self.encoder.state_dict())
        copy = assemble(vae, encoder, self.tokenizer, averaged.cpu())
        for folder in (self.plan.out / "pipeline", self.plan.publish_to):
            if folder:
                publish(copy, folder)

    def run(self) -> None:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, self._stop_soon)
        painter = start_painter(self.store, self.projection, self.bias)
        try:
            self._wait_for_pictures()
            self._loop()
            if self.is_stopping:
                self.save()
            else:
                self.snapshot()
        finally:
            painter.terminate()
            painter.join()

    def _stop_soon(self, *_: object) -> None:
        """A terminated run still saves its state; it goes on from there when started again."""
        self.is_stopping = True

    def _wait_for_pictures(self) -> None:
        while self.store.painted < min(self.plan.sizes.pictures, 500):
            time.sleep(0.1)

    def _is_over(self) -> bool:
        return (
            self.is_stopping
            or self.progress >= 1
            or (self.plan.steps_max is not None and self.step >= self.plan.steps_max)
        )

    def _loop(self) -> None:
        last = logged = snapped = time.monotonic()
        losses: dict[str, list[float]] = {"unet": [], "decoder": []}
        while not self._is_over():
            kind = "decoder" if self.is_decoder_due() else "unet"
            losses[kind].append(self.train_decoder() if kind == "decoder" else self.train_unet())
            now = time.monotonic()
            self.seconds += now - last
            self.decoder_seconds += now - last if kind == "decoder" else 0
            last = now
            if now - logged > 60:
                self._log(losses)
                losses, logged = {"unet": [], "decoder": []}, now
            if now - snapped > self.plan.snapshot_minutes * 60:
                self.snapshot()
                last = snapped = time.monotonic()

    def _log(self, losses: dict[str, list[float]]) -> None:
        means = {kind: float(np.mean(values)) if values else 0.0 for kind, values in losses.items()}  # 0: it rested
        logger.info(
            "minute %.1f step %d (%d this minute) seen %d loss %.4f; decoder step %d loss %.4f; painted %d",
            *(self.seconds / 60, self.step, len(losses["unet"]), self.seen, means["unet"]),
            *(self.decoder_step, means["decoder"], self.store.painted),
        )


def train(plan: Plan) -> None:
    torch.manual_seed(0)
    if plan.device == "cpu":
        torch.set_num_threads(1)  # the gang works side by side instead
    Trainer(plan).run()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, required=True, help="of training in all, resumed ones included")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path, default=Path("var/starter"), help="state, logs and snapshots")
    parser.add_argument("--publish", type=Path, help="weights folder to refresh at every snapshot")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--workers", type=int, default=2, help="half batches side by side; 1 on a GPU")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    options = vars(arguments)
    train(Plan(publish_to=options.pop("publish"), **options))


if __name__ == "__main__":
    main()
