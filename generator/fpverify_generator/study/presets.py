"""How large a study is."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from types import MappingProxyType
from typing import Any, Literal

from fpverify_generator.attacks import ATTACKS
from fpverify_generator.baselines import BASELINES
from fpverify_generator.cem import CemConfig
from fpverify_generator.errors import StudyError
from fpverify_generator.models.training import Recipe
from fpverify_generator.presets import PRESETS, Preset, Roles, described


@dataclass(frozen=True)
class StudyPreset:
    """One size of study."""

    name: str
    """What tables call it."""
    domain: Literal["digits", "cifar10"]
    """Whose images."""
    build: Preset
    """Sizes of the fingerprint, and how networks are trained."""
    seeds: tuple[int, ...]
    """Each is a study of its own: data split, source, fingerprints and suspects."""
    unrelated: int
    """Unrelated suspects on the source's own training data, and as many on the attacker's half."""
    per_group: int = 1
    """Unrelated suspects of each further group: other training, other kinds of model."""
    side: int = 0
    """Pixels a side to which images are scaled; 0 to leave them as they are."""
    kinds: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Kinds of unrelated models by name, each with the keys of `ARCHITECTURES` that take turns in it; empty for the
    source's own architecture, and the family's others."""
    images: int = 0
    """Training images that are shared between owner and attacker; 0 for all."""
    tests: int = 0
    """Test images; 0 for all."""
    foreign: int = 3000
    """Images of another domain that the attacker has."""
    per_attack: int = 1
    """Surrogates of each attack."""
    attacks: tuple[str, ...] = tuple(ATTACKS)
    """Keys of `ATTACKS`."""
    baselines: tuple[str, ...] = tuple(BASELINES)
    """Keys of `BASELINES`."""
    ablations: tuple[str, ...] | None = None
    """Names of the variants of CEM that are measured; None for all."""
    epsilons: tuple[float, ...] = ()
    """Further radii of CEM, as fractions of the input range."""
    ensembles: tuple[int, ...] = ()
    """Further numbers of surrogates, and as many references, for CEM."""
    budgets: tuple[int, ...] = (20, 50, 100)
    """Numbers of queries at which each method is measured: its first so many keys."""
    false_claims: bool = False
    """Whether fingerprints that convict innocents are made, and vetted by panels."""
    ablation_candidates: int = 0
    """Start points of variants, sweeps included; 0 for as many as the main method has."""


BACKBONES: Mapping[str, tuple[str, ...]] = {
    "same backbone": ("efficientnet-lite0",),
    "another backbone": ("efficientnet-lite1", "efficientnet-lite2"),
    "from nothing": ("resnet-8 from nothing", "vgg-small from nothing"),
}
"""Kinds of unrelated models where public weights are everybody's start; the owner has no model from nothing."""

REPLACE_THE_HEAD = ("rtll", "rtal", "rtal-strong", "transfer-merged", "transfer-subset", "transfer-back")
"""Attacks that draw the last layer anew. Where the rest is a public network as it is, nothing of the source is left
after them: such a model is unrelated."""

_BACKBONE = StudyPreset(
    name="backbone",
    domain="cifar10",
    build=PRESETS["backbone"],
    seeds=(50,),
    side=64,
    kinds=BACKBONES,
    images=20000,
    tests=1000,
    foreign=3000,
    unrelated=18,
    baselines=("natural", "akh"),
    ablations=("simulated_apart=0",),
    budgets=(100,),
)
"""EfficientNet-Lite0 with its public weights is the start of the source, of most thieves, and of a third of the
unrelated models; all layers are trained."""

STUDIES: Mapping[str, StudyPreset] = MappingProxyType(
    {
        study.name: study
        for study in (
            StudyPreset(
                name="smoke",
                domain="digits",
                build=Preset(
                    recipe=Recipe(steps=100),
                    surrogates=Roles(12, 6, 6),
                    references=Roles(12, 6, 6),
                    nulls=49,
                    candidates=200,
                    keys=20,
                    cem=replace(CemConfig(), steps=20),
                ),
                seeds=(0,),
                unrelated=4,
                foreign=1000,
                false_claims=True,
                ablations=("objective=paper",),
                epsilons=(0.05,),
                ensembles=(4,),
                budgets=(10, 20),
            ),
            StudyPreset(
                name="digits",
                domain="digits",
                build=PRESETS["digits"],
                seeds=(34, 35, 36),
                unrelated=50,
                per_group=34,
                false_claims=True,
                epsilons=(0.025, 0.05, 0.1, 0.2),
                ensembles=(6, 12, 24),
                ablation_candidates=200,
            ),
            StudyPreset(
                name="cifar10-small",
                domain="cifar10",
                build=PRESETS["cifar10-small"],
                seeds=(31,),
                images=30000,
                tests=3000,
                foreign=12000,
                unrelated=12,
                per_group=12,
                ablations=(
                    "objective=paper",
                    "objective=direct",
                    "dropout=none",
                    "criterion=separation",
                    "selection=none",
                    "selection=held-out",
                    "starts=random",
                    "surrogates=retrained",
                ),
                epsilons=(0.0125, 0.05, 0.1),
                ensembles=(9,),
                ablation_candidates=200,
            ),
            StudyPreset(
                name="cifar10",
                domain="cifar10",
                build=PRESETS["cifar10"],
                seeds=(1,),
                foreign=20000,
                unrelated=20,
                per_group=20,
                per_attack=3,
                epsilons=(0.0125, 0.05, 0.1),
                ensembles=(8,),
                ablation_candidates=500,
            ),
            _BACKBONE,
            replace(
                _BACKBONE,
                name="backbone-frozen",
                build=PRESETS["backbone-frozen"],
                attacks=tuple(name for name in ATTACKS if name not in REPLACE_THE_HEAD),
                unrelated=36,
            ),
        )
    }
)
"""Studies by name."""


def verdicts_only(study: StudyPreset) -> StudyPreset:
    """Return a study of the method's verdicts alone: without baselines, variants and sweeps."""
    return replace(study, baselines=(), ablations=(), epsilons=(), ensembles=())


def settings_of(study: StudyPreset) -> dict[str, Any]:
    """Return a study's settings as JSON values."""
    return {**asdict(study), "build": described(study.build)}


def find_study(name: str) -> StudyPreset:
    """Return a study by name.

    Raises:
        StudyError: naming those there are.
    """
    if name not in STUDIES:
        raise StudyError(f"no study '{name}'; there are {', '.join(STUDIES)}")
    return STUDIES[name]
