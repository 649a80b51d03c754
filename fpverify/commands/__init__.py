"""Commands beside `verify` and `inspect`; `cli` adds them to its own.

proof    commitments: commit, nonce, disclose
"""
