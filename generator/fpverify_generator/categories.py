"""The categories of removal attacks, which tables and plots are ordered by."""

CATEGORIES = ("modification", "retraining", "extraction", "transfer", "hardening", "adaptive", "inference")
"""What an attack does to the source, in the order of tables."""
