"""What held-out copies keep, against copies of thieves with images of their own: frozen bodies on CIFAR-10.

    python tests/benchmarks/attackers_images.py --data cifar10 --seed 50 [--few] [--apart 0.4] [--draw 0.7] [--on both]

Copies by labels and by probabilities, on three backbones. `--few` gives the owner 2,800 images and the thief 1,200
instead of 10,000 each.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import torch
from fpverify_generator.attacks.run import run_attacks
from fpverify_generator.build import train_source, train_surrogates, train_unrelated
from fpverify_generator.data.store import joined
from fpverify_generator.feasible import ask_once
from fpverify_generator.keys import cem_keys
from fpverify_generator.models.architectures import ARCHITECTURES
from fpverify_generator.models.ensembles import Ensemble
from fpverify_generator.models.networks import train_all
from fpverify_generator.models.source import Source
from fpverify_generator.models.training import TrainingTask
from fpverify_generator.pools import Owner, attack_runs, share_data
from fpverify_generator.run.context import open_run
from fpverify_generator.run.seeds import derive_seed, generator_for
from fpverify_generator.study.domains import load_domain
from fpverify_generator.study.presets import STUDIES

COPIES = tuple(f"retrain-{by}{kind}" for by in ("labels", "probabilities") for kind in ("", "-wide", "-other"))
BACKBONES = ("efficientnet-lite0", "efficientnet-lite1", "efficientnet-lite2")


def some(images, count, seed):
    """Return so many images, drawn at random."""
    return images.rows(torch.randperm(len(images), generator=generator_for(seed, "some"))[:count])


def shown(values):
    """Return the mean, and the lowest and the highest."""
    return f"{float(values.mean()):.2f} ({float(values.min()):.2f} to {float(values.max()):.2f})"


def main() -> None:
    """Print what each kind of model keeps."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--data", type=Path, required=True)
    options.add_argument("--seed", type=int, required=True)
    options.add_argument("--few", action="store_true")
    options.add_argument("--apart", type=float, default=0.4)
    options.add_argument("--draw", type=float, default=0.7)
    options.add_argument("--on", default="both", choices=("known", "unseen", "both"))
    options.add_argument("--folder", type=Path, default=Path("attackers-images"))
    chosen = options.parse_args()
    study, seed = STUDIES["backbone-frozen"], chosen.seed
    work = open_run(chosen.folder / "cache", seed, jobs=2, log=print)
    domain = load_domain(study, chosen.data, seed, work.cache.folder)
    preset = replace(study.build, simulated=COPIES, candidates=160, keys=80, nulls=39)
    preset = replace(preset, simulated_on=chosen.on, simulated_apart=chosen.apart, simulated_draw=chosen.draw)
    ours, theirs = domain.owner, domain.attacker
    if chosen.few:
        ours, theirs = some(ours, 2800, seed), some(theirs, 1200, seed)
        preset = replace(preset, train_share=0.57, query_share=0.26)
    shared = share_data(ours, preset, seed)
    source = Source("0" * 64, train_source(shared.train, preset, work))
    source = ask_once(source, joined([shared.every.inputs, theirs.inputs]), work)
    runs = attack_runs(source, theirs, [*COPIES, *COPIES], preset, seed, "suspect", domain.foreign)
    thieves = [one.stolen.module for one in run_attacks(runs, work, "thieves")]
    cells = [(where, name) for where in ("the source's data", "other data") for name in BACKBONES]
    tasks = []
    for where, name in cells:
        images = shared.train if where == "the source's data" else theirs
        seeds = (derive_seed(seed, "innocent", where, name, number) for number in range(3))
        tasks += [
            TrainingTask("innocent", one, ARCHITECTURES[name], images.inputs, images.targets, preset.recipe)
            for one in seeds
        ]
    innocent = train_all(tasks, work, "innocents")
    surrogates = train_surrogates(source, shared, preset, work)
    references, nulls = train_unrelated(shared, preset, work)
    keys = cem_keys(Owner(source, shared, surrogates, references, nulls, preset, work))

    def kept(models):
        return (Ensemble(models).labels(keys.inputs) == keys.labels).double().mean(1)

    print(f"thieves    {shown(kept(thieves))}")
    print(f"held out   {shown(kept(surrogates.calibration))}")
    print(f"nulls      {shown(kept(nulls))}")
    for number, cell in enumerate(cells):
        print(f"innocent   {shown(kept(innocent[3 * number : 3 * number + 3]))}  {', '.join(cell)}")


if __name__ == "__main__":
    main()
