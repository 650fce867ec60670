"""What a GPU that is at hand for minutes is to show, in one command that can go on another day.

``python -m benchmarks.card --seconds 600 --out FOLDER`` runs the steps of :mod:`plan`, each in a
process of its own with a limit of its own. What is found lies in ``FOLDER/card.jsonl`` as soon as
it is there. The machine needs Python, PyTorch and NumPy; what else is missing comes from ``card/``,
which ``make card-bundle`` fills. ``make card-import`` files what came back.

``__main__``, ``plan``, ``record`` and ``wheels`` run before anything is unpacked, so they import
the standard library alone.
"""
