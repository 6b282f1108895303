"""What the product adds to a bare diffusers and peft loop, and what switching adapters costs a queue of pictures.

    python benchmarks/training.py [--rounds 9] [--steps 6] [--images 4] [--processor]

Both loops teach the same modules of the starter at the same rank, rows and size, on latents and captions that were
encoded before. The bare one takes its turns inside the watcher of `Engine.train`, every few steps. The queue asks for
batches of one adapter each, as a claim groups them, of adapters that the engine has loaded before.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as `build` does; here torch is imported before
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
from safetensors.torch import load as tensors_of

from benchmarks.support import figures
from generation.engine import Batch, ImageRequest, Lora, ModelUnavailable, Training, build, catalog, lessons
from generation.engine.diffusion import DiffusionEngine
from generation.engine.levers import Levers
from generation.engine.loading import Shelf, load
from generation.engine.training import DENOISER_MODULES
from tests.engine.learning import WORD, Notes, examples

MODEL = "starter"
ADAPTERS = 4
ROWS = 4  # of pictures in a batch, and as many of anchors
RANK, RATE = 8, 1e-3
TRAINING_BAR, SWITCH_BAR = 0.97, 1.15
Clock = Callable[[], float]


def main() -> int:
    parser = figures.arguments(__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--steps", type=int, default=6, help="of each loop in a round")
    parser.add_argument("--side", type=int, default=256, help="of what is learned, in pixels")
    parser.add_argument("--images", type=int, default=4, help="of each adapter in the queue")
    parser.add_argument("--processor", action="store_true", help="count processor time: others use this machine")
    options = parser.parse_args()
    clock = time.process_time if options.processor else time.perf_counter
    if options.quick:
        options.rounds, options.steps, options.images, options.side = 1, 1, 1, 64
    report = figures.Report(f"training and adapters: {MODEL} on cpu{', processor time' * options.processor}")
    engine = build("cpu")
    try:
        engine.load(MODEL)
    except ModelUnavailable as error:
        report.skip(MODEL, error)
        return report.end(is_strict=options.strict)
    with tempfile.TemporaryDirectory() as folder:
        pictures = examples(Path(folder), 6, options.side)
        training = Training(MODEL, pictures, 1, options.side, ROWS, RANK, RATE, 7, trigger_word=WORD)
        measure_steps(report, engine, training, Turns(BareLoop(training), options.steps, clock), options.rounds)
        adapters = [make_adapter(engine, training, seed, Path(folder)) for seed in range(ADAPTERS)]
        steps = 2 if options.quick else catalog.get(MODEL).steps_default
        measure_switches(report, engine, adapters, options.rounds, pictures_of(options.images, steps), clock)
    return report.end(is_strict=options.strict)


# --- Steps ------------------------------------------------------------------------------------------------------------
def measure_steps(
    report: figures.Report, engine: DiffusionEngine, training: Training, turns: Turns, rounds: int
) -> None:
    made = engine.train(replace(training, steps=(rounds + 1) * turns.each), turns)
    ours = sum(tensor.numel() for tensor in tensors_of(made.adapter).values())
    assert ours == sum(weight.numel() for weight in turns.bare.weights), "not the same work: the run is void"
    for name, values in turns.rates.items():
        report.show(f"{name}, {ROWS} rows and {ROWS} anchors of {training.resolution} px", values[1:], "steps/s")
    ratios = figures.pairwise_ratios(turns.rates["Engine.train"][1:], turns.rates["bare loop"][1:])
    report.hold("steps/s, Engine.train / bare loop", ratios, at_least=TRAINING_BAR)


class Turns(Notes):
    """A watcher that stops a training every few steps until the bare loop has made as many."""

    def __init__(self, bare: BareLoop, each: int, clock: Clock) -> None:
        super().__init__()
        self.rates: dict[str, list[float]] = {"Engine.train": [], "bare loop": []}
        self.bare, self.each = bare, each
        self._clock, self._ended = clock, 0.0

    def on_step(self, step: int, loss: float) -> None:
        super().on_step(step, loss)
        if step == 1:  # what came before is no step; the first round warms up
            self._ended = self._clock()
        if step % self.each:
            return
        began = self._clock()
        self.rates["Engine.train"].append(self.each / (began - self._ended))
        for _ in range(self.each):
            self.bare.step()
        self._ended = self._clock()
        self.rates["bare loop"].append(self.each / (self._ended - began))


class BareLoop:
    """The loop of diffusers' training scripts without anything around it, on the rows that a training has, too."""

    def __init__(self, training: Training) -> None:
        from diffusers import DDPMScheduler
        from peft import LoraConfig

        pipe, _ = load(Shelf.at(), MODEL, "cpu", Levers())
        self.unet, self.scheduler = pipe.unet, DDPMScheduler.from_config(pipe.scheduler.config)
        pictures, captions = lessons.read_pictures(training)
        with torch.no_grad():
            self.latents = lessons.encode_pictures(pipe, pictures)
            self.words, _ = pipe.encode_prompt(captions, "cpu", 1, do_classifier_free_guidance=False)
        self.unet.requires_grad_(False)
        names = [name for name in DENOISER_MODULES if any(n.endswith(name) for n, _ in self.unet.named_modules())]
        self.unet.add_adapter(LoraConfig(r=RANK, lora_alpha=RANK, target_modules=names))
        self.weights = [weight for weight in self.unet.parameters() if weight.requires_grad]
        self.optimizer = torch.optim.AdamW(self.weights, RATE, fused=True)

    def step(self) -> float:
        rows = torch.randint(len(self.latents), (2 * ROWS,))
        clean, words = self.latents[rows], self.words[rows]
        noise = torch.randn_like(clean)
        times = torch.randint(self.scheduler.config.num_train_timesteps, (len(clean),))
        noisy = self.scheduler.add_noise(clean, noise, times)
        said = self.unet(noisy, times, words, return_dict=False)[0]
        loss = torch.nn.functional.mse_loss(said, self.scheduler.get_velocity(clean, noise, times))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.weights, 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()
        return loss.item()


