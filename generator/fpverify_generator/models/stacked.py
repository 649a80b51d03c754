"""K plain networks of one architecture at once, with their forward and backward passes written out.

Images lie innermost, `(K, C, H, W, n)`: every copy runs over n neighbouring numbers, a convolution is one batched
matrix product over unfolded patches, and `Flatten` is no step. A layer's bias is the last column of its matrix. All
weights are one tensor, and so are all gradients. What a pass needs is allocated once.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, TypeGuard

import torch
from torch import nn

Parameters = Mapping[str, torch.Tensor]
"""Parameter name -> `(K, …)` tensor: K networks' parameters of that name, stacked."""


def is_stackable(module: nn.Module) -> TypeGuard[nn.Sequential]:
    """Say whether a `Stack` knows every layer of this network, and their order."""
    if not isinstance(module, nn.Sequential) or not len(module):
        return False
    flat, products = False, 0
    for layer in module:
        if isinstance(layer, nn.Conv2d):
            known = _is_plain(layer) and not flat
        elif isinstance(layer, nn.Linear):
            known = layer.bias is not None and flat
        elif isinstance(layer, nn.Flatten):
            known = (layer.start_dim, layer.end_dim) == (1, -1)
        else:
            known = isinstance(layer, nn.ReLU) and products > 0
        if not known:
            return False
        flat |= isinstance(layer, nn.Flatten)
        products += isinstance(layer, nn.Conv2d | nn.Linear)
    return products > 0 and flat


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


@dataclass(frozen=True)
class _Layer:
    """One matrix product, and what its inputs are."""

    name: str
    """Of the layer in its network."""
    columns: int
    """Inputs of one product: `C * size * size`, or features."""
    out: int
    """Outputs: channels or features."""
    rectified: bool
    """Whether a ReLU follows."""
    size: int = 0
    """A convolution's kernel is `size` by `size`; 0 for a linear layer."""
    stride: int = 1
    padding: int = 0


def _layers(network: nn.Sequential) -> list[_Layer]:
    found: list[_Layer] = []
    for name, layer in network.named_children():
        if isinstance(layer, nn.Conv2d):
            size, stride, padding = layer.kernel_size[0], layer.stride[0], int(layer.padding[0])
            columns = layer.in_channels * size * size
            found.append(_Layer(name, columns, layer.out_channels, False, size, stride, padding))
        elif isinstance(layer, nn.Linear):
            found.append(_Layer(name, layer.in_features, layer.out_features, False))
        elif isinstance(layer, nn.ReLU):
            found[-1] = replace(found[-1], rectified=True)
    return found


