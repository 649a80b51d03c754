"""What a model owner installs: makes the fingerprint of an image classifier.

Every room, in the order in which commands come down to data; none imports one that stands above it here:

    cli             the command line: options; `commands` and `attack_command`: what each command does
    demo            the whole job on real data, with suspects that took no part, judged by `fpverify.verify`
    study           every removal attack against every method, judged the same way
    build           the pipeline: source, models, keys, calibration, fingerprint; cached and resumable
    calibration     held-out models give the threshold and the null distribution
    baselines       other methods of fingerprinting, for comparison
    keys            CEM over the start points, and the choice among the candidates
    pools           the owner's data and models, by role: surrogates, references, null models
    presets         sizes and settings of a fingerprint
    attacks         the removal attacks that turn a source into a surrogate; one table says everything of each
    cem             conferrable adversarial examples: objective, optimiser, start points, conferrability
    models          networks: architectures, training, the owner's source, export
    data            images with labels, and how they are read
    run             seed, cache, processes and clusters of a run
    report          a study's tables, plots and page from its rows; knows no networks
    categories, errors
"""

__version__ = "0.1.0"