# --- Switches ---------------------------------------------------------------------------------------------------------
def make_adapter(engine: DiffusionEngine, training: Training, seed: int, folder: Path) -> Lora:
    made = engine.train(replace(training, seed=seed, trigger_word="", resolution=64), Notes())
    path = folder / f"{seed}.safetensors"
    path.write_bytes(made.adapter)
    return Lora(str(path))


def pictures_of(images: int, steps: int) -> Batch:
    spec = catalog.get(MODEL)
    requests = tuple(ImageRequest("a boat on a lake", "", seed) for seed in range(images))
    return Batch(MODEL, *spec.default_size, steps, spec.guidance_default, requests)


def measure_switches(
    report: figures.Report, engine: DiffusionEngine, adapters: list[Lora], rounds: int, batch: Batch, clock: Clock
) -> None:
    """The same batches with four adapters, with one, and with none, by an engine that has never seen one."""
    bare, images = build("cpu"), len(batch.requests)

    def timed(queue: list[tuple[Lora, ...]], drawing: DiffusionEngine) -> Callable[[], float]:
        def measure() -> float:
            began = clock()
            for wanted in queue:
                drawing.generate(replace(batch, adapters=wanted), lambda step: None)
            return clock() - began

        return measure

    four = [(lora,) for lora in adapters]
    cold = timed(four, engine)()
    runs = {
        "none": timed([()] * ADAPTERS, bare),
        "one adapter": timed(four[:1] * ADAPTERS, engine),
        "four adapters": timed(four, engine),
    }
    found = figures.interleave(runs, rounds)
    report.show(f"{ADAPTERS} batches of {images}, four adapters, read for the first time", [cold])
    for name, values in found.items():
        report.show(f"{ADAPTERS} batches of {images}, {name}", values)
    for other in ("one adapter", "none"):
        ratios = figures.pairwise_ratios(found["four adapters"], found[other])
        report.hold(f"{ADAPTERS} batches of {images}, four adapters / {other}", ratios, at_most=SWITCH_BAR)


if __name__ == "__main__":
    sys.exit(main())
