"""An owner's own architectures, from a Python file; and the check that a family's networks fit the data."""

import hashlib
import importlib.util
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from safetensors.torch import save
from torch import nn

from fpverify.files import sha256_of
from fpverify.text import one_line
from fpverify_generator.errors import PresetError, SourceError
from fpverify_generator.models.architectures import FAMILIES, Architecture, Family, Task, initialise
from fpverify_generator.models.backbones import put_weights, timm_model

MEMBERS = ("base", "narrow", "wide", "other")
"""The fields of a `Family` that hold its architectures."""


def load_family(text: str, folder: Path | None = None, weights: Sequence[Path] = ()) -> Family:
    """Find a family of architectures.

    Args:
        text: a key of `FAMILIES`; or `FILE.py:NAME`: NAME is a `Family` in that file, whose code is run; or
            `timm:NAME[,NAME…]`: one to four networks of timm, in the order base, narrow, wide, other, where the base
            stands for what is not named.
        folder: what a relative FILE is relative to; None for the working directory.
        weights: of timm's networks, in their order; the others begin with random ones.

    Returns:
        The family. An owner's own architectures carry the SHA-256 of the file.

    Raises:
        PresetError: if there is none of this name, the file cannot be run or holds no family, or weights are given to
            another kind of family or cannot be read.
    """
    if text.startswith("timm:"):
        return _of_timm(text, weights)
    if weights:
        raise PresetError("--weights goes with --family timm:NAME", culprit=f"family '{text}'")
    if text in FAMILIES:
        return FAMILIES[text]
    file, _, name = text.rpartition(":")
    if not file.endswith(".py"):
        raise PresetError(
            f"no family of architectures '{text}'", expected=f"{', '.join(FAMILIES)}, FILE.py:NAME or timm:NAME"
        )
    path = (folder or Path()) / file
    family, sha256 = _named(path, name)
    if not isinstance(family, Family):
        raise PresetError(
            culprit=path,
            where=name,
            expected="a Family of fpverify_generator",
            found="nothing" if family is None else type(family).__name__,
        )
    own = {member: getattr(family, member) for member in MEMBERS}
    ready = [known.build for other in FAMILIES.values() for known in other.members]
    for member, architecture in own.items():
        if not isinstance(architecture, Architecture):
            found = type(architecture).__name__
            raise PresetError(culprit=path, where=f"{name}.{member}", expected="an Architecture", found=found)
        if architecture.build not in ready:
            own[member] = replace(architecture, sha256=sha256)
    return Family(**own, name=f"{path.name}:{name}")


def _of_timm(text: str, weights: Sequence[Path]) -> Family:
    names = [name.strip() for name in text.removeprefix("timm:").split(",")]
    if not all(names) or len(names) > len(MEMBERS):
        raise PresetError(culprit=f"family '{text}'", expected=f"1 to {len(MEMBERS)} names of timm's networks")
    if len(weights) > len(names):
        raise PresetError(
            culprit=f"family '{text}'", expected=f"at most {len(names)} files of weights", found=len(weights)
        )
    members = []
    for number, name in enumerate(names):
        file = weights[number] if number < len(weights) else None
        made = Architecture(f"timm:{name}", timm_model(name, file))
        if file is not None:
            try:
                made = replace(made, sha256=hashlib.sha256(file.read_bytes()).hexdigest())
            except OSError as error:
                raise PresetError(f"cannot read the weights ({error.strerror or error})", culprit=file) from error
        members.append(made)
    members += [members[0]] * (len(MEMBERS) - len(members))
    base, narrow, wide, other = members
    return Family(base, narrow, wide, other, text)


def _named(path: Path, name: str) -> tuple[Any, str]:
    """Run a Python file; return what it calls by a name, None for nothing, and the file's SHA-256."""
    try:
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise PresetError(f"cannot read the file ({error.strerror or error})", culprit=path) from error
    return getattr(_run(path, sha256), name, None), sha256


_RUN: dict[str, ModuleType] = {}
"""Modules of files that were run, by their SHA-256: a file is run once."""


