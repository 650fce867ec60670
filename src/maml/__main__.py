"""``python -m maml`` is the ``maml`` command."""

from maml.cli import main

main()
