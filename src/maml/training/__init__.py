"""Train and evaluate: state, checkpoints, weights, progress, signals.

May import the rooms before it, from ``files`` to ``compute``.
"""
