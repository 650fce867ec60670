"""Where tables for a person are printed."""

import sys

from rich.console import Console

PLAIN_WIDTH = 120  # columns where no terminal says how many


def console() -> Console:
    """Return what prints to stdout, as wide as the terminal if there is one."""
    return Console(width=None if sys.stdout.isatty() else PLAIN_WIDTH, highlight=False)
