"""What the rounding of a GPU's fast products does to the meta-gradient and to accuracy."""
