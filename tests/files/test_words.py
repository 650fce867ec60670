import pytest

from maml.files.words import counted, some


@pytest.mark.parametrize(("number", "said"), [(0, "0 cores"), (1, "1 core"), (2, "2 cores")])
def test_counted(number, said):
    assert counted(number, "core") == said


@pytest.mark.parametrize(
    ("things", "said"),
    [("a", "a"), ("abc", "a; b; c"), ("abcde", "a; b; c and 2 more")],
)
def test_the_first_three_are_named(things, said):
    assert some(list(things), "; ") == said
