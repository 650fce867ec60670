"""Layers with their derivatives, and the paper's networks made of them (section 5.2).

May import the rooms before it, of which it needs ``configuration`` and ``files``.
"""
