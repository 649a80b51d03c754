"""Options from a file: a table for each command, and above them what holds for every command that has such an option.

The file is read only where it is named: the current folder can be a suspect's.
"""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from fpverify.commands.progress import loudness
from fpverify.errors import PolicyError
from fpverify.secrets import redacted
from fpverify.text import one_line

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
    # most commands are run without such a file
    import tomllib

    from fpverify.documents import read_file

    data = read_file(path, "options", PolicyError)
    try:
        stated: Any = tomllib.loads(data.decode())
    except (ValueError, RecursionError) as error:  # not TOML; or numbers and lists that Python does not read
        raise PolicyError(f"not TOML: {one_line(str(error), 200)}", culprit=path) from error
    if path.name == "pyproject.toml":
        tool = stated.get("tool")
        stated = tool.get("fpverify") if isinstance(tool, dict) else None
        if not isinstance(stated, dict):
            raise PolicyError("there are no options in it", culprit=path, expected="a table [tool.fpverify]")
    return _defaults(stated, group, {}, path, "")


def command_line(context: click.Context) -> str:
    """Return the command line for a report, with the options of a file and the environment; --verbose shows these."""
    given: dict[str, list[str]] = {}
    places: dict[ParameterSource | None, str] = {ParameterSource.ENVIRONMENT: "the environment"}
    if config := config_of(context):
        places[ParameterSource.DEFAULT_MAP] = str(config[0])
    for name, option in _options(context.command).items():
        where = places.get(context.get_parameter_source(option.name or ""))
        if where is not None and option.name in context.params:
            shown = redacted(f"{name} = {_without_paths(context.params[option.name])!r}")
            given.setdefault(where, []).append(shown)
    said = [f"options from {where}: {', '.join(options)}" for where, options in given.items()]
    if loudness() == "verbose":
        for one in said:
            click.echo(f"fpverify: {one}", err=True)
    return " ".join([str(context.obj), *(f"({one})" for one in said)])


def _without_paths(value: Any) -> Any:
    """Return an option's value with texts in place of paths."""
    if isinstance(value, tuple):
        return tuple(map(_without_paths, value))
    return str(value) if isinstance(value, Path) else value


def name_variables(group: click.Group, prefix: str) -> None:
    """Let each option be an environment variable that is called as the option is: `FPVERIFY_VERIFY_FORMAT`.

    Args:
        group: the commands.
        prefix: how their variables begin.
    """
    for name, command in group.commands.items():
        below = f"{prefix}_{name.upper().replace('-', '_')}"
        if isinstance(command, click.Group):
            name_variables(command, below)
        for text, option in _options(command).items():
            option.envvar = option.envvar or f"{below}_{text.upper().replace('-', '_')}"


def config_of(context: click.Context) -> list[Path]:
    """Return the file of --config, if one is named."""
    config = context.find_root().params.get("config")
    return [] if config is None else [config]


def _defaults(
    stated: Mapping[str, Any], group: click.Group, above: Mapping[str, Any], path: Path, where: str
) -> Defaults:
    """Return the defaults of a group's commands; `above` holds for all of them."""
    plain = _named(((name, value) for name, value in stated.items() if not isinstance(value, dict)), path, where)
    known = {name for command in _commands(group) for name in _options(command)}
    if unknown := sorted(set(plain) - known):
        raise PolicyError("no command has such an option", culprit=path, where=where + unknown[0])
    shared = {**above, **plain}
    tables = {name: value for name, value in stated.items() if isinstance(value, dict)}
    if unknown := sorted(set(tables) - set(group.commands)):
        raise PolicyError(
            "no such command", culprit=path, where=where + unknown[0], expected=f"one of {', '.join(group.commands)}"
        )
    defaults: Defaults = {}
    for name, command in group.commands.items():
        own = tables.get(name, {})
        if isinstance(command, click.Group):
            defaults[name] = _defaults(own, command, shared, path, f"{where}{name}.")
            continue
        options = _options(command)
        given = _named(own.items(), path, f"{where}{name}.")
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
    if isinstance(value, list) and not option.multiple:
        raise PolicyError(culprit=path, where=where, expected="one value", found=one_line(repr(value), 100))
    kinds, expected = _kind_of(option)
    values = value if isinstance(value, list) else [value]
    for one in values:
        try:
            if not isinstance(one, kinds) or (isinstance(one, bool) and not option.is_flag):
                raise PolicyError(culprit=path, where=where, expected=expected, found=one_line(repr(one), 100))
            option.type.convert(one, option, None)
        except click.BadParameter as error:
            raise PolicyError(one_line(error.message, 300), culprit=path, where=where) from error
    return values if option.multiple else value


def _kind_of(option: click.Option) -> tuple[tuple[type, ...], str]:
    """Return of which types a value of an option may be, and these in words."""
    if option.is_flag:
        return (bool,), "true or false"
    if isinstance(option.type, click.types.IntParamType):
        return (int,), "a whole number"
    if isinstance(option.type, click.types.FloatParamType):
        return (int, float), "a number"
    return (str,), "a text"


def _named(given: Iterable[tuple[str, Any]], path: Path, where: str) -> dict[str, Any]:
    """Return options by their names with dashes; no name may be given twice."""
    found: dict[str, Any] = {}
    for name, value in given:
        plain = _plain(name)
        if plain in found:
            raise PolicyError("is given twice", culprit=path, where=where + plain)
        found[plain] = value
    return found


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
