"""What a run is: the schema of ``config.yaml``, presets laid over it, and mistakes in words.

May import ``files``.
"""
