import pytest

from maml.training.stretches import check_stretches, extended, until

HERE = {"device": "cpu: A", "versions": {"torch": "2.11"}}
NEWER = {"device": "cpu: A", "versions": {"torch": "2.12"}}
GPU = {"device": "cuda: B", "versions": {"torch": "2.12"}}


def stretch(begin, end, place):
    return {"from": begin, "to": end, **place}


def test_a_new_one_begins_only_where_the_device_or_a_version_changes():
    stretches = []
    for iteration, place in ((0, HERE), (3, HERE), (5, HERE), (5, GPU), (7, NEWER), (9, GPU)):
        stretches = extended(stretches, iteration, place)
        check_stretches(stretches, iteration)
    assert stretches == [stretch(0, 5, HERE), stretch(5, 7, NEWER), stretch(7, 9, GPU)]


def test_those_that_led_to_an_iteration():
    stretches = [stretch(0, 5, HERE), stretch(5, 9, GPU)]
    assert until(stretches, 9) == stretches
    assert until(stretches, 6) == [stretch(0, 5, HERE), stretch(5, 6, GPU)]
    assert until(stretches, 5) == [stretch(0, 5, HERE)]
    assert until(stretches, 0) == []


@pytest.mark.parametrize(
    "stretches",
    [
        [],
        [stretch(1, 9, HERE)],
        [stretch(0, 5, HERE)],
        [stretch(0, 5, HERE), stretch(6, 9, HERE)],
        [stretch(0, 0, HERE), stretch(0, 9, HERE)],
        [stretch(0, "9", HERE)],
        [stretch(0, 9, {**HERE, "device": None})],
        [stretch(0, 9, {**HERE, "versions": ["2.11"]})],
        [stretch(0, 9, {**HERE, "versions": {"torch": 2.11}})],
        [{"from": 0, "to": 9}],
        [7],
        7,
    ],
)
def test_what_cannot_be_is_refused(stretches):
    with pytest.raises((ValueError, KeyError, TypeError)):
        check_stretches(stretches, 9)
