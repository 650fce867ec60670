"""Whether second derivatives are near zero, judged from gradients of known truth."""

import json

import gradient_tables
import pytest
from helpers import ROOT
from verdict_runs import MINI, OMNIGLOT, config

from maml.configuration.overlays import load
from maml.files import paths, tabular
from maml.files.compressed import pack, packed
from maml.files.errors import UserError
from maml.results.answer import sentences
from maml.results.finding import Verdict
from maml.results.nearzero import NOT_CLAIM_2, findings
from maml.results.verdict import find

CONV = load([ROOT / "config.yaml"])["networks"]["omniglot-conv"]
NEAR, FAR = (0.99, 0.05), (0.3, 0.9)


def judged(tmp_path, by_seed, *overlays, **settings):
    """Return the finding on MAML's path: seed → iteration → cosine and norm ratio."""
    settings_of_run = config((OMNIGLOT,), ("maml", "fomaml"), len(by_seed), *overlays)
    truth = {("maml", seed): truth for seed, truth in enumerate(by_seed)}
    gradient_tables.write(settings_of_run, tmp_path, truth, **settings)
    maml, first_order = findings(settings_of_run, tmp_path)
    assert first_order.verdict == Verdict.NOT_RUN
    assert "`maml probe`" in first_order.settle
    assert (maml.part, first_order.part) == (
        "on the path of MAML",
        "on the path of MAML, first-order",
    )
    return maml


@pytest.mark.parametrize(
    ("later", "verdict"),
    [
        ([NEAR, NEAR], Verdict.REPRODUCED),
        ([(0.951, 0.099), NEAR], Verdict.REPRODUCED),
        ([FAR, FAR], Verdict.NOT_REPRODUCED),
        ([(0.949, 0.05), (0.949, 0.05)], Verdict.NOT_REPRODUCED),  # the cosine alone fails
        ([(0.99, 0.101), (0.99, 0.101)], Verdict.NOT_REPRODUCED),  # the norm ratio alone fails
        ([(0.949, 0.05), (0.99, 0.101)], Verdict.NOT_REPRODUCED),  # in turns
        ([NEAR, FAR], Verdict.INCONCLUSIVE),
    ],
)
def test_both_must_hold_at_every_snapshot(tmp_path, later, verdict):
    truth = {0: FAR, 100: NEAR, 1000: later[0], 60_000: later[1]}
    found = judged(tmp_path, [truth, truth])
    assert found.verdict == verdict
    assert (found.low, found.high) == pytest.approx(
        (min(cosine for cosine, _ in later), max(cosine for cosine, _ in later))
    )
    assert (NOT_CLAIM_2 in found.remark) == (verdict != Verdict.REPRODUCED)
    assert "α‖Hv‖ is 1.5 times ‖v‖: the loss's curvature 1.2, the network's own 0.7" in found.remark
    assert found.settle.startswith("they are near zero at 2 of 4" if "inc" in verdict else "")


def test_seeds_that_disagree_are_open(tmp_path):
    found = judged(tmp_path, [{1000: NEAR}, {1000: FAR}])
    assert found.verdict == Verdict.INCONCLUSIVE
    assert found.ours == "cosine 0.30 to 0.99, norm ratio 0.05 to 0.90"


def test_one_seed_only_suggests(tmp_path):
    found = judged(tmp_path, [{1000: FAR}])
    assert (found.verdict, found.settle) == (Verdict.INCONCLUSIVE, "more than one seed")
    assert found.remark.startswith("suggests: not reproduced")


def test_early_snapshots_decide_nothing(tmp_path):
    found = judged(tmp_path, [{0: FAR, 999: FAR}])
    assert found.verdict == Verdict.NOT_RUN
    assert "from iteration 1,000 on" in found.settle


def test_the_bounds_are_settings(tmp_path):
    bounds = {"verdict": {"cosine": 0.2, "norm_ratio": 0.95, "from_iteration": 100}}
    assert judged(tmp_path, [{0: FAR, 100: FAR}] * 2, bounds).verdict == Verdict.REPRODUCED


@pytest.mark.parametrize(
    ("overlay", "lacking"),
    [
        ({"overrides": {"iterations": 2000}}, "the full protocol: iterations as config.yaml"),
        ({"datasets": {"omniglot": {"source": "synthetic"}}}, "the real images"),
    ],
)
def test_a_run_that_is_no_reproduction_only_suggests(tmp_path, overlay, lacking):
    found = judged(tmp_path, [{1000: FAR}], overlay)
    assert found.verdict == Verdict.INCONCLUSIVE
    assert found.remark.startswith("suggests: not reproduced")
    assert lacking in found.settle


def test_a_shortened_evaluation_does_not_matter(tmp_path):
    found = judged(tmp_path, [{1000: FAR}] * 2, {"overrides": {"test_tasks": 10}})
    assert found.verdict == Verdict.NOT_REPRODUCED


def test_methods_that_are_no_maml_have_no_row(tmp_path):
    chosen = config((OMNIGLOT, MINI), ("maml", "anil", "maml-cut-pooling", "maml-dropout"), 1)
    found = list(findings(chosen, tmp_path))
    assert [(each.cell, each.part) for each in found] == [
        (OMNIGLOT, "on the path of MAML"),
        (MINI, "on the path of MAML"),
    ]


