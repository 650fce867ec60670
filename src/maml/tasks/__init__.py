"""Which classes and images make a task: a function of seed, split and task number alone.

May import what comes before it: ``files``, ``configuration``, ``data``.
"""
