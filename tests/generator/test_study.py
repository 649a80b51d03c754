"""A study judges as an auditor does, keeps suspects out of the making, and survives kills and clusters."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from click.testing import CliRunner
from fpverify_generator.attacks import ATTACKS
from fpverify_generator.baselines import BASELINES
from fpverify_generator.build import prepare, train_source
from fpverify_generator.cem import CemConfig
from fpverify_generator.cli import main
from fpverify_generator.errors import DataError, StudyError
from fpverify_generator.models.source import Source
from fpverify_generator.models.training import Recipe
from fpverify_generator.pools import share_data
from fpverify_generator.presets import Preset, Roles
from fpverify_generator.report.rows import settings_digest
from fpverify_generator.run.cache import Cache, digest
from fpverify_generator.run.context import RunContext
from fpverify_generator.study.domains import load_domain
from fpverify_generator.study.methods import VARIANTS
from fpverify_generator.study.presets import REPLACE_THE_HEAD, STUDIES, StudyPreset, verdicts_only
from fpverify_generator.study.run import run_study
from fpverify_generator.study.suspects import derived_suspects
from fpverify_generator.study.unrelated import GROUPS, KERNEL_MACHINES, unrelated_suspects
from PIL import Image

import fpverify

MINI = StudyPreset(
    name="mini",
    domain="digits",
    build=Preset(
        recipe=Recipe(steps=60),
        surrogates=Roles(6, 3, 4),
        references=Roles(4, 3, 4),
        nulls=19,
        candidates=100,
        keys=10,
        cem=replace(CemConfig(), steps=5),
    ),
    seeds=(0,),
    unrelated=2,
    foreign=200,
    attacks=("retrain-labels", "ftal", "papernot", "transfer-merged", "refuse-unsure", "noise-0.05"),
    baselines=("natural", "random", "sac"),
    ablations=("objective=paper", "surrogates=retrained"),
    epsilons=(0.05,),
    ensembles=(2,),
    budgets=(5, 10),
)
SCRIPT = """
import sys
from pathlib import Path
sys.path.insert(0, {here!r})
import torch
torch.set_num_threads(1)
import test_study
test_study.run(Path({folder!r}), {engine!r}, {jobs})
"""
TIMES = ("seconds", "attack_seconds")
ANSWERS = ("accuracy", "scores", "p_value", "verdicts", "no_verdict")


def run(folder: Path, engine: str = "local", jobs: int = 1) -> None:
    run_study(MINI, None, folder, RunContext(0, Cache(folder / "cache"), jobs=jobs, engine=engine))


def rows_in(folder: Path) -> list[dict]:
    """Return a study's rows without what differs from run to run."""
    rows = [json.loads(line) for line in (folder / "rows.jsonl").read_text().splitlines()]
    return [{name: value for name, value in row.items() if name not in TIMES} for row in rows]


def settled(rows: list[dict]) -> list[dict]:
    """Return rows without the answers of a suspect that adds noise, which differ from run to run, too."""
    return [
        {name: value for name, value in row.items() if row["attack"] != "noise-0.05" or name not in ANSWERS}
        for row in rows
    ]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = tmp_path_factory.mktemp("study")
    run(where)
    return where


@pytest.fixture(scope="module")
def rows(folder: Path) -> list[dict]:
    return rows_in(folder)


def test_there_is_one_row_for_each_method_and_suspect(rows: list[dict]) -> None:
    methods = {row["method"] for row in rows}
    suspects = {row["suspect"] for row in rows}
    assert len(suspects) == len(MINI.attacks) + 2 * MINI.unrelated + len(GROUPS) + 1
    assert len(rows) == len(methods) * len(suspects) == len({(row["method"], row["suspect"]) for row in rows})
    groups = {row["method"]: row["group"] for row in rows}
    assert sorted(groups.values()) == sorted(["cem"] + 3 * ["baseline"] + 2 * ["ablation"] + ["epsilon", "ensemble"])
    assert {row["attack"] for row in rows if row["kind"] == "derived"} == set(MINI.attacks)
    assert {row["cell"] for row in rows if row["kind"] == "unrelated"} == {
        *(f"{first} architecture, {second} data" for first in ("same", "other") for second in ("same", "other")),
        *GROUPS,
        KERNEL_MACHINES,
    }
    for row in rows:
        assert set(row["configuration"]) == {"attack", "baseline"}
        assert row["versions"]["torch"] == torch.__version__
        assert set(row["scores"]) == {"5", "10"}


