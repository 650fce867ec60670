"""A reproduction of Model-Agnostic Meta-Learning (Finn, Abbeel & Levine 2017)."""

__version__ = "0.1.0"
