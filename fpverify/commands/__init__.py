"""Commands beside `verify` and `inspect`, a file for each subject; `cli` adds them to its own."""
