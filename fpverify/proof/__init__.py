"""What makes a verdict stand up in a dispute: promises that are older than it, and can be checked.

commitment     a public file that fixes a fingerprint and reveals no key
draw           which keys are shown, by a random number of each side
disclosure     a part of the keys with what proves that they were committed
envelope       Ed25519 keys, and signatures
attestation    statements that are signed: what a file is, and what a verdict says
timestamp      an authority confirms when a file existed
trust          whom and what an auditor trusts, and what a verdict must have
examination    everything that an auditor holds, checked before a suspect is asked
"""
