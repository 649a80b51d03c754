"""What README and docs say can be done, can be done: links, commands, options, outputs, code."""

import ast
import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner
from fpverify_generator.cli import main as generator
from fpverify_generator.models.architectures import Task
from fpverify_generator.models.own import require_fit
from fpverify_generator.presets import load_preset

from fpverify import load_fingerprint
from fpverify.cli import main as verifier
from fpverify.commands.shared import EXIT_CODES, EXIT_FORBIDDEN, EXIT_NO_VERDICT

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "fixtures" / "digits" / "source.onnx"
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
COMMANDS = {"fpverify": verifier, "fpverify-generator": generator}


def blocks(page: Path, *languages: str) -> list[str]:
    """Return the blocks of code of some languages; that of none is the empty one."""
    return [
        text
        for language, text in re.findall(r"^```(\w*)\n(.*?)^```", page.read_text(), re.M | re.S)
        if language in languages
    ]


def commands() -> list[tuple[str, str]]:
    """Return each of our own commands with its page, comments and `&&` cut."""
    found = []
    for page in PAGES:
        lines = [line.removeprefix("$ ") for block in blocks(page, "sh", "console") for line in block.splitlines()]
        quoted = re.findall(r"`(fpverify(?:-generator)? [^`]+)`", page.read_text())
        for part in (part.strip() for line in [*lines, *quoted] for part in line.split("#")[0].split("&&")):
            if part.split(" ")[0] in COMMANDS:
                found.append((page.name, part))
    return sorted(set(found))


def test_the_readme_is_for_a_reader_of_ten_minutes():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 180


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if "://" in target:
            continue
        path, _, heading = target.partition("#")
        to = (page.parent / path) if path else page
        assert to.exists(), target
        if heading:
            titles = [
                re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")
                for title in re.findall(r"^#+ (.*)", to.read_text(), re.M)
            ]
            assert heading in titles, target


def test_every_page_of_the_docs_is_linked_from_the_readme_or_another_page():
    linked = {
        (page.parent / target.partition("#")[0]).resolve()
        for page in PAGES
        for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text())
        if "://" not in target
    }
    assert {page.resolve() for page in ROOT.glob("docs/*.md")} <= linked


@pytest.mark.parametrize(
    "package",
    sorted(
        init.parent
        for room in ("fpverify", "generator/fpverify_generator")
        for init in ROOT.glob(f"{room}/**/__init__.py")
    ),
    ids=lambda package: package.name,
)
def test_the_docstring_of_a_package_is_a_map_of_all_its_files(package):
    named = set(re.findall(r"\w+", ast.get_docstring(ast.parse((package / "__init__.py").read_text()))))
    files = {path.stem for path in package.glob("*.py")} | {init.parent.name for init in package.glob("*/__init__.py")}
    assert files - {"__init__", "__main__"} <= named


@pytest.mark.parametrize(("page", "command"), commands())
def test_every_command_has_the_arguments_that_it_takes(page, command):
    program, *words = shlex.split(command)
    if "|" in command or any(word.isupper() and "=" in word for word in words):
        pytest.skip("a pattern, not a command")
    group = COMMANDS[program]
    if words[0].startswith("-"):
        assert words == ["--help"]
        return
    sub = group.get_command(None, words[0])
    assert sub is not None, command
    if len(words) > 1:
        sub.make_context(words[0], words[1:])


@pytest.mark.parametrize("page", ["README.md", "docs/verify.md"])
def test_the_first_example_gives_the_output_that_is_shown(page, monkeypatch):
    monkeypatch.chdir(ROOT)
    command = next(part for name, part in commands() if name == Path(page).name and "verify fixtures/" in part)
    result = CliRunner().invoke(verifier, shlex.split(command)[1:])
    assert result.exit_code == 3, result.stderr
    (shown,) = [block for block in blocks(ROOT / page, "", "console") if "DERIVED: " in block]
    for line in shown.splitlines():
        if line.startswith("$ "):
            continue
        for part in filter(None, line.strip().split("…")):
            assert part in result.stdout


def test_the_readmes_code_runs(monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    for code in blocks(ROOT / "README.md", "python"):
        exec(compile(code, "README.md", "exec"), {})  # noqa: S102
    assert "keys, and 72 are needed to call it derived" in capsys.readouterr().out


def test_the_exit_codes_are_those_of_the_table():
    shown = dict(re.findall(r"^\| (\d) \| (\w+)", (ROOT / "README.md").read_text(), re.M))
    codes = {str(code): str(verdict) for verdict, code in EXIT_CODES.items()}
    assert shown == codes | {str(EXIT_NO_VERDICT): "no", str(EXIT_FORBIDDEN): "unrelated"}


def test_the_presets_and_architectures_that_the_docs_show_can_be_used(tmp_path):
    (settings,) = blocks(ROOT / "docs" / "build.md", "toml")
    code = next(block for block in blocks(ROOT / "docs" / "build.md", "python") if "FAMILY = " in block)
    (tmp_path / "mine.py").write_text(code)
    (tmp_path / "preset.toml").write_text(settings)
    preset = load_preset(str(tmp_path / "preset.toml"))
    assert preset.recipe.steps == 2000
    assert [architecture.name for architecture in preset.family.members[:2]] == ["pooled", "pooled-narrow"]
    require_fit(preset.family, Task((3, 32, 32), 10))


SMALL = """
base = "quick"
nulls = 49
candidates = 100
keys = 20
recipe = { steps = 200 }
cem = { steps = 20 }
surrogates = { cem = 4, selection = 2, calibration = 4 }
references = { cem = 4, selection = 2, calibration = 2 }
"""
"""A preset that builds in half a minute."""


def test_the_owners_code_that_the_docs_show_builds_a_fingerprint(tmp_path, monkeypatch):
    code = next(block for block in blocks(ROOT / "docs" / "build.md", "python") if "build_fingerprint" in block)
    (tmp_path / "small.toml").write_text(SMALL)
    monkeypatch.chdir(tmp_path)
    code = (
        code.replace('"quick"', '"small.toml"')
        .replace('"my-data.npz"', '"digits"')
        .replace('"my-model.pt2"', repr(str(SOURCE)))
    )
    exec(compile(code.replace("seed=0", "seed=0, jobs=1"), "build.md", "exec"), {})  # noqa: S102
    assert len(load_fingerprint("fingerprint.safetensors")) == 20