def _run(path: Path, sha256: str) -> ModuleType:
    if sha256 in _RUN:
        return _RUN[sha256]
    name = f"fpverify_family_{sha256[:16]}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise PresetError("cannot be run as Python", culprit=path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise PresetError(f"raised {one_line(f'{type(error).__name__}: {error}', 300)}", culprit=path) from error
    finally:
        # What is in no importable module is sent to worker processes by value: they may not find the file.
        del sys.modules[name]
    return _RUN.setdefault(sha256, module)


def load_network(text: str, weights: Path | None = None) -> tuple[nn.Module, str]:
    """Make an owner's network by a function of a Python file, and put weights into it.

    Args:
        text: `FILE.py:NAME`: NAME takes nothing and returns a network. The file's code is run.
        weights: `.safetensors` or a `state_dict` of `torch.save`; None where NAME puts them in.

    Returns:
        The network in evaluation mode; and the SHA-256 of the weights' file, or of the weights as safetensors.

    Raises:
        SourceError: if the file cannot be run, makes no network, or the weights are not of that network.
    """
    file, _, name = text.rpartition(":")
    path = Path(file)
    try:
        make, _ = _named(path, name)
    except PresetError as error:
        raise SourceError(error.problem, culprit=error.culprit) from error
    if not callable(make):
        raise SourceError(culprit=path, where=name, expected="a function that returns a torch.nn.Module", found="none")
    try:
        network = make()
    except (Exception, SystemExit) as error:
        raise SourceError(
            f"raised {one_line(f'{type(error).__name__}: {error}', 300)}", culprit=path, where=name
        ) from error
    if not isinstance(network, nn.Module):
        raise SourceError(culprit=path, where=name, expected="a torch.nn.Module", found=type(network).__name__)
    if weights is not None:
        try:
            put_weights(network, weights)
        except PresetError as error:
            fields = {name: getattr(error, name) for name in ("culprit", "expected", "found", "hint")}
            raise SourceError(error.problem, **fields) from error
    network = network.eval().requires_grad_(False)
    return network, _identity(network, weights)


def _identity(network: nn.Module, weights: Path | None) -> str:
    """Return the SHA-256 of the file of the weights; or, where a function put them in, of them as safetensors."""
    if weights is not None and (found := sha256_of(weights)) is not None:
        return found
    held = {name: value.detach().cpu().contiguous().clone() for name, value in network.state_dict().items()}
    return hashlib.sha256(save(held)).hexdigest()


def require_fit(family: Family, task: Task, frozen: Sequence[str] = ()) -> None:
    """Check that every architecture of a family takes the data's images and returns a score for each class.

    Args:
        family: the architectures.
        task: the images' shape and the number of classes.
        frozen: beginnings of names of parameters that keep their weights (`Recipe.freeze`).

    Raises:
        PresetError: naming the first architecture that does not, or a beginning that no parameter's name has, or all
            parameters of an architecture have.
    """
    unused = set(frozen)
    for architecture in family.members:
        culprit = f"architecture '{architecture.name}' of family '{family.name}'"
        try:
            network = initialise(architecture, task, 0)
            with torch.no_grad():
                scores = network(torch.zeros(2, *task.shape))
            found = tuple(scores.shape)
        except PresetError:
            raise
        except Exception as error:
            reason = one_line(f"{type(error).__name__}: {error}", 300)
            raise PresetError(f"cannot take images of shape {task.shape}: {reason}", culprit=culprit) from error
        if found != (2, task.classes):
            expected = f"scores of shape {(2, task.classes)} for two images"
            raise PresetError(culprit=culprit, expected=expected, found=found)
        names = [name for name, _ in network.named_parameters()]
        unused -= {start for start in unused if any(name.startswith(start) for name in names)}
        if all(name.startswith(tuple(frozen)) for name in names):
            raise PresetError("the recipe's freeze leaves nothing to train", culprit=culprit, hint="name less")
    if unused:
        example = ", ".join(names[:2])
        raise PresetError(
            culprit="recipe",
            where="freeze",
            expected=f"the beginning of a parameter's name ({example} …)",
            found=repr(sorted(unused)[0]),
        )
