"""From evaluations to statistics, tables, figures and cards.

May import the rooms before it, from ``files`` to ``training``.
"""
