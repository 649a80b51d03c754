"""Networks whose body stays as it is: the body answers once about each image, and last layers are trained on that.

So a hundred networks on one public body cost hardly more than one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import nn

from fpverify_generator.data.store import Inputs, taken, whole
from fpverify_generator.models.passes import answers_of, sent_at_once
from fpverify_generator.models.stacked import is_stackable
from fpverify_generator.models.training import (
    Recipe,
    TrainingTask,
    augmented,
    by_pixel,
    copied,
    initial,
    minibatches,
    varies_images,
)
from fpverify_generator.run.cache import digest
from fpverify_generator.run.context import RunContext, run_pieces
from fpverify_generator.run.progress import Stage
from fpverify_generator.run.seeds import derive_seed, generator_for


def parted(module: nn.Module) -> tuple[nn.Sequential, nn.Linear] | None:
    """Return a network's body and its last layer; None for one that is no such chain, or that stacks as it is."""
    if not isinstance(module, nn.Sequential) or len(module) < 2 or is_stackable(module):
        return None
    *body, last = module
    return (nn.Sequential(*body), last) if isinstance(last, nn.Linear) and last.bias is not None else None


def as_head(last: nn.Linear) -> nn.Sequential:
    """Return a last layer as a network of its own, for `(n, features, 1, 1)` inputs."""
    return nn.Sequential(nn.Flatten(), last)


def keeps_body(task: TrainingTask) -> bool:
    """Say whether a training changes the last layer alone, and sees each image in few ways that are known before."""
    recipe = task.recipe
    fresh = varies_images(recipe) and not recipe.views
    whole = recipe.prune or recipe.radius or recipe.freeze
    return recipe.layers == "last" and not fresh and not whole and parted(initial(task)) is not None


def view_of(recipe: Recipe) -> Recipe | None:
    """Return how images are varied before a body sees them; None if they are not. Mixing is done on features."""
    view = Recipe(augment=recipe.augment, colour=recipe.colour, noise=recipe.noise)
    return view if varies_images(view) else None


@dataclass(frozen=True)
class FeaturePiece:
    """What a body says of some images, as a piece of work."""

    body: nn.Module
    """From images to features."""
    inputs: Inputs
    """`(n, C, H, W)` the images."""
    device: str
    """`cpu` or `cuda`."""
    view: Recipe | None = None
    """How the images are varied first."""
    seed: int = 0
    """Of these variations."""
    rows: torch.Tensor | None = None
    """`(m,)` numbers of the images that it sees; None for all. Many pieces share one tensor of images."""

    @property
    def count(self) -> int:
        """Return how many images it sees."""
        return len(self.inputs) if self.rows is None else len(self.rows)

    def __getstate__(self) -> dict[str, object]:
        """Return what is sent to another process: no other images than it sees."""
        return {**self.__dict__, "inputs": self._seen(), "rows": None}

    def _seen(self) -> Inputs:
        return self.inputs if self.rows is None else taken(self.inputs, self.rows)

    def __call__(self) -> dict[str, torch.Tensor]:
        """Return the features, `(m, features)`."""
        inputs = self._seen()
        if self.view is not None:
            images = whole(inputs)
            inputs, _ = augmented(images, images, self.view, generator_for(self.seed, "view"))
        return {"features": features(self.body, inputs, self.device)}


def features(body: nn.Module, inputs: Inputs, device: str = "cpu") -> torch.Tensor:
    """Return a body's answers about `(n, C, H, W)` images, `(n, features)` on the CPU."""
    network = copied(body).to(device)
    by_pixel(network)
    return answers_of(network, inputs, device)


@dataclass(frozen=True)
class OnFeatures:
    """Training tasks, those that change the last layer alone as tasks of that layer."""

    asked: Sequence[TrainingTask]
    """The tasks as they were given."""
    done: Sequence[TrainingTask]
    """What is trained for each."""

    def whole(self, number: int, trained: nn.Module) -> nn.Module:
        """Return the network of a task: its body, and the last layer that was trained."""
        task = self.asked[number]
        if self.done[number] is task:
            return trained
        network, last = initial(task), trained.get_submodule("1")
        network.get_submodule(str(len(list(network.children())) - 1)).load_state_dict(last.state_dict())
        return network


