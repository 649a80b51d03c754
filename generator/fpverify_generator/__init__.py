"""What a model owner installs: makes the fingerprint of an image classifier.

The pipeline, in the order of its steps:

    data            the owner's images, split into what trains, what is asked and where CEM starts
    source          the owner's model: trained here, a `.pt2` file, or an ONNX file asked for labels
    attacks         the removal attacks that turn the source into surrogates
    ensembles       surrogates and references, many models trained as one stack
    cem             conferrable adversarial examples from the ensembles
    conferrability  the keys: the candidates that pass to most surrogates and to the fewest references
    calibration     held-out models give the threshold and the null distribution
    build           all of it, cached and resumable; writes through `fpverify.fingerprint`
    demo            the same on real data with suspects that took no part, judged by `fpverify.verify`
"""

__version__ = "0.1.0"
