"""Which rule a panel refuses fingerprints by: how often honest ones are refused, and how often fakes.

python tests/benchmarks/panel_rules.py --seed 10 --seed 11 [--twins 10]

Digits, verdicts of the library on labels of the networks. For each seed: every false claim of
`fpverify_generator.study.false_claims` against panels of unrelated models with other data; and honest fingerprints of
so many twins, each vetted by the same panels. The rules: more of the panel reach the cut than the stated rate explains
at 0.01 (`refused`), or any does (`any_reaches`).
"""

import argparse
from dataclasses import asdict, replace
from pathlib import Path

import torch
from fpverify_generator.build import fingerprint_of, prepare, train_source
from fpverify_generator.keys import Keys
from fpverify_generator.models.ensembles import Ensemble
from fpverify_generator.models.export import Exporter
from fpverify_generator.models.source import Source
from fpverify_generator.pools import share_data
from fpverify_generator.presets import PRESETS
from fpverify_generator.report.claims import claims_table
from fpverify_generator.run.context import open_run
from fpverify_generator.study.domains import load_domain
from fpverify_generator.study.false_claims import PANELS, by_panels, false_claims, panel_of
from fpverify_generator.study.presets import STUDIES
from fpverify_generator.study.unrelated import unrelated_suspects
from fpverify_generator.twins import fingerprints_of, train_twins


def main() -> None:
    """Print both tables."""
    options = argparse.ArgumentParser()
    options.add_argument("--seed", type=int, action="append", required=True)
    options.add_argument("--twins", type=int, default=10)
    options.add_argument("--jobs", type=int, default=2)
    options.add_argument("--folder", type=Path, default=Path("panel-rules"))
    options = options.parse_args()
    study, claims = STUDIES["digits"], []
    honest: dict[str, list[float]] = {}
    for seed in options.seed:
        work = open_run(options.folder / "cache", seed, jobs=options.jobs, log=print)
        domain = load_domain(study, None, seed)
        shared = share_data(domain.owner, study.build, seed)
        network = train_source(shared.train, study.build, work)
        sha256 = Exporter().write(network, domain.test.inputs[:64], options.folder / f"source-{seed}.onnx")
        owner = prepare(Source(sha256, network), shared, study.build, work)
        fingerprint = fingerprint_of(owner)
        keys = Keys(torch.from_numpy(fingerprint.inputs.copy()), torch.from_numpy(fingerprint.labels.copy()))
        unrelated = unrelated_suspects(shared, domain, study, work)
        claims += [asdict(claim) for claim in false_claims(owner, keys, fingerprint.calibration, unrelated)]
        panel = Ensemble([one.module for one in panel_of(unrelated)[1]])
        quick = replace(PRESETS["quick"], keys=100)
        data = share_data(domain.owner, quick, seed)
        twins = train_twins(data, options.twins, quick, work, options.folder / f"twins-{seed}")
        for _, made in [(None, fingerprint), *fingerprints_of(twins, data, quick, work)]:
            seen = panel.labels(torch.from_numpy(made.inputs.copy())) == torch.from_numpy(made.labels.copy())
            for rule, shares in by_panels(made, seen, seed).items():
                for size, share in shares.items():
                    honest.setdefault(f"{rule} {size}", []).append(share)
    print(f"\n{claims_table(claims).markdown()}")
    print(f"honest fingerprints refused, of {len(honest[f'refused {PANELS[0]}'])}")
    for name, shares in honest.items():
        print(f"{name:<16} mean {sum(shares) / len(shares):.3f}, most {max(shares):.2f}, fingerprints {len(shares)}")


if __name__ == "__main__":
    main()