def on_features(tasks: Sequence[TrainingTask], work: RunContext) -> OnFeatures:
    """Let each body answer once about each image, and return tasks of last layers where these alone are trained.

    Args:
        tasks: what to train.
        work: cache, device, processes and progress.

    Returns:
        The tasks; one that trains more than its last layer stays as it is.

    Raises:
        CacheError: if finished work cannot be written.
    """
    wanted: dict[int, tuple[nn.Linear, list[str]]] = {}
    pieces: dict[str, FeaturePiece] = {}
    for number, task in enumerate(tasks):
        if keeps_body(task):
            body, last = parts_of(task)
            seen = _pieces(task, body, work.device)
            wanted[number] = last, list(seen)
            pieces |= seen
    found = _done(pieces, work)
    together: dict[tuple[str, ...], torch.Tensor] = {}  # one tensor for all tasks that share it
    done = list(tasks)
    for number, (last, keys) in wanted.items():
        same = tuple(keys)
        if same not in together:
            together[same] = torch.cat([found[key] for key in keys])[:, :, None, None]
        done[number] = head_task(tasks[number], last, together[same], drawn_views(tasks[number]))
    return OnFeatures(tasks, done)


def _pieces(task: TrainingTask, body: nn.Module, device: str) -> dict[str, FeaturePiece]:
    """Return the work after which a task's features are there, by cache key."""
    drawn, size = drawn_views(task), sent_at_once(task.inputs.shape[1:].numel())
    if drawn is None:
        key, rows = digest("features", device, body, task.inputs), torch.arange(len(task.inputs))
        return {digest(key, some): FeaturePiece(body, task.inputs, device, rows=some) for some in rows.split(size)}
    key = digest("features of views", device, body, task.inputs, drawn.view)
    found = {}
    for place, some in enumerate(drawn.rows.split(size)):
        seed = derive_seed(task.seed, "view", place)
        found[digest(key, some, seed)] = FeaturePiece(body, task.inputs, device, drawn.view, seed, some)
    return found


@dataclass(frozen=True)
class Drawn:
    """The varied views that a training's minibatches draw: of many images, bodies see no others."""

    view: Recipe
    """How images are varied."""
    rows: torch.Tensor
    """`(u,)` of which image each view is; an image may have several."""
    order: torch.Tensor
    """`(steps, batch)` numbers of views, of every minibatch."""


def drawn_views(task: TrainingTask) -> Drawn | None:
    """Return the varied views that a training sees; None if it sees images as they are."""
    view = view_of(task.recipe)
    if view is None:
        return None
    rows = torch.arange(len(task.inputs)) if task.rows is None else task.rows
    every = minibatches(replace(task, rows=torch.arange(task.recipe.views * len(rows))))
    seen, order = every.unique(return_inverse=True)
    return Drawn(view, rows[seen % len(rows)], order)


def _done(pieces: Mapping[str, FeaturePiece], work: RunContext) -> dict[str, torch.Tensor]:
    """Let bodies see what they have not seen; return each piece's features."""
    stage = Stage(work.log, "features", sum(piece.count for piece in pieces.values()), "images seen by a body")
    found: dict[str, torch.Tensor] = {}
    seen = 0
    for key, result in zip(pieces, run_pieces(pieces, work), strict=True):
        found[key] = result["features"]
        seen += len(found[key])
        stage.done(seen)
    return found


def parts_of(task: TrainingTask) -> tuple[nn.Sequential, nn.Linear]:
    """Return the body and the last layer that a training begins with, where `keeps_body` says that there are some."""
    parts = parted(initial(task))
    if parts is None:
        raise ValueError(f"the task '{task.name}' trains more than a last layer")
    return parts


def head_task(task: TrainingTask, last: nn.Linear, inputs: torch.Tensor, drawn: Drawn | None = None) -> TrainingTask:
    """Return the training of a task's last layer, which begins as it would in the whole network.

    Args:
        task: one that `keeps_body`.
        last: its last layer, of `parts_of`.
        inputs: `(n, features, 1, 1)` what its body says of its images, or of the varied views that are drawn.
        drawn: these, from `drawn_views`.
    """
    head = replace(task.recipe, layers="all", reinitialise=False, augment=0, colour=0.0, noise=0.0)
    task = replace(task, architecture=None, inputs=inputs, asked=head, start=as_head(last))
    return task if drawn is None else replace(task, targets=task.targets[drawn.rows], rows=None, order=drawn.order)
