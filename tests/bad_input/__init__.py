"""Input that is wrong, and what it is answered: tested, and listed in docs/bad-input.md.

Each module has the cases of one section of that page. ``PYTHONPATH=tests python -m bad_input``
writes the page anew.
"""

from bad_input import (
    archives,
    checkpoints,
    configs,
    downloads,
    images,
    mirror_cases,
    own,
    pickles,
    prepared,
    results,
    trained,
)

SECTIONS = (
    downloads,
    mirror_cases,
    archives,
    images,
    pickles,
    prepared,
    configs,
    checkpoints,
    trained,
    own,
    results,
)