def test_each_row_is_what_an_auditor_gets_from_the_files(rows: list[dict], folder: Path) -> None:
    judged = [row for row in rows if row["method"] in ("cem", "random") and row["attack"] != "noise-0.05"]
    assert len(judged) == 2 * (9 + len(GROUPS) + 1)
    for row in judged:
        classes = {"classes": ["0+1", "2+3", "4+5", "6+7", "8+9"]} if row["attack"] == "transfer-merged" else {}
        fingerprint = folder / "fingerprints" / "seed-0" / f"{row['method']}-10.safetensors"
        if classes:
            assert row["scores"] == {"5": None, "10": None}
            assert row["verdicts"] == {}
            assert row["no_verdict"]["10"].startswith("its classes (0+1, 2+3")
            assert row["accuracy"] is None
            continue
        assert row["no_verdict"] == {}
        result = fpverify.verify(fingerprint, folder / row["file"])
        assert result.suspect.sha256 == row["sha256"]
        cut = None if result.cut is None else result.cut / result.queries
        said = (result.retention, result.verdict.value, cut, result.p_value)
        assert said == tuple(row[name].get("10") for name in ("scores", "verdicts", "cut", "p_value"))


def test_a_score_baseline_compares_scores_and_gives_no_verdict(rows: list[dict]) -> None:
    compared = [row for row in rows if row["method"] == "sac"]
    assert all(row["statistic"] == "correlation" and row["verdicts"] is None for row in compared)
    scores = {row["suspect"]: row["scores"]["10"] for row in compared}
    # labels alone, with refusals, and other classes have no scores to compare
    assert scores["refuse-unsure"] is None
    assert scores["transfer-merged"] is None
    assert sum(score is not None for score in scores.values()) == len(scores) - 2


def test_the_studys_settings_stand_once_beside_the_rows(folder: Path, rows: list[dict]) -> None:
    study = json.loads((folder / "study.json").read_text())
    assert study["build"]["keys"] == 10
    assert set(study["facts"]["attacks"]) == set(MINI.attacks)
    assert study["facts"]["attacks"]["ftal"].startswith("Go on training the stolen weights")
    assert study["facts"]["images"] == {"owner": 3020, "attacker": 3016, "test": 1152, "other domain": 200}
    assert study["facts"]["architecture"] == "convolutional"
    assert study["facts"]["command"]
    assert {row["study"] for row in rows} == {settings_digest(study)}


def test_the_report_shows_every_attack_and_every_method(folder: Path, rows: list[dict]) -> None:
    page = (folder / "study.html").read_text()
    assert all(f">{attack}<" in page for attack in MINI.attacks)
    with (folder / "tables" / "methods.csv").open(newline="") as file:
        listed = {row[0] for row in csv.reader(file)}
    assert {row["method"] for row in rows if row["group"] in ("cem", "baseline")} <= listed
    pictures = list((folder / "plots").glob("*.svg"))
    assert len(pictures) >= 3
    assert all(picture.read_text().rstrip().endswith("</svg>") for picture in pictures)


