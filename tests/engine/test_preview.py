"""Rough pictures from latents."""

import numpy as np
import pytest
import torch

from generation.engine import Batch, ImageRequest
from generation.engine.preview import CleanEstimate, Previewer, fit, latents_to_rgb, paint
from tests.engine.test_diffusion import MODELS

CAT = ImageRequest("a red cat", "", 7)


@pytest.mark.parametrize(("model", "guidance"), MODELS)
def test_a_preview_can_be_drawn_at_every_step_and_later(engine, model, guidance):
    steps, at_once = [], []

    def look(step):
        steps.append(step)
        at_once.append(step.preview())

    engine.generate(Batch(model, 64, 96, 4, guidance, (CAT, CAT)), look)
    cells = (6, 4, 3) if model == "tiny" else (12, 8, 3)
    for step, before in zip(steps, at_once, strict=True):
        later = step.preview()
        assert [(p.shape, p.dtype) for p in later] == [(cells, np.dtype(np.uint8))] * 2
        assert np.array_equal(later, before)


def test_looking_does_not_change_the_picture(engine):
    asked = Batch("tiny", 64, 64, 3, 3.0, (CAT,))
    unseen = engine.generate(asked, lambda step: None)
    seen = engine.generate(asked, lambda step: step.preview())
    assert np.array_equal(unseen, seen)


def test_a_preview_asks_the_decoder_nothing_once_it_is_fitted(engine, monkeypatch):
    engine.load("tiny")
    pipe, _, previewer = engine._resident["tiny"]
    previewer.projection()
    monkeypatch.setattr(pipe, "vae", None)
    assert previewer.draw(torch.randn(1, 20, 32, 32), 512, 512)[0].shape == (32, 32, 3)


def test_one_matrix_turns_latents_into_colours():
    factors = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.5, 0.0]])
    latents = torch.tensor([[[[1.0, 0.0]], [[1.0, -9.0]]]])  # (1, 2 channels, 1, 2)
    pixels = latents_to_rgb(latents, factors, torch.tensor([0.0, 0.1, 1.0]))
    assert pixels.tolist() == [[[[255, 153, 255], [0, 0, 255]]]]


def test_factors_of_another_model_are_refused():
    with pytest.raises(ValueError, match="4 channels, factors 20"):
        latents_to_rgb(torch.zeros(1, 4, 2, 2), torch.zeros(20, 3), torch.zeros(3))


def test_broken_latents_make_a_preview_and_no_error():
    pixels = latents_to_rgb(torch.full((1, 2, 1, 1), float("nan")), torch.ones(2, 3), torch.zeros(3))
    assert pixels.tolist() == [[[[0, 0, 0]]]]


class MeanVae:
    """A decoder that is linear on purpose: the fit has to find exactly its matrix."""

    dtype, device = torch.float32, torch.device("cpu")
    mix = torch.tensor([[0.5, 0.1, 0.0], [0.0, 0.4, 0.2], [0.3, 0.0, 0.6]])

    class Config(dict):
        __getattr__ = dict.__getitem__

    config = Config(scaling_factor=2.0)

    def encode(self, pictures):
        cells = torch.nn.functional.avg_pool2d(pictures, 8)
        return type("Encoded", (), {"latents": torch.einsum("bchw,cd->bdhw", cells, self.mix)})

    def decode(self, latents, return_dict):
        cells = torch.einsum("bchw,cd->bdhw", latents, torch.linalg.inv(self.mix))
        return (torch.nn.functional.interpolate(cells, scale_factor=8, mode="nearest"),)


def test_the_fit_finds_the_matrix_of_a_linear_decoder(monkeypatch):
    monkeypatch.setattr("generation.engine.preview.FIT_RIDGE", 0.0)
    projection = fit(type("Pipe", (), {"vae": MeanVae()}))
    wanted = torch.linalg.inv(MeanVae.mix) / 2 / 2  # scaled by 2, and -1..1 to 0..1
    assert torch.allclose(projection.factors, wanted, atol=1e-3)
    assert torch.allclose(projection.bias, torch.full((3,), 0.5), atol=1e-3)


def test_the_fit_is_the_same_every_time(engine):
    engine.load("tiny-xl")
    pipe = engine._resident["tiny-xl"][0]
    one, other = Previewer(pipe).projection(), Previewer(pipe).projection()
    assert torch.equal(one.factors, other.factors) and torch.equal(one.bias, other.bias)


def test_painted_pictures_are_pictures():
    pictures = paint(3, 32)
    assert pictures.shape == (3, 3, 32, 32) and pictures.min() >= 0 and pictures.max() <= 1
    assert torch.equal(pictures, paint(3, 32))


def euler(flow):
    from diffusers import EulerDiscreteScheduler, FlowMatchEulerDiscreteScheduler

    return FlowMatchEulerDiscreteScheduler(shift=1.0) if flow else EulerDiscreteScheduler()


@pytest.mark.parametrize("flow", [False, True])
def test_the_estimate_of_an_euler_sampler_is_what_a_perfect_model_means(flow):
    """A model that knows the picture says so at every step; only the very first estimate may still be noise."""
    scheduler, clean, noise = euler(flow), torch.randn(1, 4, 8, 8), torch.randn(1, 4, 8, 8)
    scheduler.set_timesteps(4)
    sigmas = [float(sigma) for sigma in scheduler.sigmas]
    latents = (1 - sigmas[0]) * clean + sigmas[0] * noise if flow else clean + sigmas[0] * noise
    estimate = CleanEstimate()
    for step, timestep in enumerate(scheduler.timesteps):
        said = noise - clean if flow else noise
        scheduler.scale_model_input(latents, timestep) if not flow else None
        latents = scheduler.step(said, timestep, latents, return_dict=False)[0]
        seen = estimate.after_step(scheduler, step, latents)
        if step:
            assert torch.allclose(seen, clean, atol=1e-3)


def test_the_estimate_of_dpm_solver_is_its_own():
    from diffusers import DPMSolverMultistepScheduler

    scheduler, clean, noise = DPMSolverMultistepScheduler(), torch.randn(1, 4, 8, 8), torch.randn(1, 4, 8, 8)
    scheduler.set_timesteps(4)
    latents = scheduler.add_noise(clean, noise, scheduler.timesteps[:1])
    latents = scheduler.step(noise, scheduler.timesteps[0], latents, return_dict=False)[0]
    assert torch.allclose(CleanEstimate().after_step(scheduler, 0, latents), clean, atol=0.05)


def test_an_unknown_sampler_shows_its_latents():
    from diffusers import DDIMScheduler

    latents = torch.randn(1, 4, 2, 2)
    assert CleanEstimate().after_step(DDIMScheduler(), 3, latents) is latents
