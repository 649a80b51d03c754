"""The irremovability study: every removal attack against every fingerprint, judged as an auditor judges.

The pipeline, in the order of its steps:

    presets    how large a study is
    domains    images of owner, attacker and test, and the attacker's other domain
    suspects   derived ones, by every attack
    unrelated  the other suspects, group by group: other data, other training, other kinds of model
    methods    the fingerprints: CEM, its variants, and the baselines
    judge      each suspect is exported and judged by `fpverify.verify_each`: rows
    false_claims
               fingerprints that a dishonest owner makes, and what panels say of them
    facts      when, on what and by which command it was made, and what each attack does
    run        all of it for each seed, cached and resumable

`fpverify_generator.report` turns the rows into tables, pictures and one page.
"""
