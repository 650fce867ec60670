"""What first-order MAML saves, judged from measured costs of known truth."""

import pandas as pd
import pytest
from verdict_runs import MINI, OMNIGLOT, config

from maml.files.errors import UserError
from maml.results.finding import Verdict
from maml.results.savings import FILE, findings


def judged(tmp_path, flop, seconds=(1.0, 1.0, 1.0), **overlay):
    """Return reading and measure → the finding; a MAML iteration takes 100 FLOP and 1 s a round."""
    rows = []
    for number, slower in enumerate(seconds):
        rows.append((OMNIGLOT, "maml", number, 1.0, 100, 1000))
        rows.append((OMNIGLOT, "fomaml", number, slower, flop, 1000))
    columns = ["experiment", "method", "round", "seconds", "flop", "peak_bytes"]
    (tmp_path / FILE).parent.mkdir()
    with (tmp_path / FILE).open("w") as file:
        file.write('# {"device": "made up"}\n')
        pd.DataFrame(rows, columns=columns).to_csv(file, index=False)
    settings = config((OMNIGLOT,), ("maml", "fomaml"), 2, *([overlay] if overlay else []))
    return {
        (finding.part.removeprefix("read as "), finding.test.split()[0].strip(",")): finding
        for finding in findings(settings, tmp_path)
    }


@pytest.mark.parametrize(
    ("flop", "less", "rate"),
    [
        (67, Verdict.REPRODUCED, Verdict.NOT_REPRODUCED),
        (75, Verdict.NOT_REPRODUCED, Verdict.REPRODUCED),
        (71, Verdict.REPRODUCED, Verdict.REPRODUCED),
        (45, Verdict.NOT_REPRODUCED, Verdict.NOT_REPRODUCED),
    ],
)
def test_both_readings_of_a_third_are_judged(tmp_path, flop, less, rate):
    found = judged(tmp_path, flop)
    assert found["33 % less", "arithmetic"].verdict == less
    assert found["1.33 times the rate", "arithmetic"].verdict == rate
    assert found["33 % less", "arithmetic"].effect == pytest.approx(100 - flop)
    assert found["33 % less", "peak"].verdict == Verdict.NOT_REPRODUCED


def test_times_that_scatter_are_open(tmp_path):
    found = judged(tmp_path, 67, seconds=[0.5, 0.67, 0.9] * 10)
    assert found["33 % less", "seconds"].verdict == Verdict.INCONCLUSIVE
    assert found["33 % less", "seconds"].effect == pytest.approx(33)


def test_a_shortened_run_only_suggests(tmp_path):
    found = judged(tmp_path, 67, overrides={"meta_batch_size": 2})
    finding = found["33 % less", "arithmetic"]
    assert finding.verdict == Verdict.INCONCLUSIVE
    assert finding.remark == "suggests: reproduced"
    assert "meta_batch_size" in finding.settle


def test_fewer_iterations_take_nothing_from_what_one_of_them_costs(tmp_path):
    found = judged(tmp_path, 67, overrides={"iterations": 10, "test_tasks": 5})
    assert found["33 % less", "arithmetic"].verdict == Verdict.REPRODUCED


def test_only_arithmetic_and_time_of_mini_imagenet_are_claims_of_the_paper(tmp_path):
    asked = {
        (finding.cell, finding.test.split()[0].strip(",")): finding.ours_to_ask
        for finding in findings(config((OMNIGLOT, MINI), ("maml", "fomaml"), 2), tmp_path)
    }
    memory = "the paper does not speak of memory"
    elsewhere = "the paper says it of mini-ImageNet alone"
    assert asked == {
        (OMNIGLOT, "arithmetic"): elsewhere,
        (OMNIGLOT, "seconds"): elsewhere,
        (OMNIGLOT, "peak"): memory,
        (MINI, "arithmetic"): "",
        (MINI, "seconds"): "",
        (MINI, "peak"): memory,
    }


def test_what_was_not_measured_is_not_run(tmp_path):
    assert {each.verdict for each in findings(config(), tmp_path)} == {Verdict.NOT_RUN}


HEADING = "experiment,method,round,seconds,flop,peak_bytes\n"


@pytest.mark.parametrize(
    "text",
    [
        "experiment,method\na,b\n",
        f"{HEADING}a,maml,0,1.0,10,10\na,maml,0,1.0,10,10\n",
        f"{HEADING}a,maml,0,soon,10,10\n",
    ],
    ids=["no-columns", "a-round-twice", "no-number"],
)
def test_a_damaged_table_is_named(tmp_path, text):
    (tmp_path / FILE).parent.mkdir()
    (tmp_path / FILE).write_text(text)
    with pytest.raises(UserError, match=r"iteration\.csv is damaged"):
        list(findings(config(), tmp_path))
