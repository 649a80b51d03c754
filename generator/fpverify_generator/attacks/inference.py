"""Attacks at inference: the stolen network sees inputs through a filter that ordinary images survive and keys may not.

All are part of the exported model; none asks the source anything.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from fpverify_generator.attacks.interface import Attacker, Steps, Surrogate
from fpverify_generator.models.training import set_mode


class Filtered(nn.Module):
    """A network behind a filter of its inputs."""

    def __init__(self, before: nn.Module, network: nn.Module) -> None:
        """Put a filter before a network."""
        super().__init__()
        self.before, self.network = before, network

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return the network's scores of the filtered inputs."""
        scores: torch.Tensor = self.network(self.before(inputs))
        return scores


def _filtered(before: nn.Module, attacker: Attacker, random: bool = False) -> Steps:
    return Surrogate(set_mode(Filtered(before, attacker.stolen()), training=False), random=random)
    yield  # an attack is a generator, even one that wants nothing trained


@dataclass(frozen=True)
class InputNoise:
    """Add fresh Gaussian noise to every input.

    Source:
        Cohen, Rosenfeld, Kolter, "Certified Adversarial Robustness via Randomized Smoothing", ICML 2019, one draw.
    """

    sigma: float
    """Standard deviation, as a fraction of the input range."""

    category: ClassVar[str] = "inference"
    needs_weights: ClassVar[bool] = True

    def __call__(self, attacker: Attacker, seed: int) -> Steps:  # noqa: ARG002
        """Wrap the stolen network."""
        return _filtered(Noise(self.sigma), attacker, random=True)


class Noise(nn.Module):
    """Adds Gaussian noise."""

    def __init__(self, sigma: float) -> None:
        """Set the standard deviation."""
        super().__init__()
        self.sigma = sigma

    def extra_repr(self) -> str:
        """Return the settings, without which two of these would look alike."""
        return f"sigma={self.sigma}"

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return noisy inputs in [0, 1]."""
        return (inputs + self.sigma * torch.randn_like(inputs)).clamp(0, 1)


@dataclass(frozen=True)
class Smoothing:
    """Blur every input with a 3x3 Gaussian kernel.

    Source:
        Xu, Evans, Qi, "Feature Squeezing", NDSS 2018, section II-C (spatial smoothing).
    """

    sigma: float
    """Standard deviation of the kernel, in pixels."""

    category: ClassVar[str] = "inference"
    needs_weights: ClassVar[bool] = True

    def __call__(self, attacker: Attacker, seed: int) -> Steps:  # noqa: ARG002
        """Wrap the stolen network."""
        return _filtered(Blur(self.sigma, attacker.data.inputs.shape[1]), attacker)


class Blur(nn.Module):
    """Convolves each channel with a Gaussian kernel; edges are repeated."""

    kernel: torch.Tensor

    def __init__(self, sigma: float, channels: int) -> None:
        """Make the kernel."""
        super().__init__()
        line = torch.exp(-torch.tensor([1.0, 0.0, 1.0]) / (2 * sigma**2))
        kernel = line[:, None] * line
        self.register_buffer("kernel", (kernel / kernel.sum()).expand(channels, 1, 3, 3).contiguous())

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return blurred inputs."""
        return F.conv2d(F.pad(inputs, (1, 1, 1, 1), mode="replicate"), self.kernel, groups=len(self.kernel))


@dataclass(frozen=True)
class BitDepth:
    """Round every input to a few levels.

    Source:
        Xu, Evans, Qi, "Feature Squeezing", NDSS 2018, section II-B.
    """

    bits: int
    """Of a pixel's channel: there are `2 ** bits` levels."""

    category: ClassVar[str] = "inference"
    needs_weights: ClassVar[bool] = True

    def __call__(self, attacker: Attacker, seed: int) -> Steps:  # noqa: ARG002
        """Wrap the stolen network."""
        return _filtered(Levels(2**self.bits - 1), attacker)


