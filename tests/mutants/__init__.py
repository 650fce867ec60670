"""A mutation test: one small mistake at a time in the code whose numbers count, and who notices.

``make mutants`` runs it; docs/testing.md has its last figures. mutmut and cosmic-ray do the like,
and neither suits: mutmut leaves out whatever is decorated (properties, context managers, all that
is computed without gradients) and puts a switch around each function, which the code digest and
``torch.func`` would see; cosmic-ray starts a process for each mistake, which imports PyTorch for
seconds, and runs all tests in it. Here a mistake is made in memory, in a fork of a process that has
the libraries loaded, and only the tests that reach its line are run.
"""
