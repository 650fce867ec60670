"""Tables whose first line says what their numbers come from."""

import subprocess
import sys

import pandas as pd
import pytest

from maml.files import tabular

ORIGIN = {"outcome": "finished", "settings": {"α": [1.0, None]}, "note": "# not\nthe end"}


def test_a_file_has_its_origin_in_a_comment_and_then_its_rows(tmp_path):
    table = pd.DataFrame({"task": [0, 1], "value": [0.123456789, None]}, index=[7, 7])
    tabular.write(tmp_path / "x.csv", ORIGIN, table, digits=6)
    text = (tmp_path / "x.csv").read_bytes().decode("utf-8")
    origin, body = tabular.parse(text)
    assert origin == ORIGIN
    assert body == "task,value\n0,0.123457\n1,\n"
    assert tabular.origin(text.partition("\n")[0]) == ORIGIN
    assert pd.read_csv(tmp_path / "x.csv", comment="#")["task"].tolist() == [0, 1]


@pytest.mark.parametrize(
    "text", ["", "\n", "# \na\n", "a,b\n1,2\n", "# [1]\na\n", "# 3\n", "##{}\n"]
)
def test_a_first_line_that_is_no_mapping_is_refused(text):
    with pytest.raises(ValueError):  # noqa: PT011  the words are those of the JSON reader
        tabular.parse(text)


def test_who_reads_an_origin_need_not_wait_for_pandas():
    program = "import sys; import maml.files.tabular; sys.exit('pandas' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)
