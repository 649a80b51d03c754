"""How twins of a source rank models: p-values of unrelated and of derived models.

python tests/benchmarks/twins.py --seed 43 [--study digits] [--data FOLDER] [--twins 20] [--preset quick]

Trains twins and their fingerprints, takes one after another as the published source, and ranks every unrelated model of
the study; derived models are made from the first twin by every attack. Labels are those of the networks.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import torch
from fpverify_generator.models.passes import answers_of
from fpverify_generator.pools import share_data
from fpverify_generator.presets import PRESETS
from fpverify_generator.run.context import open_run
from fpverify_generator.study.domains import load_domain
from fpverify_generator.study.judge import accuracy
from fpverify_generator.study.presets import STUDIES
from fpverify_generator.study.suspects import derived_suspects
from fpverify_generator.study.unrelated import unrelated_suspects
from fpverify_generator.twins import fingerprints_of, train_twins

LEVEL = 0.05
"""At which p-values are counted."""


def kept_by(suspect, fingerprints):
    """Return the share of each fingerprint's keys that a model keeps."""
    shares = []
    for made in fingerprints:
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(0)
            answers = answers_of(suspect.module, torch.from_numpy(made.inputs.copy()))
        labels = answers if answers.ndim == 1 else answers.argmax(1)
        shares.append(float((labels == torch.from_numpy(made.labels.copy())).double().mean()))
    return shares


def p_value(kept, published):
    """Return the rank of what is kept of the published twin's keys, as a share."""
    above = sum(one >= kept[published] for place, one in enumerate(kept) if place != published)
    return (1 + above) / len(kept)


def main() -> None:
    """Print the shares of small p-values."""
    options = argparse.ArgumentParser()
    options.add_argument("--seed", type=int, required=True)
    options.add_argument("--study", default="digits")
    options.add_argument("--data", type=Path)
    options.add_argument("--twins", type=int, default=20)
    options.add_argument("--preset", default="quick")
    options.add_argument("--jobs", type=int, default=2)
    options.add_argument("--folder", type=Path, default=Path("twins"))
    options = options.parse_args()
    study = STUDIES[options.study]
    work = open_run(options.folder / "cache", options.seed, jobs=options.jobs, log=print)
    domain = load_domain(study, options.data, options.seed, work.cache.folder)
    preset = PRESETS[options.preset]
    shared = share_data(domain.owner, preset, options.seed)
    twins = train_twins(shared, options.twins, preset, work, options.folder)
    made = [fingerprint for _, fingerprint in fingerprints_of(twins, shared, preset, work)]
    study = replace(study, build=preset)
    source, right = twins[0].source, twins[0].accuracy
    derived = [one for one in derived_suspects(source, domain, study, work) if not one.classes]
    derived = [one for one in derived if (accuracy(one, domain.test) or 0) >= right - 0.05]
    unrelated = unrelated_suspects(shared, domain, study, work)
    found = [p_value(kept_by(one, made), 0) for one in derived]
    small = sum(value <= LEVEL for value in found)
    print(f"derived from the first twin, accuracy kept: p <= {LEVEL} for {small} of {len(found)}")
    kept = [kept_by(one, made) for one in unrelated]
    for cells, name in [({one.cell for one in unrelated}, "all")] + [
        ({c}, c) for c in sorted({o.cell for o in unrelated})
    ]:
        rows = [row for row, one in zip(kept, unrelated, strict=True) if one.cell in cells]
        shares = [sum(p_value(row, twin) <= LEVEL for row in rows) / len(rows) for twin in range(len(made))]
        print(
            f"unrelated, {name:<40} {len(rows):4} models: p <= {LEVEL} for {sum(shares) / len(shares):.3f} on average "
            f"over which twin is published, {shares[0]:.3f} with the first, {max(shares):.3f} with the worst"
        )


if __name__ == "__main__":
    main()