def test_no_suspect_takes_part_in_the_making(folder: Path) -> None:
    work, domain = RunContext(0, Cache(folder / "cache")), load_domain(MINI, None, 0)
    parts = [set(part.images.tolist()) for part in (domain.owner, domain.attacker, domain.test)]
    assert sum(map(len, parts)) == len(set.union(*parts))
    shared = share_data(domain.owner, MINI.build, 0)
    source = Source("0" * 64, train_source(shared.train, MINI.build, work))
    owner = prepare(source, shared, MINI.build, work)
    assert work.cache.made == 0  # the study's own models, from its cache
    pools = owner.surrogates, owner.references
    makers = [*owner.nulls, *(model for pool in pools for model in (*pool.cem, *pool.selection, *pool.calibration))]
    suspects = derived_suspects(source, domain, MINI, work) + unrelated_suspects(shared, domain, MINI, work)
    assert len(suspects) > 10
    assert not {digest(model) for model in makers} & {digest(suspect.module) for suspect in suspects}


def start(folder: Path, engine: str = "local", jobs: int = 1) -> subprocess.Popen:
    script = SCRIPT.format(here=str(Path(__file__).parent), folder=str(folder), engine=engine, jobs=jobs)
    return subprocess.Popen(
        [sys.executable, "-c", script], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    )


def test_a_killed_study_resumes_does_nothing_twice_and_ends_with_the_same_rows(
    tmp_path: Path, rows: list[dict]
) -> None:
    finished: dict[Path, int] = {}
    for least in (3, 12, 25):
        process = start(tmp_path)
        while len(list(tmp_path.glob("cache/*.safetensors"))) < least and process.poll() is None:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert all(path.stat().st_mtime_ns == written for path, written in finished.items())
        finished = {path: path.stat().st_mtime_ns for path in tmp_path.glob("cache/*.safetensors")}
        assert len(finished) >= least
    assert not (tmp_path / "rows.jsonl").exists()
    last = start(tmp_path)
    errors = last.communicate(timeout=240)[1]
    assert last.returncode == 0, errors[-3000:]
    assert all(path.stat().st_mtime_ns == written for path, written in finished.items())
    assert settled(rows_in(tmp_path)) == settled(rows)


def test_a_cluster_whose_worker_is_killed_half_way_ends_with_the_same_rows(tmp_path: Path, rows: list[dict]) -> None:
    engine = "dask"  # both engines lose a worker in test_engines.py
    process = start(tmp_path, engine, jobs=2)
    while len(list(tmp_path.glob("cache/*.safetensors"))) < 10 and process.poll() is None:
        time.sleep(0.01)
    assert process.poll() is None, process.communicate()[1][-3000:]
    os.kill(worker_of(process.pid, engine), signal.SIGKILL)
    errors = process.communicate(timeout=240)[1]
    assert process.returncode == 0, errors[-3000:]
    assert settled(rows_in(tmp_path)) == settled(rows)


def worker_of(parent: int, engine: str) -> int:
    """Return the process number of one of a cluster's workers, below the process that started it."""
    import psutil

    wanted = {"dask": "spawn_main", "ray": "PoolActor"}[engine]
    until = time.monotonic() + 60
    while time.monotonic() < until:
        for process in psutil.Process(parent).children(recursive=True):
            if wanted in " ".join(process.cmdline()):
                return process.pid
        time.sleep(0.05)
    raise AssertionError("no worker was found")


def test_the_smoke_study_has_every_attack_and_every_baseline_and_each_study_some_size() -> None:
    assert set(STUDIES) == {"smoke", "digits", "cifar10-small", "cifar10", "backbone", "backbone-frozen"}
    for study in STUDIES.values():
        assert max(study.budgets) <= study.build.keys
        if not study.kinds:
            assert set(study.attacks) == set(ATTACKS)
            assert set(study.baselines) == set(BASELINES)
    assert set(STUDIES["backbone"].attacks) == set(ATTACKS)
    # where the body is everybody's, a last layer that is drawn anew leaves nothing of the source
    assert set(ATTACKS) - set(STUDIES["backbone-frozen"].attacks) == set(REPLACE_THE_HEAD)
    assert len(STUDIES["digits"].seeds) >= 3
    large = STUDIES["cifar10"]
    assert min(large.build.surrogates.cem, large.build.references.cem) >= 16
    assert large.per_attack >= 3
    assert 2 * large.unrelated >= 20


