"""The UNet and how it learns: v-prediction on latents, text features from the frozen encoder."""

import torch
from diffusers import DPMSolverMultistepScheduler, UNet2DConditionModel
from torch.nn import functional

from generation.engine.starter.autoencoder import CHANNELS
from generation.engine.starter.store import CELLS
from generation.engine.starter.text import WIDTH

EMA_DECAY = 0.998
TIMESTEP_MIN = 60


def build_scheduler() -> DPMSolverMultistepScheduler:
    """Cosine noise schedule (Nichol and Dhariwal 2021); trailing spacing starts sampling at pure noise."""
    return DPMSolverMultistepScheduler(
        beta_schedule="squaredcos_cap_v2",
        prediction_type="v_prediction",
        timestep_spacing="trailing",
        solver_order=2,
        lower_order_final=True,
        steps_offset=1,
    )


WIDTHS = (32, 64, 128, 256)


def build_unet(widths: tuple[int, ...] = WIDTHS) -> UNet2DConditionModel:
    """Four levels down to 4 x 4 cells: the deepest sees the whole picture at once and costs next to nothing.

    Pooled text steers every residual block by scale and shift; cross-attention sits on the two deep levels.
    """
    return UNet2DConditionModel(
        sample_size=CELLS,
        in_channels=CHANNELS,
        out_channels=CHANNELS,
        block_out_channels=widths,
        layers_per_block=1,
        down_block_types=("DownBlock2D", "DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D", "UpBlock2D"),
        attention_head_dim=4,
        cross_attention_dim=WIDTH,
        norm_num_groups=16,
        use_linear_projection=True,
        addition_embed_type="text",
        addition_embed_type_num_heads=8,
        resnet_time_scale_shift="scale_shift",
    )


def draw_timesteps(batch: int, generator: torch.Generator) -> torch.Tensor:
    """One timestep from each of `batch` strata, more of them near pure noise, where the prompt decides the picture.

    Sampling in 8 steps never comes below 124, and below 60 there is almost nothing left to learn.
    """
    offset = torch.rand(1, generator=generator)
    level = ((torch.arange(batch) + offset) / batch) ** 0.5
    return (TIMESTEP_MIN + level * (1000 - TIMESTEP_MIN)).long().clamp(max=999)


def velocity_loss(
    unet: UNet2DConditionModel,
    latents: torch.Tensor,
    features: torch.Tensor,
    alphas: torch.Tensor,
    generator: torch.Generator,
) -> torch.Tensor:
    """Mean squared error of the predicted velocity v = a * noise - s * latents (Salimans and Ho 2022).

    Args:
        latents: (batch, channels, height, width) float32.
        features: (batch, tokens, width) text features.
        alphas: (1000,) cumulative products of the schedule, on the device of `latents`.
        generator: on the CPU; decides timesteps and noise on every device alike.
    """
    device = latents.device
    timesteps = draw_timesteps(len(latents), generator).to(device)
    noise = torch.randn(latents.shape, generator=generator).to(device)
    signal = alphas[timesteps].sqrt().view(-1, 1, 1, 1)
    spread = (1 - alphas[timesteps]).sqrt().view(-1, 1, 1, 1)
    with torch.autocast(device.type, torch.bfloat16):
        predicted = unet(signal * latents + spread * noise, timesteps, features).sample
    return functional.mse_loss(predicted.float(), signal * noise - spread * latents)


class Average:
    """Exponential moving average of parameters; what is shipped."""

    def __init__(self, module: torch.nn.Module) -> None:
        self.parameters = [parameter.detach().clone() for parameter in module.parameters()]

    @torch.no_grad()
    def update(self, module: torch.nn.Module, step: int) -> None:
        decay = min(EMA_DECAY, (1 + step) / (10 + step))
        torch._foreach_lerp_(self.parameters, [parameter.detach() for parameter in module.parameters()], 1 - decay)

    @torch.no_grad()
    def copy_to(self, module: torch.nn.Module) -> None:
        for parameter, average in zip(module.parameters(), self.parameters, strict=True):
            parameter.copy_(average)
