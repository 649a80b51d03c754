"""Networks whose body stays as it is: the body answers once about each image, and last layers are trained on that.

So a hundred networks on one public body cost hardly more than one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import nn

from fpverify_generator.models.passes import in_passes
from fpverify_generator.models.stacked import is_stackable
from fpverify_generator.models.training import TrainingTask, by_pixel, copied, initial, varies_images
from fpverify_generator.run.cache import digest
from fpverify_generator.run.context import RunContext, run_pieces
from fpverify_generator.run.progress import Stage

AT_ONCE = 1000
"""Images whose features are one piece of cached work."""


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
    """Say whether a training changes the last layer alone, and sees each image as it is."""
    recipe = task.recipe
    as_it_is = not (recipe.prune or recipe.radius or recipe.freeze or varies_images(recipe))
    return recipe.layers == "last" and as_it_is and parted(initial(task)) is not None


@dataclass(frozen=True)
class Bodily:
    """What a body says of some images, as a piece of work."""

    body: nn.Module
    inputs: torch.Tensor
    device: str

    def __call__(self) -> dict[str, torch.Tensor]:
        """Return the features, `(n, features)`."""
        return {"features": features(self.body, self.inputs, self.device)}


@torch.no_grad()
def features(body: nn.Module, inputs: torch.Tensor, device: str = "cpu") -> torch.Tensor:
    """Return a body's answers about `(n, C, H, W)` images, `(n, features)` on the CPU."""
    network = copied(body).to(device)
    by_pixel(network)
    return torch.cat([network(chunk).cpu() for chunk in in_passes(inputs, device)])


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
    wanted: dict[int, str] = {}
    bodies: dict[str, tuple[nn.Module, torch.Tensor]] = {}
    for number, task in enumerate(tasks):
        if keeps_body(task):
            body, _ = parts_of(task)
            wanted[number] = key = digest("features", work.device, body, task.inputs)
            bodies.setdefault(key, (body, task.inputs))
    answers = _answers(bodies, work)
    done = [head_task(task, answers[wanted[number]]) if number in wanted else task for number, task in enumerate(tasks)]
    return OnFeatures(tasks, done)


def _answers(bodies: Mapping[str, tuple[nn.Module, torch.Tensor]], work: RunContext) -> dict[str, torch.Tensor]:
    """Return each body's features, `(n, features, 1, 1)`."""
    pieces: dict[str, Bodily] = {}
    keys: dict[str, list[str]] = {}
    for key, (body, inputs) in bodies.items():
        chunks = inputs.split(AT_ONCE)
        keys[key] = [f"{digest(key, number)}" for number in range(len(chunks))]
        pieces |= {name: Bodily(body, chunk, work.device) for name, chunk in zip(keys[key], chunks, strict=True)}
    stage = Stage(work.log, "features", sum(len(inputs) for _, inputs in bodies.values()), "images seen by a body")
    found: dict[str, torch.Tensor] = {}
    seen = 0
    for name, result in zip(pieces, run_pieces(pieces, work), strict=True):
        found[name] = result["features"]
        seen += len(found[name])
        stage.done(seen)
    return {key: torch.cat([found[name] for name in names])[:, :, None, None] for key, names in keys.items()}


def parts_of(task: TrainingTask) -> tuple[nn.Sequential, nn.Linear]:
    """Return the body and the last layer that a training begins with, where `keeps_body` says that there are some."""
    parts = parted(initial(task))
    if parts is None:
        raise ValueError(f"the task '{task.name}' trains more than a last layer")
    return parts


def head_task(task: TrainingTask, inputs: torch.Tensor) -> TrainingTask:
    """Return the training of a task's last layer, which begins as it would in the whole network.

    Args:
        task: one that `keeps_body`.
        inputs: `(n, features, 1, 1)` what its body says of its images.
    """
    recipe = replace(task.recipe, layers="all", reinitialise=False)
    return replace(task, architecture=None, inputs=inputs, asked=recipe, start=as_head(parts_of(task)[1]))
