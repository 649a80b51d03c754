"""What makes a verdict stand up in a dispute: promises that are older than it, and can be checked.

commitment     a public file that fixes a fingerprint and reveals no key
disclosure     a part of the keys with what proves that they were committed, drawn by both sides
"""
