"""Options come from a file that is named, and from no other; the report says which."""

import json
import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from fpverify.cli import main
from fpverify.commands.progress import AFTER, Progress


def run(*arguments, env=None):
    return CliRunner().invoke(main, [str(argument) for argument in arguments], env=env)


@pytest.fixture
def judged(fingerprint_file, derived_file):
    """Judges with options before the command, and returns the result as JSON values."""

    def judge(*before, after=(), env=None):
        done = run(*before, "verify", derived_file, "-f", fingerprint_file, *after, env=env)
        assert done.exit_code in (0, 3, 4), done.stderr
        return done, json.loads(done.stdout)

    return judge


def test_a_file_gives_options_for_all_commands_and_for_one(tmp_path, judged):
    file = tmp_path / "fpverify.toml"
    file.write_text('format = "json"\nsignificance = 0.03\n[verify]\nask-twice = true\nfail-on = "inconclusive"\n')
    done, found = judged("--config", file)
    assert done.exit_code == 0
    assert (found["policy"]["significance"], found["policy"]["ask_twice"]) == (0.03, True)
    assert found["command"].endswith(
        f"(options from {file}: format = 'json', fail-on = ('inconclusive',), significance = 0.03, ask-twice = True)"
    )


def test_the_command_line_and_then_the_environment_come_first(tmp_path, judged):
    file = tmp_path / "fpverify.toml"
    file.write_text('format = "json"\n[verify]\nsignificance = 0.03\n')
    _, found = judged(env={"FPVERIFY_CONFIG": str(file), "FPVERIFY_VERIFY_SIGNIFICANCE": "0.04"})
    assert found["policy"]["significance"] == 0.04
    _, found = judged("--config", file, after=["--significance", "0.05"])
    assert found["policy"]["significance"] == 0.05
    assert found["command"].endswith(f"(options from {file}: format = 'json')")
    _, found = judged(env={"FPVERIFY_VERIFY_FORMAT": "json"})
    assert found["command"].endswith("(options from the environment: format = 'json')")
    done, _ = judged("--config", file, after=["-v"])
    assert f"fpverify: options from {file}: format = 'json', significance = 0.03\n" in done.stderr


def test_every_option_is_a_variable_of_its_own_name():
    """Also where the parameter in the code is called otherwise, such as `style` for --format."""

    def walk(group, above):
        for name, command in group.commands.items():
            below = f"{above}_{name.upper().replace('-', '_')}"
            if isinstance(command, click.Group):
                yield from walk(command, below)
                continue
            for option in command.params:
                if isinstance(option, click.Option):
                    long = next(one for one in option.opts if one.startswith("--"))
                    yield option.envvar, f"{below}_{long[2:].upper().replace('-', '_')}"

    pairs = list(walk(main, "FPVERIFY"))
    assert len(pairs) > 100
    assert [envvar for envvar, _ in pairs] == [name for _, name in pairs]


@pytest.mark.parametrize(("stated", "said"), [("quiet", "-v"), ("verbose", "-q")])
def test_the_command_line_says_how_loud(tmp_path, judged, stated, said):
    file = tmp_path / "fpverify.toml"
    file.write_text(f'format = "json"\n[verify]\n{stated} = true\n')
    done, _ = judged("--config", file, after=[said])
    assert ("fpverify: asking " in done.stderr) == (said == "-v")
    done, _ = judged("--config", file)
    assert ("fpverify: asking " in done.stderr) == (stated == "verbose")


def test_the_file_is_evidence(tmp_path, fingerprint_file, derived_file):
    file = tmp_path / "fpverify.toml"
    file.write_text("[verify]\nsignificance = 0.03\n")
    for command in ("verify", "scan"):
        done = run("--config", file, command, derived_file, "-f", fingerprint_file, "-o", file)
        assert (done.exit_code, "would overwrite a file that it is made from" in done.stderr) == (2, True)
    assert file.read_text().startswith("[verify]")


def test_a_table_of_pyproject_is_read(tmp_path, judged):
    file = tmp_path / "pyproject.toml"
    file.write_text('[project]\nname = "x"\n[tool.fpverify.verify]\nformat = "json"\nsignificance = 0.03\n')
    assert judged("--config", file)[1]["policy"]["significance"] == 0.03