class Stack:
    """K networks' weights, and their passes."""

    def __init__(self, network: nn.Sequential, parameters: Parameters) -> None:
        """Lay the weights out.

        Args:
            network: the architecture, one that `is_stackable` accepts; its own parameters are not used.
            parameters: K networks' parameters, as `stack` returns them; they are copied.
        """
        self.network = network
        self.layers = _layers(network)
        self.models = len(next(iter(parameters.values())))
        self._shapes = {name: value.shape for name, value in parameters.items()}
        self.weights = self.flattened(parameters)
        """Every weight and bias: one layer after another, in each one network after another."""
        self.gradients = torch.zeros_like(self.weights)
        """Of the loss, like the weights, as `learn` sets them."""
        self._matrices, self._slopes = self.by_layer(self.weights), self.by_layer(self.gradients)
        self._spare: _Pass | None = None

    def first(self, count: int) -> "Stack":
        """Return copies of the first networks as a stack of their own."""
        return Stack(self.network, {name: value[:count] for name, value in self.parameters().items()})

    def take(self, whole: "Stack", rows: torch.Tensor) -> None:
        """Become copies of some networks of another stack of the same architecture.

        Args:
            whole: the other stack.
            rows: `(K,)` numbers of its networks, on its device.
        """
        for matrix, theirs in zip(self._matrices, whole._matrices, strict=True):
            torch.index_select(theirs, 0, rows, out=matrix)

    def by_layer(self, flat: torch.Tensor) -> list[torch.Tensor]:
        """Return each layer's part of a tensor like the weights, `(K, out, columns + 1)`: weights, then the bias."""
        shapes = [(self.models, layer.out, layer.columns + 1) for layer in self.layers]
        parts = flat.split([math.prod(shape) for shape in shapes])
        return [part.view(shape) for part, shape in zip(parts, shapes, strict=True)]

    def parameters(self) -> dict[str, torch.Tensor]:
        """Return the networks' parameters by name, `(K, …)` each, as `stack` does."""
        found = {}
        for layer, matrix in zip(self.layers, self._matrices, strict=True):
            for part, value in (("weight", matrix[:, :, :-1]), ("bias", matrix[:, :, -1])):
                name = f"{layer.name}.{part}"
                found[name] = value.reshape(self._shapes[name]).clone()
        return found

    def flattened(self, parameters: Parameters) -> torch.Tensor:
        """Return tensors that are named and shaped like the parameters as one tensor like the weights."""
        parts = []
        for layer in self.layers:
            weight, bias = parameters[f"{layer.name}.weight"], parameters[f"{layer.name}.bias"]
            parts.append(torch.cat([weight.flatten(2), bias[:, :, None]], 2).flatten())
        return torch.cat(parts)

    def scores(self, inputs: torch.Tensor) -> torch.Tensor:
        """Ask every network.

        Args:
            inputs: `(n, C, H, W)`, the same for all, or `(K, n, C, H, W)`; gradients flow back to them, and to
                nothing else.

        Returns:
            `(K, n, classes)`.
        """
        result: torch.Tensor = _Scores.apply(inputs, self)  # type: ignore[no-untyped-call]
        return result

    def learn(self, inputs: torch.Tensor, targets: torch.Tensor, last_only: bool = False) -> None:
        """Set the gradients of the sum over networks of each network's mean cross entropy.

        Args:
            inputs: `(K, n, C, H, W)`, for each network its own batch.
            targets: `(K, n, classes)` rows of probabilities.
            last_only: whether only the last layer's gradients are wanted.
        """
        held = self._pass(inputs)
        scores = held.forward(inputs)
        slope = torch.softmax(scores, 1)
        slope.sub_(targets.transpose(1, 2)).div_(inputs.shape[1])
        held.backward(slope, self._slopes, last_only)
        self._put_back(held)

    def _pass(self, inputs: torch.Tensor) -> "_Pass":
        """Return buffers for such inputs: those of the last pass, if they have the size and are free."""
        spare, self._spare = self._spare, None
        fits = spare is not None and spare.key == (tuple(inputs.shape), inputs.dtype)
        return spare if spare is not None and fits else _Pass(self.layers, self._matrices, inputs)

    def _put_back(self, held: "_Pass") -> None:
        if held.bytes <= MAX_SPARE_BYTES:
            self._spare = held


MAX_SPARE_BYTES = 2**27
"""Buffers of a pass that are kept for the next one."""


class _Scores(torch.autograd.Function):
    """A pass with a gradient for the images."""

    @staticmethod
    def forward(ctx: Any, inputs: torch.Tensor, networks: Stack) -> torch.Tensor:
        held = networks._pass(inputs)
        scores = held.forward(inputs).transpose(1, 2).contiguous()
        if ctx.needs_input_grad[0]:
            ctx.held, ctx.networks = held, networks
        else:
            networks._put_back(held)
        return scores

    @staticmethod
    def backward(ctx: Any, *slopes: torch.Tensor) -> tuple[torch.Tensor | None, None]:
        held, ctx.held = ctx.held, None
        if held is None:
            raise RuntimeError("the gradient of these scores was taken before: its buffers are in use again")
        found = held.backward(slopes[0].transpose(1, 2).contiguous())
        ctx.networks._put_back(held)
        return found, None


