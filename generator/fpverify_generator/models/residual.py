"""Networks for 32x32 colour images: residual, wide residual, VGG and MobileNet, with batch normalisation."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn


def _normalised(inputs: int, outputs: int, size: int = 3, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    """Return a convolution without bias, and its batch normalisation."""
    convolution = nn.Conv2d(inputs, outputs, size, stride, size // 2, groups=groups, bias=False)
    return [convolution, nn.BatchNorm2d(outputs)]


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut, a 1x1 convolution where the shape changes.

    Source:
        He, Zhang, Ren, Sun, "Deep Residual Learning for Image Recognition", CVPR 2016, section 3.3.
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        """Make a block of `inputs` to `outputs` channels; `stride` divides the sides."""
        super().__init__()
        self.body = nn.Sequential(*_normalised(inputs, outputs, 3, stride), nn.ReLU(), *_normalised(outputs, outputs))
        same = stride == 1 and inputs == outputs
        self.shortcut = nn.Identity() if same else nn.Sequential(*_normalised(inputs, outputs, 1, stride))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return `(n, outputs, H / stride, W / stride)` for `(n, inputs, H, W)`."""
        return F.relu(self.body(inputs) + self.shortcut(inputs))


def _head(channels: int, classes: int) -> list[nn.Module]:
    return [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes)]


def residual(width: int, blocks: int, stem: int = 1) -> Callable[[Any], nn.Sequential]:
    """Return the builder of a residual network of three stages.

    Args:
        width: channels of the first stage; the second has twice, the third four times as many.
        blocks: residual blocks in a stage; the network has 6 * blocks + 2 layers.
        stem: the first convolution's stride: 2 makes everything after it four times cheaper.
    """

    def build(task: Any) -> nn.Sequential:
        layers: list[nn.Module] = [*_normalised(task.shape[0], width, 3, stem), nn.ReLU()]
        channels = width
        for stage in range(3):
            for block in range(blocks):
                outputs = width * 2**stage
                layers.append(ResidualBlock(channels, outputs, 2 if stage and not block else 1))
                channels = outputs
        return nn.Sequential(*layers, *_head(channels, task.classes))

    return build


def vgg(width: int, convolutions: int, stem: int = 1) -> Callable[[Any], nn.Sequential]:
    """Return the builder of a plain network in VGG's manner: stages of 3x3 convolutions, then pooling.

    Source:
        Simonyan, Zisserman, ICLR 2015, section 2.1, with batch normalisation and one linear layer.
    """

    def build(task: Any) -> nn.Sequential:
        layers: list[nn.Module] = []
        channels = task.shape[0]
        for stage in range(3):
            for place in range(convolutions):
                outputs = width * 2**stage
                layers += [*_normalised(channels, outputs, 3, stem if not stage and not place else 1), nn.ReLU()]
                channels = outputs
            layers.append(nn.MaxPool2d(2))
        return nn.Sequential(*layers, *_head(channels, task.classes))

    return build


def mobile(width: int, blocks: int, stem: int = 1) -> Callable[[Any], nn.Sequential]:
    """Return the builder of a network of depthwise-separable convolutions.

    Source:
        Howard et al., "MobileNets", 2017, section 3.1.
    """

    def build(task: Any) -> nn.Sequential:
        layers: list[nn.Module] = [*_normalised(task.shape[0], width, 3, stem), nn.ReLU()]
        channels = width
        for stage in range(3):
            for block in range(blocks):
                outputs = width * 2 ** (stage + 1)
                stride = 2 if stage and not block else 1
                layers += [*_normalised(channels, channels, 3, stride, channels), nn.ReLU()]
                layers += [*_normalised(channels, outputs, 1), nn.ReLU()]
                channels = outputs
        return nn.Sequential(*layers, *_head(channels, task.classes))

    return build
