"""Where a job computes: device and lease, memory, CUDA graphs, and a job's surroundings.

May import the rooms before it, from ``files`` to ``algorithm``.
"""
