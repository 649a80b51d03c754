"""Options from a file: a table for each command, and above them what holds for every command that has such an option.

The file is read only where it is named: the current folder can be a suspect's.
"""

import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from fpverify.documents import read_file
from fpverify.errors import PolicyError

Defaults = dict[str, Any]
"""What click takes: values by a command's parameters, and tables by a group's commands."""


def load_config(path: Path, group: click.Group) -> Defaults:
    """Return the options that a file gives.

    Args:
        path: TOML; of a `pyproject.toml` the table `tool.fpverify`.
        group: the commands.

    Raises:
        PolicyError: if it cannot be read, or names a command or an option that there is not.
    """
    data = read_file(path, "options", PolicyError)
    try:
        stated: Any = tomllib.loads(data.decode())
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise PolicyError(f"not TOML: {error}", culprit=path) from error
    if path.name == "pyproject.toml":
        stated = stated.get("tool", {}).get("fpverify")
        if not isinstance(stated, dict):
            raise PolicyError("there are no options in it", culprit=path, expected="a table [tool.fpverify]")
    defaults = _defaults(stated, group, {}, path, "")
    known = {name for command in _commands(group) for name in _options(command)}
    for name, value in stated.items():
        if not isinstance(value, dict) and _plain(name) not in known:
            raise PolicyError("no command has such an option", culprit=path, where=name)
    return defaults


def in_words(defaults: Mapping[str, Any], command: click.Command, where: str = "") -> str:
    """Return what the file gives to a command, for its report: `significance = 0.01, fail-on = ['derived']`."""
    if isinstance(command, click.Group):
        each = (in_words(defaults[name], one, f"{where}{name}.") for name, one in command.commands.items())
        return ", ".join(filter(None, each))
    names = {str(option.name): name for name, option in _options(command).items()}
    return ", ".join(f"{where}{names[name]} = {value!r}" for name, value in defaults.items())


def _defaults(
    stated: Mapping[str, Any], group: click.Group, above: Mapping[str, Any], path: Path, where: str
) -> Defaults:
    """Return the defaults of a group's commands; `above` holds for all of them."""
    shared = {**above, **{_plain(name): value for name, value in stated.items() if not isinstance(value, dict)}}
    tables = {name: value for name, value in stated.items() if isinstance(value, dict)}
    if unknown := sorted(set(tables) - set(group.commands)):
        raise PolicyError(
            "no such command", culprit=path, where=where + unknown[0], expected=f"one of {', '.join(group.commands)}"
        )
    defaults: Defaults = {}
    for name, command in group.commands.items():
        own = tables.get(name, {})
        if isinstance(command, click.Group):
            defaults[name] = _defaults(own, command, shared, path, f"{name}.")
            continue
        options = _options(command)
        given = {_plain(key): value for key, value in own.items()}
        if wrong := sorted(set(given) - set(options)):
            raise PolicyError(
                "no such option",
                culprit=path,
                where=f"{where}{name}.{wrong[0]}",
                expected=f"one of {', '.join(options)}",
            )
        both = {**{key: value for key, value in shared.items() if key in options}, **given}
        defaults[name] = {
            str(options[key].name): _value(value, options[key], path, f"{where}{name}.{key}")
            for key, value in both.items()
        }
    return defaults


def _value(value: Any, option: click.Option, path: Path, where: str) -> Any:
    """Return a value as click takes it, which checks the rest."""
    values = value if isinstance(value, list) else [value]
    plain = bool if option.is_flag else str | int | float
    if not all(isinstance(one, plain) and (option.is_flag or not isinstance(one, bool)) for one in values):
        raise PolicyError(
            culprit=path, where=where, expected="true or false" if option.is_flag else "a text or a number", found=value
        )
    if option.multiple:
        return values
    if isinstance(value, list):
        raise PolicyError(culprit=path, where=where, expected="one value", found=value)
    return value


def _commands(group: click.Group) -> Iterator[click.Command]:
    for command in group.commands.values():
        if isinstance(command, click.Group):
            yield from _commands(command)
        else:
            yield command


def _options(command: click.Command) -> dict[str, click.Option]:
    """Return a command's options by their names without dashes at the front."""
    return {
        _plain(text): option
        for option in command.params
        if isinstance(option, click.Option)
        for text in option.opts
        if text.startswith("--")
    }


def _plain(name: str) -> str:
    return name.lstrip("-").replace("_", "-")