def test_the_verdict_of_a_run_has_them_where_its_trainings_lie(tmp_path):
    chosen = config((OMNIGLOT,), ("maml", "fomaml"), 2)
    both = {"maml": {1000: FAR}, "fomaml": {1000: NEAR}}
    truth = {(method, seed): path for method, path in both.items() for seed in (0, 1)}
    gradient_tables.write(chosen, tmp_path / "runs", truth)
    found = [each.verdict for each in find(chosen, [], tmp_path) if each.claim == 4]
    assert found == [Verdict.NOT_REPRODUCED, Verdict.REPRODUCED]


def test_a_control_stands_beside_its_base_and_decides_nothing(tmp_path):
    control = {
        "networks": {"conv-softplus": CONV | {"activation": "softplus"}},
        "experiments": {"control": {"variant_of": OMNIGLOT, "network": "conv-softplus"}},
    }
    chosen = config((OMNIGLOT, "control"), ("maml",), 2, control)
    truth = {("maml", seed): {1000: FAR} for seed in (0, 1)}
    gradient_tables.write(chosen, tmp_path / "runs", truth)
    found = [each for each in find(chosen, [], tmp_path) if each.claim == 4]
    assert [each.cell for each in found] == [OMNIGLOT, "control"]
    assert [each.verdict for each in found] == [Verdict.NOT_REPRODUCED, Verdict.INCONCLUSIVE]
    assert found[1].remark.startswith("suggests: not reproduced")
    assert "a control, with activation softplus in place of relu" in found[1].settle
    assert sentences(chosen, found)[2].endswith("that they are near zero is not reproduced.")


@pytest.mark.parametrize(("snapshots", "rows"), [([], 1), ([1000], 2)])
def test_a_variant_that_keeps_no_snapshots_is_no_control(tmp_path, snapshots, rows):
    variant = {"variant_of": OMNIGLOT, "inner_step_size": 0.4, "snapshots": snapshots}
    settings = config((OMNIGLOT, "new"), ("maml",), 1, {"experiments": {"new": variant}})
    assert len(list(findings(settings, tmp_path))) == rows


def test_kept_files_are_read_compressed(tmp_path):
    judged(tmp_path, [{1000: FAR}])
    path = paths.gradients(paths.training_folder(tmp_path, OMNIGLOT, "maml", 0))
    packed(path).write_bytes(pack(path.read_bytes()))
    path.unlink()
    chosen = config((OMNIGLOT,), ("maml",), 1)
    assert [each.ours for each in findings(chosen, tmp_path)] == ["cosine 0.30, norm ratio 0.90"]


def test_a_probe_with_other_settings_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"gradients\.csv was made with ways: 20, and the conf"):
        judged(tmp_path, [{1000: FAR}], ways=20)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda lines: lines[:-1], "halves, first-order at iteration 60000 with 1 α: 1 rows are"),
        (lambda lines: lines[:2] + lines[3:], "cosine at iteration 1000 with 0.1 α: .* 8 found"),
        (lambda lines: lines[: len(lines) // 2], "norm at iteration 60000 with 0.1 α: 9 rows are"),
        (lambda lines: lines[: len(lines) // 4], "1000 with 1 α: 9 rows are expected and 0 found"),
        (lambda lines: lines[:2], "9 rows are expected and 0 found"),
        (lambda lines: [*lines, lines[-1]], "a row stands twice"),
    ],
)
def test_a_file_that_was_cut_at_a_line_is_refused(tmp_path, damage, reason):
    judged(tmp_path, [{1000: FAR, 60_000: FAR}])
    path = paths.gradients(paths.training_folder(tmp_path, OMNIGLOT, "maml", 0))
    path.write_text("".join(damage(path.read_text().splitlines(keepends=True))))
    with pytest.raises(UserError, match=rf"gradients\.csv is damaged \(.*{reason}"):
        list(findings(config((OMNIGLOT,), ("maml",), 1), tmp_path))


def test_what_earlier_versions_wrote_is_read(tmp_path):
    """They did not note the last iteration, and measured the tasks of all seeds of a job."""
    judged(tmp_path, [{0: FAR, 60_000: FAR}])
    path = paths.gradients(paths.training_folder(tmp_path, OMNIGLOT, "maml", 0))
    origin, body = tabular.parse(path.read_text())
    del origin["iteration"]
    origin["settings"]["probe"]["tasks"] = 3
    path.write_text(f"# {json.dumps(origin)}\n{body}")
    fewer = config((OMNIGLOT,), ("maml",), 1, {"probe": {"tasks": 3}})
    assert [each.ours for each in findings(fewer, tmp_path)] == ["cosine 0.30, norm ratio 0.90"]


@pytest.mark.parametrize("text", ["", "# {}\na,b\n", "iteration\n1\n", '# {"settings": 1}\na\n'])
def test_a_damaged_file_is_named(tmp_path, text):
    judged(tmp_path, [{1000: FAR}])
    path = paths.gradients(paths.training_folder(tmp_path, OMNIGLOT, "maml", 0))
    path.write_text(text)
    with pytest.raises(UserError, match=r"gradients\.csv is damaged"):
        list(findings(config((OMNIGLOT,), ("maml",), 1), tmp_path))