def test_a_file_that_is_not_named_is_not_read(tmp_path, monkeypatch, judged):
    """The current folder can be the thief's, and an option can free him."""
    monkeypatch.chdir(tmp_path)
    for name in ("fpverify.toml", ".fpverify.toml", "pyproject.toml"):
        (tmp_path / name).write_text('significance = 1e-9\n[tool.fpverify]\nsignificance = 1e-9\nfail-on = "never"\n')
    done, found = judged(after=["--format", "json"])
    assert done.exit_code == 3
    assert found["policy"]["significance"] == 0.02


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.toml", "[verify]\nsignficance = 1", "verify.signficance: no such option; expected one of fingerprint, "),
        ("a.toml", "[verfy]\nx = 1", "verfy: no such command; expected one of verify, scan"),
        ("a.toml", "[registry.chek]\nx = 1", "registry.chek: no such command; expected one of check"),
        ("a.toml", "signficance = 1", "signficance: no command has such an option"),
        ("a.toml", "[registry]\nfail-onn = 'derived'", "registry.fail-onn: no command has such an option"),
        ("a.toml", "[registry]\ncheck = 5", "registry.check: no command has such an option"),
        ("a.toml", "[verify]\nask-twice = 1", "verify.ask-twice must be true or false, found 1"),
        ("a.toml", "[verify]\nask-twice = true\nask_twice = true", "verify.ask-twice: is given twice"),
        ("a.toml", "[verify]\ncontract = 3", "verify.contract must be a text, found 3"),
        ("a.toml", "[scan]\njobs = 1.9", "scan.jobs must be a whole number, found 1.9"),
        ("a.toml", "[verify]\ntimeout = 'abc'", "verify.timeout must be a number, found 'abc'"),
        ("a.toml", "[verify]\nfail-on = ['deriv']", "verify.fail-on: 'deriv' is not one of"),
        ("a.toml", "timeout = " + 5000 * "1", "not TOML"),
        ("a.toml", "x = " + 100_000 * "[", "not TOML"),
        ("pyproject.toml", 'tool = "x"', "there are no options in it"),
        ("a.toml", "[verify]\nsignificance = [0.1]", "verify.significance must be one value"),
        ("a.toml", "[verify]\nsignificance = true", "verify.significance must be a number, found True"),
        ("a.toml", "[verify", "not TOML"),
        ("pyproject.toml", "[tool.ruff]\nx = 1", "there are no options in it; expected a table [tool.fpverify]"),
    ],
)
def test_a_file_with_a_fault_gives_one_line(tmp_path, name, content, message, fingerprint_file, derived_file):
    file = tmp_path / name
    file.write_text(content)
    done = run("--config", file, "verify", derived_file, "-f", fingerprint_file)
    assert done.exit_code == 2
    assert message in done.stderr
    assert str(file) in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_file_that_is_missing_is_named(tmp_path):
    done = run("--config", tmp_path / "none.toml", "verify", "x.onnx", "-f", "y")
    assert done.exit_code == 2
    assert "none.toml: cannot read the options: No such file" in done.stderr


def test_progress_is_for_who_looks(capsys, monkeypatch):
    def shown(loudness, terminal):
        monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal, raising=False)
        with click.Context(main) as context:
            context.meta["fpverify.loudness"] = (2, loudness)
            with Progress("asking") as progress:
                progress.counted(1, 2)
        return capsys.readouterr().err

    assert shown("", terminal=False) == ""
    assert shown("quiet", terminal=True) == ""
    assert shown("", terminal=True) == "\r\033[K"
    assert shown("verbose", terminal=False) == "fpverify: 1 of 2 suspects, about 0 s left (0 s)\n"


def test_what_takes_long_says_so_on_a_terminal(capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setattr("fpverify.commands.progress.AFTER", 0.05)
    assert AFTER == 2
    with Progress("asking m.onnx") as progress:
        progress._ended.wait(0.3)
    assert "\rfpverify: asking m.onnx (0 s)\033[K" in capsys.readouterr().err


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_complete_commands_and_options(shell):
    code = "from fpverify.cli import main; main(prog_name='fpverify')"
    words = {"COMP_WORDS": "fpverify verify --fail", "COMP_CWORD": "2" if shell != "fish" else "--fail"}
    env = {"_FPVERIFY_COMPLETE": f"{shell}_complete", "PATH": "", **words}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False)
    assert "--fail-on" in done.stdout, done.stderr
