"""Rendered textures: a domain of its own, for attackers who have no images of the owner's."""

import torch

from fpverify_generator.data.dataset import DataSet
from fpverify_generator.run.seeds import generator_for

KINDS = ("stripes", "checks", "rings", "gradient", "blobs", "strokes", "clouds", "corners")
"""What is drawn; the classes of the domain."""


def textures(count: int, shape: tuple[int, int, int], seed: int) -> DataSet:
    """Return rendered textures under pixel noise, as many of each kind.

    Args:
        count: how many images.
        shape: channels, height and width of one.
        seed: of all draws.

    Returns:
        `count` images of the classes `KINDS`; in colour, each channel has its own strength and offset.
    """
    draw = generator_for(seed, "textures")
    channels, height, width = shape
    rows, columns = torch.meshgrid(torch.linspace(0, 1, height), torch.linspace(0, 1, width), indexing="ij")
    labels = torch.arange(count) % len(KINDS)
    images = torch.stack([_render(KINDS[int(label)], rows, columns, draw) for label in labels])
    strength = 0.5 + 0.5 * torch.rand((count, channels, 1, 1), generator=draw)
    flipped = (torch.rand((count, channels, 1, 1), generator=draw) < (0.3 if channels > 1 else 0.0)).float()
    images = images[:, None] * strength
    images = flipped * (1 - images) + (1 - flipped) * images
    noise: torch.Tensor = torch.rand((count, 1, 1, 1), generator=draw) * 0.2 * torch.randn(images.shape, generator=draw)
    return DataSet((images + noise).clamp(0, 1), labels, torch.arange(count), KINDS)


def _render(kind: str, rows: torch.Tensor, columns: torch.Tensor, draw: torch.Generator) -> torch.Tensor:
    """Return one grey image in [0, 1]."""
    a, b, c, d = torch.rand(4, generator=draw).tolist()
    image: torch.Tensor
    turned = rows * torch.sin(torch.tensor(6.28 * a)) + columns * torch.cos(torch.tensor(6.28 * a))
    distance = ((rows - b) ** 2 + (columns - c) ** 2).sqrt()
    if kind == "stripes":
        image = 0.5 + 0.5 * torch.sin(turned * (6 + 20 * b) + 6.28 * c)
        return image
    if kind == "checks":
        across = rows * torch.cos(torch.tensor(6.28 * a)) - columns * torch.sin(torch.tensor(6.28 * a))
        image = ((turned * (2 + 4 * b)).floor() + (across * (2 + 4 * b)).floor()) % 2
        return image
    if kind == "rings":
        image = 0.5 + 0.5 * torch.sin(distance * (10 + 25 * d) + 6.28 * a)
        return image
    if kind == "gradient":
        image = ((turned - turned.min()) / (turned.max() - turned.min())) ** (0.5 + 2 * b)
        return image
    if kind == "corners":
        image = ((rows > b) ^ (columns > c)).float() * (0.6 + 0.4 * d) + 0.1 * a
        return image
    image = torch.zeros_like(rows)
    if kind == "clouds":
        for octave in range(4):
            wave = 2.0**octave
            phases = 6.28 * torch.rand(3, generator=draw)
            image += torch.sin(3 * wave * turned + phases[0]) * torch.sin(3 * wave * distance + phases[1]) / wave
        return (image - image.min()) / (image.max() - image.min()).clamp(min=1e-6)
    for _ in range(2 + int(4 * d)):
        top, left, bottom, right = torch.rand(4, generator=draw).tolist()
        if kind == "blobs":
            spread = 0.01 + 0.05 * bottom
            image = torch.maximum(image, torch.exp(-((rows - top) ** 2 + (columns - left) ** 2) / spread))
        else:
            image = torch.maximum(image, _stroke(rows, columns, (top, left), (bottom, right)))
    return image


def _stroke(
    rows: torch.Tensor, columns: torch.Tensor, start: tuple[float, float], end: tuple[float, float]
) -> torch.Tensor:
    """Return a soft line from one point to another."""
    down, right = end[0] - start[0], end[1] - start[1]
    along = ((rows - start[0]) * down + (columns - start[1]) * right) / max(down**2 + right**2, 1e-6)
    along = along.clamp(0, 1)
    distance = (rows - start[0] - along * down) ** 2 + (columns - start[1] - along * right) ** 2
    return torch.exp(-distance / 0.008)
