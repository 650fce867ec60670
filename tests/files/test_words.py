import pytest

from maml.files.words import counted, duration, some


@pytest.mark.parametrize(("number", "said"), [(0, "0 cores"), (1, "1 core"), (2, "2 cores")])
def test_counted(number, said):
    assert counted(number, "core") == said


@pytest.mark.parametrize(
    ("things", "said"),
    [("a", "a"), ("abc", "a; b; c"), ("abcde", "a; b; c and 2 more")],
)
def test_the_first_three_are_named(things, said):
    assert some(list(things), "; ") == said


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.4, "0 s"),
        (59, "59 s"),
        (59.9, "1 min"),
        (3570, "1 h 0 min"),
        (4800, "1 h 20 min"),
        (86_399, "1 d 0 h"),
        (27 * 3600, "1 d 3 h"),
    ],
)
def test_durations_are_for_people(seconds, text):
    assert duration(seconds) == text