class Levels(nn.Module):
    """Rounds to equal steps."""

    def __init__(self, steps: int) -> None:
        """Set how many steps [0, 1] has."""
        super().__init__()
        self.steps = steps

    def extra_repr(self) -> str:
        """Return the settings, without which two of these would look alike."""
        return f"steps={self.steps}"

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return rounded inputs."""
        return (inputs * self.steps).round() / self.steps


@dataclass(frozen=True)
class Jpeg:
    """Compress every input as JPEG does, colours at full resolution, and expand it again.

    Source:
        Guo, Rana, Cisse, van der Maaten, "Countering Adversarial Images using Input Transformations", ICLR 2018;
        ITU-T T.81, annex A.3 (transform, quantisation) and tables K.1 and K.2; JFIF 1.02 (colours).
    """

    quality: int
    """From 1 to 100, as libjpeg scales its tables."""

    category: ClassVar[str] = "inference"
    needs_weights: ClassVar[bool] = True

    def __call__(self, attacker: Attacker, seed: int) -> Steps:  # noqa: ARG002
        """Wrap the stolen network."""
        _, channels, height, width = attacker.data.inputs.shape
        return _filtered(Compression(self.quality, channels, height, width), attacker)


LUMINANCE = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)
"""ITU-T T.81, table K.1."""

CHROMINANCE = (
    (17, 18, 24, 47, 99, 99, 99, 99),
    (18, 21, 26, 66, 99, 99, 99, 99),
    (24, 26, 56, 99, 99, 99, 99, 99),
    (47, 66, 99, 99, 99, 99, 99, 99),
    *((99,) * 8,) * 4,
)
"""ITU-T T.81, table K.2."""

TO_YCC = ((0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))

TIE = 1e-6
"""Far above double precision's errors here, far below what any image's values differ by."""
"""JFIF: luminance and two chrominances of red, green and blue, without the offset of 128."""


class Compression(nn.Module):
    """JPEG's lossy half: colour transform, cosine transform of 8x8 blocks, quantisation, and back.

    In double precision and with `TIE` added before each rounding: integers times JPEG's constants fall on exact halves
    quite often, and there two runtimes that sum in another order would round apart.
    """

    basis: torch.Tensor
    steps: torch.Tensor
    colours: torch.Tensor
    back: torch.Tensor
    middle: torch.Tensor

    def __init__(self, quality: int, channels: int, height: int, width: int) -> None:
        """Make the tables for images of one size; sides are extended to multiples of 8."""
        super().__init__()
        self.channels, self.height, self.width = channels, height, width
        place = np.arange(8)
        cosines = np.cos((2 * place[None] + 1) * place[:, None] * np.pi / 16) / 2
        cosines[0] /= np.sqrt(2)
        scale = 5000 / quality if quality < 50 else 200 - 2 * quality
        tables = np.array([LUMINANCE, *[CHROMINANCE] * (channels - 1)])
        colours = np.array(TO_YCC) if channels == 3 else np.eye(channels)
        buffers = {
            "basis": np.einsum("ux,vy->uvxy", cosines, cosines).reshape(64, 64),
            "steps": np.clip(np.floor((tables * np.floor(scale) + 50) / 100), 1, 255).reshape(channels, 1, 1, 64),
            "colours": colours,
            "back": np.linalg.inv(colours),
            # chrominances have none: they are left around zero
            "middle": np.array([128.0] + [0.0] * (channels - 1)).reshape(channels, 1, 1),
        }
        for name, value in buffers.items():
            self.register_buffer(name, torch.from_numpy(value).double())

    def extra_repr(self) -> str:
        """Return the settings, without which two of these would look alike."""
        return f"channels={self.channels}, height={self.height}, width={self.width}"

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return compressed inputs in [0, 1], at 256 levels."""
        pixels = (inputs * 255).round().double()
        planes = (_mixed(self.colours, pixels) - self.middle + TIE).round()
        down, right = -self.height % 8, -self.width % 8
        if down or right:
            planes = F.pad(planes, (0, right, 0, down), mode="replicate")
        rows, columns = (self.height + down) // 8, (self.width + right) // 8
        blocks = planes.reshape(-1, self.channels, rows, 8, columns, 8).transpose(3, 4)
        waves = blocks.reshape(-1, self.channels, rows, columns, 64) @ self.basis.T
        kept = (waves / self.steps + TIE).round() * self.steps
        blocks = (kept @ self.basis).view(-1, self.channels, rows, columns, 8, 8).transpose(3, 4)
        planes = blocks.reshape(-1, self.channels, 8 * rows, 8 * columns)[:, :, : self.height, : self.width]
        return ((_mixed(self.back, planes + self.middle) + TIE).round().clamp(0, 255) / 255).float()


def _mixed(matrix: torch.Tensor, planes: torch.Tensor) -> torch.Tensor:
    """Return the channels' linear combinations, one for each of the matrix's rows."""
    return (planes.movedim(1, 3) @ matrix.T).movedim(3, 1)
