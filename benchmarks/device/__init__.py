"""The same contenders on a CUDA device: time, memory, kernels, and what the card could do."""
