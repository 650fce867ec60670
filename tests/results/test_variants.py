"""What a variant moves away from, in words and numbers."""

import pytest
from table_runs import made_up, select

from maml.results import paper, variants

BASE = "omniglot-5way-1shot"
OTHER = {
    "datasets": {
        "other": {
            "format": "omniglot",
            "source": "bundled",
            "classes": {"train": 64, "val": 100, "test": 1459},
            "images_per_class": 20,
            "image_size": 28,
            "resize": "lanczos",
            "split_seed": 0,
        }
    }
}


def variant(own, *overlays, selected=(BASE, "new")):
    """Return a configuration with a variant of the one-shot experiment."""
    entry = {"experiments": {"new": {"variant_of": BASE, **own}}}
    return made_up(*overlays, entry, select(list(selected), ["maml"], [0]))


def test_settings_are_named_with_both_values():
    config = variant({"inner_step_size": 0.4, "rotations": False})
    assert variants.moved(config, "new") == {
        "rotations": (True, False),
        "inner_step_size": (2.0, 0.4),
    }
    assert variants.in_words(config, "new") == (
        "rotations false in place of true, inner_step_size 0.4 in place of 2.0"
    )


def test_settings_of_the_network_and_the_data_set_stand_in_their_names_place():
    config = variant({"network": "mlp", "dataset": "other"}, OTHER)
    words = variants.in_words(config, "new")
    assert "head_initialisation truncated-normal 0.01 in place of normal 1" in words
    assert "resize lanczos in place of nearest" in words
    assert "test classes 1,459 in place of 423" in words
    assert "source" not in words


def test_what_decides_no_number_is_not_moved():
    assert variants.moved(variant({"snapshots": [0]}), "new") == {}


def test_overrides_are_no_difference():
    config = variant({"iterations": 100}, {"overrides": {"iterations": 7}})
    assert variants.moved(config, "new") == {}


@pytest.mark.parametrize(
    ("own", "same"),
    [
        ({"inner_step_size": 0.4}, True),
        ({"network": "mlp", "train_queries": 15}, True),
        ({"rotations": False}, False),
        ({"dataset": "other"}, False),
    ],
)
def test_the_tasks_are_the_same_where_nothing_that_makes_them_differs(own, same):
    assert variants.same_tasks(variant(own, OTHER), "new") == same


def test_a_pair_needs_both():
    assert list(variants.pairs(variant({}))) == [("new", BASE)]
    assert not list(variants.pairs(variant({}, selected=("new",))))
    assert variants.without_variants(variant({})).select.experiments == [BASE]


def test_a_variant_is_no_column_of_the_paper():
    config = variant({})
    assert BASE in paper.experiments(config).values()
    assert "new" not in paper.experiments(config).values()