def cifar(folder: Path, sizes: tuple[int, int] = (32, 32)) -> Path:
    draw = np.random.default_rng(0)
    for part in ("train", "test"):
        for name in ("cat", "dog"):
            (folder / part / name).mkdir(parents=True)
            for number in range(6):
                size = sizes[number % 2]
                pixels = draw.integers(0, 256, (size, size, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / part / name / f"{number}.jpg")
    return folder


def test_a_folder_of_images_is_shared_out_and_drawn_by_seed(tmp_path: Path) -> None:
    study = replace(STUDIES["cifar10-small"], images=8, tests=4, foreign=8)
    first, again, other = (
        load_domain(study, cifar(tmp_path) if not seed else tmp_path, seed % 2) for seed in (0, 2, 1)
    )
    assert first.owner.inputs.shape == (4, 3, 32, 32)
    assert first.test.labels.tolist() == [0, 0, 1, 1]
    assert first.owner.classes == ("cat", "dog")
    assert torch.equal(first.attacker.inputs, again.attacker.inputs)
    assert not torch.equal(first.attacker.inputs, other.attacker.inputs)


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda folder: None, "expected one folder of images per class"),
        (lambda folder: cifar(folder, (32, 16)), "resize them to one size"),
        (lambda folder: (cifar(folder) / "train/cat/0.jpg").write_bytes(b"x"), "not a readable image"),
    ],
)
def test_a_folder_that_is_none_is_said(break_it, message: str, tmp_path: Path) -> None:
    break_it(tmp_path)
    with pytest.raises((StudyError, DataError), match=message):
        load_domain(STUDIES["cifar10-small"], tmp_path, 0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["study", "--preset", "huge"], "no study 'huge'"),
        (["study", "--preset", "cifar10-small"], "--data is missing"),
        (["attack", "steal", "--source", "m.onnx", "--data", "digits"], "no attack 'steal'; there are retrain-labels"),
        (["attack", "ftal", "--source", "m.onnx", "--data", "digits"], "m.onnx: no such file"),
    ],
)
def test_what_cannot_be_run_is_one_line(arguments: list[str], message: str, tmp_path: Path) -> None:
    result = CliRunner().invoke(main, [*arguments, "-o", str(tmp_path / "out" / "o")])
    assert result.exit_code == 2
    (line,) = [line for line in result.stderr.splitlines() if not line.startswith("[")]
    assert line.startswith("fpverify-generator: error: ")
    assert message in line


@pytest.fixture(scope="module")
def source_files(folder: Path, tmp_path_factory: pytest.TempPathFactory, network: torch.nn.Module) -> Path:
    """A source as ONNX and as a `torch.export` program with its weights."""
    where = tmp_path_factory.mktemp("source")
    (where / "source.onnx").write_bytes((folder / "source-seed-0.onnx").read_bytes())
    program = torch.export.export(network, (torch.zeros(2, 1, 8, 8),), dynamic_shapes=({0: torch.export.Dim("batch")},))
    torch.export.save(program, where / "source.pt2")
    return where


