"""The autoencoder: an encoder solved by PCA, exactly, and a decoder trained to undo it with clean edges.

Latents are (batch, 4, side / 8, side / 8), about unit variance over all channels, so scaling_factor is 1.
The encoder is linear: each 8 x 8 x 3 patch is projected to its first principal components.
"""

import torch
from diffusers import AutoencoderTiny
from diffusers.models.autoencoders.vae import AutoencoderTinyBlock
from torch import nn
from torch.nn import functional

PATCH = 8
CHANNELS = 4  # the stock inpainting pipeline takes no other number
ENCODER_WIDTH = 48  # 4 x 4 x 3: two exact space-to-depth steps fit, the third is the projection
DECODER_WIDTH = 32
DECODER_BLOCKS = (6, 4, 1, 0)


def build_autoencoder() -> AutoencoderTiny:
    return AutoencoderTiny(
        latent_channels=CHANNELS,
        encoder_block_out_channels=(ENCODER_WIDTH,) * 4,
        decoder_block_out_channels=(DECODER_WIDTH,) * 4,
        num_encoder_blocks=(0,) * 4,
        num_decoder_blocks=DECODER_BLOCKS,
        scaling_factor=1.0,
    )


def patches_of(pictures: torch.Tensor) -> torch.Tensor:
    """(batch, 3, height, width) to (batch, height / 8, width / 8, 192), a patch ordered as (y, x, colour)."""
    batch, _, height, width = pictures.shape
    cut = pictures.reshape(batch, 3, height // PATCH, PATCH, width // PATCH, PATCH)
    return cut.permute(0, 2, 4, 3, 5, 1).reshape(batch, height // PATCH, width // PATCH, -1)


def solve_projection(pictures: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, float]:
    """PCA of the patches of (batch, 3, height, width) pictures in 0 to 1.

    Returns the projection (192, 4), the bias (4,) and the PSNR in dB of decoding linearly. Channels are partly
    whitened (standard deviation to the power of one half): fine detail stays small, and is decided late in sampling.
    """
    patches = patches_of(pictures).reshape(-1, PATCH * PATCH * 3).double()
    mean = patches.mean(0)
    variances, axes = torch.linalg.eigh(torch.cov((patches - mean).T))
    variances, axes = variances.flip(0).clamp_min(1e-9), axes.flip(1)
    deviations = variances[:CHANNELS].sqrt()
    target = deviations.sqrt() / deviations.mean().sqrt()
    projection = axes[:, :CHANNELS] * (target / deviations)
    residual = variances[CHANNELS:].sum().item() / len(variances)
    return projection.float(), -(mean @ projection).float(), -10 * torch.tensor(residual).log10().item()


@torch.no_grad()
def install_projection(vae: AutoencoderTiny, projection: torch.Tensor, bias: torch.Tensor) -> None:
    """Write the projection into the strided convolutions: copy, two space-to-depth steps, then the projection."""
    first, *strided, last = [layer for layer in vae.encoder.layers if isinstance(layer, nn.Conv2d)]
    for layer in (first, *strided, last):
        nn.init.zeros_(layer.weight)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
    for colour in range(3):
        first.weight[colour, colour, 1, 1] = 1
    source = {(0, 0, colour): colour for colour in range(3)}  # where each (y, x, colour) of the patch is kept
    for level, layer in enumerate(strided[:2]):
        source = _space_to_depth(layer, source, step=2**level)
    weights = projection.reshape(PATCH, PATCH, 3, CHANNELS)
    for (y, x, colour), channel in source.items():
        for dy in range(2):
            for dx in range(2):
                strided[2].weight[:CHANNELS, channel, 1 + dy, 1 + dx] = weights[y + 4 * dy, x + 4 * dx, colour]
    last.weight[:, :CHANNELS, 1, 1] = torch.eye(CHANNELS)
    last.bias.copy_(bias)


def _space_to_depth(layer: nn.Conv2d, source: dict, step: int) -> dict:
    # Kernel 3, stride 2, padding 1: taps 1 and 2 are the two pixels of a cell.
    target: dict = {}
    for dy in range(2):
        for dx in range(2):
            for (y, x, colour), channel in source.items():
                target[(y + step * dy, x + step * dx, colour)] = len(target)
                layer.weight[len(target) - 1, channel, 1 + dy, 1 + dx] = 1
    return target


@torch.no_grad()
def start_decoder(vae: AutoencoderTiny, projection: torch.Tensor, bias: torch.Tensor) -> None:
    """Start the decoder at the mosaic of mean patch colours, which passes through every layer unchanged."""
    convolutions = [layer for layer in vae.decoder.layers if isinstance(layer, nn.Conv2d)]
    for layer in convolutions[:-1]:
        layer.weight.mul_(0.2)
        for channel in range(DECODER_WIDTH if layer is not convolutions[0] else 0):
            layer.weight[channel, channel, 1, 1] += 1
    first, last = convolutions[0], convolutions[-1]
    for channel in range(CHANNELS):  # ReLU cuts negatives, so each channel travels as two
        first.weight[2 * channel, channel, 1, 1] += 1
        first.weight[2 * channel + 1, channel, 1, 1] -= 1
    for block in vae.decoder.modules():
        if isinstance(block, AutoencoderTinyBlock):
            block.conv[-1].weight.mul_(0.2)
    patch_of_latent = torch.linalg.pinv(projection.double()).float()  # (4, 192)
    means = patch_of_latent.reshape(CHANNELS, -1, 3).mean(1)
    last.weight.mul_(0.1)
    for channel in range(CHANNELS):
        last.weight[:, 2 * channel, 1, 1] += means[channel]
        last.weight[:, 2 * channel + 1, 1, 1] -= means[channel]
    last.bias.copy_((-bias @ patch_of_latent).reshape(-1, 3).mean(0))


def decoder_loss(
    vae: AutoencoderTiny, pictures: torch.Tensor, projection: torch.Tensor, bias: torch.Tensor
) -> torch.Tensor:
    """L1 of colours and of their differences, from slightly noisy latents: what the UNet hands over is never exact.

    Args:
        pictures: (batch, 3, height, width) float in 0 to 1.
    """
    latents = (patches_of(pictures) @ projection + bias).permute(0, 3, 1, 2)
    strength = torch.rand(len(latents), 1, 1, 1, device=latents.device) * 0.2
    decoded = (vae.decode(latents + strength * torch.randn_like(latents)).sample.float() + 1) / 2
    across = (decoded.diff(dim=-1) - pictures.diff(dim=-1)).abs().mean()
    down = (decoded.diff(dim=-2) - pictures.diff(dim=-2)).abs().mean()
    return functional.l1_loss(decoded, pictures) + across + down


@torch.no_grad()
def read_projection(vae: AutoencoderTiny) -> tuple[torch.Tensor, torch.Tensor]:
    """The (192, 4) projection and (4,) bias of an autoencoder, found by encoding every unit patch."""
    units = torch.eye(PATCH * PATCH * 3).reshape(-1, PATCH, PATCH, 3).permute(0, 3, 1, 2).to(vae.device, vae.dtype)
    bias = vae.encode(torch.full_like(units[:1], -1)).latents.reshape(-1)  # -1 is black, which the encoder reads as 0
    return vae.encode(units * 2 - 1).latents.reshape(len(units), -1) - bias, bias
