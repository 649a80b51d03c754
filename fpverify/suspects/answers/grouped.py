"""Outputs of one score each, which are the answer together."""

import numpy as np
from numpy.typing import NDArray

from fpverify.sandbox.outputs import Output
from fpverify.suspects.answers.answer import Answers
from fpverify.suspects.answers.meaning import Matched, Meaning
from fpverify.suspects.answers.single import read_columns
from fpverify.suspects.classes import Names, match_classes, renamed_to


def read_grouped(meaning: Meaning, outputs: list[Output]) -> tuple[Answers, set[str]] | None:
    """Return what outputs of one score each say together, as scikit-learn's ZipMap with columns gives them."""
    if meaning.contract.reading not in (None, "scores"):
        return None
    found = [(output.name, array) for output in outputs if (array := meaning.numbers(output)) is not None]
    single = [(name, array) for name, array in found if array.ndim == 1 and array.dtype.kind == "f"]
    if len(single) < 2:
        return None
    called = Names(meaning.names)
    titles = renamed_to([name for name, _ in single], meaning.contract.renamed)
    named = [pair for pair, title in zip(single, titles, strict=True) if title and called.place(str(title)) is not None]
    if len(named) >= 2:
        matched = meaning.match([name for name, _ in named], once=True)
        return _group(meaning, named, matched, "scores by class")
    if len(single) > meaning.columns:  # a label as a float, beside a column for each class
        single = [(name, array) for name, array in single if not ((array == np.rint(array)).all() and array.max() > 1)]
    if len(single) != meaning.columns:
        return None
    numbers = [int(name[len(name.rstrip("0123456789")) :][-9:] or -1) for name, _ in single]
    if sorted(numbers) == list(range(meaning.columns)):
        single = [single[numbers.index(place)] for place in range(meaning.columns)]
    if meaning.columns == 2 and not np.allclose(np.sum([array for _, array in single], axis=0), 1, atol=1e-3):
        return None  # a probability beside its logit, say
    classes = meaning.contract.classes
    labels = np.arange(meaning.columns) if classes is None else match_classes(classes, meaning.names)
    return _group(
        meaning, single, Matched(labels, meaning.outside(classes, labels)), "scores, an output for each class"
    )


def _group(
    meaning: Meaning, single: list[tuple[str, NDArray[np.generic]]], matched: Matched, how: str
) -> tuple[Answers, set[str]]:
    scores = np.stack([array for _, array in single], axis=1)
    return read_columns(meaning, scores, matched, single[0][0], how), {name for name, _ in single}
