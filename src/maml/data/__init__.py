"""From the internet, a mirror or the bundled copy to one array a data set.

May import ``files`` and ``configuration``.
"""
