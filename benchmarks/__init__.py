"""Ours against the others and against the machine's limit: ``make benchmark``."""
