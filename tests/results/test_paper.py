"""The paper's Table 1 as data, and the experiments that are its columns."""

import pytest
from table_runs import made_up

from maml.files.errors import UserError
from maml.results.paper import Column, cell, check_rows, experiments, table1


def test_the_table_is_whole():
    cells = table1()
    assert len(cells) == 36
    assert not cells.duplicated(["dataset", "network", "ways", "shots", "method"]).any()
    own = cells.query("source == 'Finn et al. 2017'")
    assert len(own) == 10
    assert own["ci95"].notna().all()
    assert list(cells[cells["network"] == "mlp"]["row"].unique()) == ["MANN", "MAML"]


def test_the_shipped_experiments_are_its_columns(paper):
    assert list(experiments(paper).values()) == [
        *("omniglot-5way-1shot-mlp", "omniglot-5way-5shot-mlp"),
        *("omniglot-5way-1shot", "omniglot-5way-5shot"),
        *("omniglot-20way-1shot", "omniglot-20way-5shot"),
        *("miniimagenet-5way-1shot", "miniimagenet-5way-5shot"),
    ]


def test_a_variant_of_a_column_does_not_take_its_place():
    entry = made_up().experiments["omniglot-5way-1shot"].model_dump(exclude_unset=True)
    config = made_up({"experiments": {"variant": entry | {"inner_step_size": 0.4}}})
    assert experiments(config)[Column("omniglot", "conv", 5, 1)] == "omniglot-5way-1shot"


def test_the_shipped_methods_stand_beside_rows_of_it(paper):
    check_rows(paper)
    other = made_up({"methods": {"fomaml": {"paper_row": "MAML first-order"}}})
    with pytest.raises(UserError, match=r"^config: methods\.fomaml\.paper_row: 'MAML first-order'"):
        check_rows(other)


def test_a_cell_is_found_by_its_column_and_row():
    mini = Column("miniimagenet", "conv", 5, 1)
    assert cell(mini, "MAML") == (48.7, 1.84)
    assert cell(mini, "MAML, first-order approx.") == (48.07, 1.75)
    assert cell(mini._replace(ways=20), "MAML") is None
    assert cell(mini, None) is None
