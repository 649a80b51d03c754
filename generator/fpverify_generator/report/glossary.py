"""The words of the page, each explained in a sentence or two."""

from collections.abc import Mapping

from fpverify_generator.report.rows import KEEPS

GLOSSARY: Mapping[str, str] = {
    "source": "The owner's model, from which the fingerprint is made.",
    "fingerprint, key": "A fingerprint is a list of keys: inputs, each with the source's answer. A suspect is "
    "asked the keys; one query is one key.",
    "derived": "A model that was made from the source by an attack, such as fine-tuning or training on its answers. As "
    "a verdict: fpverify says that the suspect is such a model.",
    "unrelated": "A model that was trained without the source. As a verdict: fpverify says that nothing speaks for a "
    "derived model.",
    "inconclusive": "The verdict where the answers fit neither kind of model well enough, or the suspect did not work "
    "as it was asked.",
    "no verdict": "The suspect could not be judged, for example because it knows other classes.",
    "keeps the accuracy": f"The suspect is right on test images at most {KEEPS * 100:.0f} points less often than the "
    "source. An attack that loses more has destroyed what it stole, so such models are counted apart.",
    "retention": "The share of keys that a suspect answers as the source does, from 0 to 1. Derived models should "
    "keep many keys, unrelated ones few.",
    "cut": "The least retention that is called derived. It comes from models that the owner trained, not from "
    "suspects.",
    "p": "The p-value of 'unrelated': the share of unrelated models that would keep at least as many keys, by rank "
    "among the null models. A small p speaks against 'unrelated'.",
    "ROC AUC": "Take one derived and one unrelated model: the chance that the derived one has the higher retention. "
    "1 is perfect, 0.5 is guessing.",
    "gap": "The lowest retention of a derived model minus the highest of an unrelated one. Above 0, a single cut "
    "separates them all.",
    "TPR at 1 % FP": "True-positive rate: the share of derived models that are found where at most 1 in 100 unrelated "
    "ones is accused (a false positive, FP).",
    "surrogate, reference, null model": "Models that the owner trains to make a fingerprint: surrogates are derived "
    "from the source, references and null models are not. Null models only serve the p-value.",
    "CEM": "The method that makes the keys: the conferrable ensemble method. It searches inputs that surrogates answer "
    "as the source does and references do not.",
    "baseline": "Another method to make or compare fingerprints, measured on the same suspects.",
    "interval": "Two numbers after a figure, in brackets or below it: 95 % bootstrap interval over the models of this "
    "study.",
}
"""Word -> what it means."""
