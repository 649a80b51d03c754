"""One forward pass for K networks of one architecture: parameters `(K, …)`, inputs `(K, n, C, H, W)`.

A convolution becomes one batched matrix product over unfolded patches, a linear layer one batched matrix
product; on small images this beats K passes one after another, and oneDNN's grouped convolution.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

Parameters = Mapping[str, torch.Tensor]
"""Parameter name -> `(K, …)` tensor: K networks' parameters of that name, stacked."""


def is_stackable(module: nn.Module) -> bool:
    """Say whether `stacked_forward` knows every layer of this network."""
    return isinstance(module, nn.Sequential) and all(
        isinstance(layer, nn.ReLU | nn.Flatten)
        or (isinstance(layer, nn.Linear) and layer.bias is not None)
        or (isinstance(layer, nn.Conv2d) and _is_plain(layer))
        for layer in module
    )


def _is_plain(layer: nn.Conv2d) -> bool:
    square = len({layer.kernel_size, (layer.kernel_size[0],) * 2}) == 1
    uniform = isinstance(layer.padding, tuple) and len(set(layer.padding)) == 1 and len(set(layer.stride)) == 1
    return (
        square
        and uniform
        and layer.groups == 1
        and layer.dilation == (1, 1)
        and layer.padding_mode == "zeros"
        and layer.bias is not None
    )


def stack(modules: Sequence[nn.Module]) -> dict[str, torch.Tensor]:
    """Return copies of the networks' parameters, stacked by name; all networks are of one architecture."""
    named = [dict(module.named_parameters()) for module in modules]
    return {name: torch.stack([parameters[name].detach() for parameters in named]) for name in named[0]}


def stacked_forward(network: nn.Sequential, parameters: Parameters, inputs: torch.Tensor) -> torch.Tensor:
    """Run K networks at once.

    Args:
        network: the architecture; its own parameters are not used.
        parameters: K networks' parameters.
        inputs: `(K, n, C, H, W)`, for each network its own batch.

    Returns:
        `(K, n, classes)` scores, one network's row block equal to its own forward pass up to rounding.
    """
    # inside, images lie as (K, n, H, W, C): then a patch is one contiguous row
    values = inputs.permute(0, 1, 3, 4, 2)
    for name, layer in network.named_children():
        if isinstance(layer, nn.Conv2d):
            values = _convolution(layer, parameters[f"{name}.weight"], parameters[f"{name}.bias"], values)
        elif isinstance(layer, nn.Linear):
            weight = parameters[f"{name}.weight"].transpose(1, 2)
            values = torch.baddbmm(parameters[f"{name}.bias"][:, None], values, weight)
        elif isinstance(layer, nn.Flatten):
            values = values.permute(0, 1, 4, 2, 3).flatten(2)
        else:
            values = F.relu(values)
    return values


def _convolution(layer: nn.Conv2d, weight: torch.Tensor, bias: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    models, out, channels, size, _ = weight.shape
    patches: torch.Tensor = _Patches.apply(values, size, layer.stride[0], int(layer.padding[0]))  # type: ignore[no-untyped-call]
    count, height, width = patches.shape[1:4]
    matrix = weight.permute(0, 3, 4, 2, 1).reshape(models, size * size * channels, out)
    product = torch.baddbmm(bias[:, None], patches.view(models, count * height * width, -1), matrix)
    return product.view(models, count, height, width, out)


class _Patches(torch.autograd.Function):
    """Unfold `(K, n, H, W, C)` into `(K, n, h, w, size * size * C)` patches.

    Written out because autograd's own gradient of a strided slice clears a whole image for each of the
    `size * size` offsets, which took more than half of a training step.
    """

    @staticmethod
    def forward(ctx: Any, values: torch.Tensor, size: int, stride: int, padding: int) -> torch.Tensor:
        models, count, height, width, channels = values.shape
        rows, columns = (height + 2 * padding - size) // stride + 1, (width + 2 * padding - size) // stride + 1
        ctx.geometry = (values.shape, size, stride, padding, rows, columns)
        padded = F.pad(values, (0, 0, padding, padding, padding, padding)).contiguous()
        at_model, at_image, at_row, at_column, at_channel = padded.stride()
        patches = padded.as_strided(
            (models, count, rows, columns, size, size, channels),
            (at_model, at_image, at_row * stride, at_column * stride, at_row, at_column, at_channel),
        )
        return patches.reshape(models, count, rows, columns, size * size * channels)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None, None, None]:
        (models, count, height, width, channels), size, stride, padding, rows, columns = ctx.geometry
        by_offset = gradients[0].view(models, count, rows, columns, size, size, channels)
        total = by_offset.new_zeros(models, count, height + 2 * padding, width + 2 * padding, channels)
        last_row, last_column = stride * (rows - 1) + 1, stride * (columns - 1) + 1
        for i in range(size):
            for j in range(size):
                total[:, :, i : i + last_row : stride, j : j + last_column : stride] += by_offset[:, :, :, :, i, j]
        return total[:, :, padding : padding + height, padding : padding + width], None, None, None
