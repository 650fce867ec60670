"""How others compute the same meta-gradient, each as its users write it."""