@pytest.mark.parametrize(("name", "kind"), [("papernot", "onnx"), ("ftal", "pt2"), ("jpeg-75", "pt2")])
def test_one_attack_steals_any_source_and_exports_the_surrogate(
    name: str, kind: str, source_files: Path, tmp_path: Path
) -> None:
    output, source = tmp_path / "stolen.onnx", source_files / f"source.{kind}"
    arguments = [
        "attack",
        name,
        "--source",
        str(source),
        "--data",
        "digits",
        "-o",
        str(output),
    ]
    result = CliRunner().invoke(main, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.stderr
    assert repr(ATTACKS[name]) in result.stdout
    queries = {"papernot": 2400}.get(name, 0)
    assert f"queries      {queries}\n" in result.stdout
    agreement = float(result.stdout.partition("source on ")[2].partition("%")[0])
    assert agreement > 70
    assert fpverify.verify(fingerprint_of(output), output).retention == 1.0


def fingerprint_of(path: Path) -> fpverify.Fingerprint:
    """Return a fingerprint whose labels are a model's own answers: an auditor must read the same ones from its file."""
    inputs = np.random.default_rng(0).random((20, 1, 8, 8), dtype=np.float32)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (scores,) = session.run(None, {session.get_inputs()[0].name: inputs})
    return fpverify.Fingerprint(
        inputs=inputs,
        labels=scores.argmax(1).astype(np.int64),
        classes=tuple(map(str, range(10))),
        contract=fpverify.InputContract(channels="grey", height=8, width=8),
        source=fpverify.SourceIdentity(sha256="0" * 64),
        method={"name": "none"},
        seeds={},
        versions={},
        calibration=fpverify.Calibration((1.0,), (0.0,), (0.0,) * 19, 0.5, path.name),
    )


def test_an_attack_over_its_budget_leaves_no_file(source_files: Path, tmp_path: Path) -> None:
    source = str(source_files / "source.onnx")
    output = tmp_path / "stolen.onnx"
    arguments = ["attack", "retrain-labels", "--source", source, "--data", "digits", "-o", str(output), "--budget", "9"]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 2
    assert "its budget is 9" in result.stderr
    assert not output.exists()


def test_the_attacks_are_listed() -> None:
    printed = CliRunner().invoke(main, ["attacks"]).stdout
    assert [line.split()[0] for line in printed.splitlines()] == list(ATTACKS)


def test_a_study_of_verdicts_alone_has_one_method(folder: Path) -> None:
    study = verdicts_only(replace(MINI, attacks=("ftal",)))
    alone = folder / "alone"
    found = run_study(study, None, alone, RunContext(0, Cache(folder / "cache")))
    assert {row.method for row in found} == {"cem"}
    assert "ftal" in (alone / "study.html").read_text()


def test_kinds_of_unrelated_models_take_turns_on_both_data(tmp_path: Path) -> None:
    kinds = {"one": ("convolutional",), "two": ("perceptron", "convolutional-wide")}
    study = replace(MINI, kinds=kinds, unrelated=4, per_group=0, build=replace(MINI.build, recipe=Recipe(steps=2)))
    domain = load_domain(study, None, 0)
    found = unrelated_suspects(share_data(domain.owner, study.build, 0), domain, study, RunContext(0, Cache(tmp_path)))
    assert [(one.cell, one.architecture) for one in found] == [
        (f"{kind}, {where}", architecture)
        for where in ("same data", "other data")
        for kind, architecture in (
            ("one", "convolutional"),
            ("two", "perceptron"),
            ("one", "convolutional"),
            ("two", "convolutional-wide"),
        )
    ]


def test_images_are_scaled_where_a_study_says_so(tmp_path: Path) -> None:
    study = replace(STUDIES["backbone"], images=8, tests=4, foreign=8)
    domain = load_domain(study, cifar(tmp_path), 0)
    assert {tuple(part.inputs.shape[1:]) for part in vars(domain).values()} == {(3, 64, 64)}


@pytest.mark.parametrize(
    ("name", "pool", "kept"),
    [("simulated_on=unseen", "surrogates", "references"), ("peers_on=unseen", "references", "surrogates")],
)
def test_a_variant_trains_models_that_learn_from_other_images(name: str, pool: str, kept: str, tmp_path: Path) -> None:
    work, domain = RunContext(0, Cache(tmp_path)), load_domain(MINI, None, 0)
    shared = share_data(domain.owner, MINI.build, 0)
    source = Source("0" * 64, train_source(shared.train, MINI.build, work))
    owner = prepare(source, shared, MINI.build, work)
    changed = VARIANTS[name](owner)
    assert getattr(changed, kept) is getattr(owner, kept)
    assert digest(*getattr(changed, pool).cem) != digest(*getattr(owner, pool).cem)
    same = VARIANTS[name.replace("unseen", "known")](owner)
    assert same is owner