class _Pass:
    """One forward pass and its backward pass over batches of one shape: all buffers, and views of them."""

    def __init__(self, layers: Sequence[_Layer], matrices: Sequence[torch.Tensor], inputs: torch.Tensor) -> None:
        self.layers, self.matrices = layers, matrices
        self.key = (tuple(inputs.shape), inputs.dtype)
        self.shared = inputs.ndim == 4
        """Whether all networks see the same images."""
        models, (count, *shape) = len(matrices[0]), inputs.shape[-4:]
        self.images = inputs.new_empty(1 if self.shared else models, *shape, count)
        """`(K, C, H, W, n)`, or `(1, …)`: what the first layer sees."""
        self.bytes = 0
        self.steps: list[_Step] = []
        values, rectified = self.images, False
        for layer, matrix in zip(layers, matrices, strict=True):
            step = _Step(layer, matrix, values, rectified)
            self.steps.append(step)
            self.bytes += 2 * 4 * (step.patches.numel() + step.output.numel())
            values, rectified = step.output, layer.rectified

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return the scores, `(K, classes, n)`, which hold until the next pass over these buffers."""
        self.images.copy_((inputs[None] if self.shared else inputs).permute(0, 2, 3, 4, 1))
        for step in self.steps:
            step.forward()
        scores = self.steps[-1].output
        return scores.clamp_(min=0) if self.layers[-1].rectified else scores

    def backward(
        self,
        slope: torch.Tensor,
        gradients: Sequence[torch.Tensor] | None = None,
        last_only: bool = False,
    ) -> torch.Tensor | None:
        """Go back from the scores.

        Args:
            slope: `(K, classes, n)`, the loss's gradient of the scores.
            gradients: receive those of the weights, layer by layer; None if those of the images are wanted instead.
            last_only: whether only the last layer's weights are learnt.

        Returns:
            The gradient of the images in their shape; None if it is not wanted.
        """
        if self.layers[-1].rectified:
            slope = slope * (self.steps[-1].output > 0)
        for number in reversed(range(len(self.steps))):
            step = self.steps[number]
            slope = slope.view(step.product.shape)
            if gradients is not None:
                torch.bmm(slope, step.patches.transpose(1, 2), out=gradients[number])
                if last_only or number == 0:
                    return None
            below = step.backward(slope)
            if number:
                slope = self.steps[number - 1].output
                values = slope.view(below.shape)
                if self.layers[number - 1].rectified:
                    torch.ops.aten.threshold_backward.grad_input(below, values, 0, grad_input=values)
                else:
                    values.copy_(below)
        found = below.reshape(self.images.shape).permute(0, 4, 1, 2, 3)
        return (found[0] if self.shared else found).contiguous()


class _Step:
    """One layer in a pass: what it multiplies, what comes out, and the way back.

    `patches` is `(K, columns + 1, n')`, its last row ones; n' is the number of images, or of places in them; it is
    `(1, …)` where all networks see the same. `output` is the product, `(K, out, n')`, later shaped `(K, C, H, W, n)`.
    """

    def __init__(self, layer: _Layer, matrix: torch.Tensor, values: torch.Tensor, rectified: bool) -> None:
        self.layer, self.matrix = layer, matrix
        self.copy = _rectify if rectified else _copy
        own, count = len(values), values.shape[-1]
        after: tuple[int, ...] = (count,)
        if layer.size:
            _, self.channels, self.height, self.width, _ = values.shape
            self.rows, self.columns = (
                (side + 2 * layer.padding - layer.size) // layer.stride + 1 for side in (self.height, self.width)
            )
            after = (self.rows, self.columns, count)
        self.patches = matrix.new_zeros(own, layer.columns + 1, math.prod(after))  # padding is not written again
        self.patches[:, -1] = 1
        self.output = matrix.new_empty(len(matrix), layer.out, *after)
        self.product = self.output.view(len(matrix), layer.out, -1)
        self.moves = self._moves(values)

    def _moves(self, values: torch.Tensor) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Return from where to where values are copied: views of the layer below, and of the patches."""
        layer, target = self.layer, self.patches[:, :-1]
        if not layer.size:
            return [(values.view(target.shape), target)]
        places = target.view(len(values), self.channels, layer.size, layer.size, self.rows, self.columns, -1)
        moves = []
        for i in range(layer.size):
            rows, above = _overlap(i, layer, self.height, self.rows)
            for j in range(layer.size):
                columns, left = _overlap(j, layer, self.width, self.columns)
                source, place = values[:, :, above, left], places[:, :, i, j, rows, columns]
                if source.numel():
                    moves.append((source, place))
        return moves

    def forward(self) -> None:
        """Multiply what the layer below holds."""
        for source, target in self.moves:
            self.copy(source, target)
        if len(self.patches) < len(self.matrix):
            torch.mm(self.matrix.flatten(0, 1), self.patches[0], out=self.product.flatten(0, 1))
        else:
            torch.bmm(self.matrix, self.patches, out=self.product)

    def backward(self, slope: torch.Tensor) -> torch.Tensor:
        """Return the gradient of what the layer below holds, `(K, C, H, W, n)` or `(K, features, n)`."""
        back = self._back
        if len(self.patches) < len(self.matrix):
            torch.mm(self.matrix.flatten(0, 1)[:, :-1].T, slope.flatten(0, 1), out=back.patches[0])
        else:
            torch.bmm(self.matrix[:, :, :-1].transpose(1, 2), slope, out=back.patches)
        for part in back.cleared:
            part.zero_()
        for block, area in back.copied:
            area.copy_(block)
        for block, area in back.added:
            area.add_(block)
        return back.values

    @cached_property
    def _back(self) -> "_Back":
        """Return the buffers of the way back, which a pass without gradients does not need."""
        layer = self.layer
        patches = self.patches.new_empty(len(self.patches), layer.columns, self.patches.shape[-1])
        if not layer.size:
            return _Back(patches, patches, [], [], [])
        size, stride, padding = layer.size, layer.stride, layer.padding
        parts = patches.view(len(patches), self.channels, size, size, self.rows, self.columns, -1)
        sides = (max(side + 2 * padding, size) for side in (self.height, self.width))
        padded = patches.new_zeros(len(patches), self.channels, *sides, parts.shape[-1])
        values = padded[:, :, padding : padding + self.height, padding : padding + self.width]
        blocks = []
        for i in range(0, size, stride):
            for j in range(0, size, stride):
                tall, broad = min(stride, size - i), min(stride, size - j)
                block = parts[:, :, i : i + tall, j : j + broad].permute(0, 1, 4, 2, 5, 3, 6)
                blocks.append((block, _strided(padded, i, j, block.shape, stride)))
        if size < stride:
            return _Back(patches, values, [padded], [], blocks)
        below, right = (max(stride * places - padding, 0) for places in (self.rows, self.columns))
        return _Back(patches, values, [values[:, :, below:], values[:, :, :, right:]], blocks[:1], blocks[1:])


