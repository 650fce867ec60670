from maml.results.shortenings import shortenings

CHANGED = {"test_queries": ([1, 15], [1]), "rotations": (True, False), "iterations": (60_000, 400)}
WORDS = "test_queries 1 in place of 1 and 15, rotations false in place of true, iterations 400 in"


def test_what_is_shortened_is_said_once_for_all():
    [sentence] = shortenings([("a", CHANGED), ("b", CHANGED), ("a", CHANGED)])
    assert sentence == f"Shortened protocol (all): {WORDS} place of 60,000."


def test_experiments_that_are_shortened_differently_are_told_apart():
    clip = {"meta_gradient_clip": (10.0, None)}
    changes = [("a", CHANGED), ("b", clip), ("c", {}), ("d", clip)]
    assert shortenings(changes) == [
        f"Shortened protocol (a): {WORDS} place of 60,000.",
        "Shortened protocol (b; d): meta_gradient_clip none in place of 10.0.",
    ]


def test_the_protocol_itself_needs_no_words():
    assert shortenings([("a", {})]) == shortenings([]) == []
