"""Algorithm 2: the inner loop, the meta-gradient, the meta-update.

May import ``networks``, ``tasks`` and the schema: it knows no files and no devices.
"""
