"""Commands, a file for each subject; `cli` lists them.

verify   verify: judges a suspect
several  several suspects of one command: which there are, and a row for each
dry_run  what asking an endpoint would take
scan     scan: judges many suspects by many fingerprints
report   saved results: report, recheck
registry registry: check, watch, promote
inspect  inspect: says what a file holds
ask      ask: writes a fingerprint's images, for who runs a suspect elsewhere
vetting  vet: asks independent models the keys of a fingerprint
proof    commitments: commit, nonce, disclose
signing  signatures and timestamps: keygen, sign, check, timestamp-request
proofs   options for what an auditor holds against a fingerprint
config   options from a file
progress what a command says on stderr while it works; --quiet, --verbose
shared   options, exit codes, and how a report is written
"""