@dataclass(frozen=True)
class _Back:
    """The way back through a layer: gradients of patches are added up at the places that they were taken from.

    The offsets of a kernel fall into blocks of stride by stride, within which no two share a place. So the first block
    is copied, and only the others are added.
    """

    patches: torch.Tensor
    """Their gradient, `(K, columns, n')`."""
    values: torch.Tensor
    """The gradient of what the layer below holds: a view without the padding."""
    cleared: list[torch.Tensor]
    """What the first block does not write."""
    copied: list[tuple[torch.Tensor, torch.Tensor]]
    """Views of the gradient of the patches, and of where they go."""
    added: list[tuple[torch.Tensor, torch.Tensor]]


def _strided(total: torch.Tensor, i: int, j: int, shape: torch.Size, stride: int) -> torch.Tensor:
    """Return a view `(K, C, rows, tall, columns, broad, n)`: from (i, j), the first of every `stride` rows, columns."""
    at_model, at_channel, at_row, at_column, at_image = total.stride()
    steps = (at_model, at_channel, at_row * stride, at_row, at_column * stride, at_column, at_image)
    return total.as_strided(shape, steps, i * at_row + j * at_column)


def _overlap(offset: int, layer: _Layer, side: int, places: int) -> tuple[slice, slice]:
    """Return at which places an offset of the kernel lies within the image, and where in the image."""
    first = max(0, -((offset - layer.padding) // layer.stride))
    last = max(first, min(places, (side - 1 - offset + layer.padding) // layer.stride + 1))
    start = first * layer.stride + offset - layer.padding
    return slice(first, last), slice(
        start, start + max(0, last - first - 1) * layer.stride + (last > first), layer.stride
    )


def _copy(source: torch.Tensor, target: torch.Tensor) -> None:
    target.copy_(source)


def _rectify(source: torch.Tensor, target: torch.Tensor) -> None:
    torch.clamp(source, min=0, out=target)
