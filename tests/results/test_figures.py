"""The figures show what was computed, and say what they cannot show."""

import hashlib
import re

import by_hand
import figure_runs
import numpy as np
import pytest
from matplotlib.text import Text
from table_runs import made_up, select

from maml.results import comparisons, curves, style
from maml.results.figures import FIGURES, write_figures
from maml.results.runs import read

SMALL = {"defaults": {"iterations": 400, "validate_every": 100}}
OMNIGLOT, MINI = "omniglot-5way-1shot", "miniimagenet-5way-1shot"
PAIR = ["maml", "fomaml"]


REPORTED = {OMNIGLOT: 3, MINI: 5}
"""Experiment → the inner steps after which Table 1 has its accuracy."""


def answers(runs, experiment, method, step=None):
    """Return what Table 1 reports, or after another step: percent, tasks × seeds."""
    step = REPORTED[experiment] if step is None else step
    return by_hand.accuracies(runs, experiment, method, checkpoint="best", queries=1, step=step)


def shown(*which, **named):
    """Return mean and intervals of these answers."""
    return by_hand.Shown.of(answers(*which, **named))


def another():
    """Return an experiment that only its step size sets apart from Omniglot, 5-way 1-shot."""
    settings = made_up().experiments[OMNIGLOT].model_dump(exclude_unset=True)
    return settings | {"inner_step_size": 0.5}


@pytest.fixture
def drawn(tmp_path):
    """Draw a figure of a made-up run: (draw, *overlays, diverged) → config, results, figure."""

    def make(draw, *overlays, diverged=(), levels=None):
        config = made_up(SMALL, *overlays)
        figure_runs.write(config, tmp_path, diverged=diverged, levels=levels)
        results = read(config, tmp_path)
        with style.style():
            figure = draw(config, results)
            style.lay_out(figure)
        return config, results, figure

    return make


def words_of(figure):
    """Return the texts that are drawn: an axis keeps labels of ticks that lie outside."""
    drawn = []
    draw = Text.draw

    def noted(text, renderer):
        drawn.append(text)
        draw(text, renderer)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Text, "draw", noted)
        figure.draw_without_rendering()
    return [text for text in drawn if text.get_visible() and text.get_text().strip()]


def texts(figure):
    """Return all that a figure says."""
    return "\n".join(text.get_text() for text in words_of(figure))


def panels(figure):
    """Return the figure's panels by experiment or data set, in order."""
    return [axes for axes in figure.axes if axes.axison]


def lines(panel, config, method):
    """Return the solid and dashed curves and dots of a method."""
    colour = style.colour(config, method)
    return [line for line in panel.get_lines() if line.get_color() == colour]


THIN = (0.45, 0.45, 0.45)  # the bar over seeds and tasks


def bars(panel, colour):
    """Return the intervals of one colour: (low, high) at each height."""
    found = {}
    for collection in panel.collections:
        if np.allclose(collection.get_colors()[0][:3], colour):
            for segment in collection.get_segments():
                found[round(segment[0, 1], 3)] = tuple(segment[:, 0])
    return found


def test_every_figure_is_written_the_same_each_time(tmp_path):
    config = made_up(SMALL, select([OMNIGLOT], PAIR, [0, 1]))
    figure_runs.write(config, tmp_path / "runs")
    digests = []
    for out in (tmp_path / "one", tmp_path / "two"):
        write_figures(config, tmp_path / "runs", out)
        digests.append(
            {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in out.iterdir()}
        )
    assert digests[0] == digests[1]
    assert set(digests[0]) == {f"{name}.{kind}" for name in FIGURES for kind in ("svg", "png")}
    assert b"</svg>" in (tmp_path / "one" / "learning-curves.svg").read_bytes()
    assert (tmp_path / "one" / "learning-curves.png").read_bytes().startswith(b"\x89PNG")


def test_learning_curves_are_means_over_seeds_within_their_range(drawn):
    config, results, figure = drawn(curves.learning_curves, select([OMNIGLOT], PAIR, [0, 1, 2]))
    (panel,) = panels(figure)
    for method in PAIR:
        own = [result.curve for result in results if result.job.method == method]
        solid, dashed = sorted(
            lines(panel, config, method), key=lambda line: line.get_linestyle() == "--"
        )
        for line, column in ((solid, "validation_accuracy"), (dashed, "train_accuracy")):
            values = 100 * np.array([curve[column] for curve in own])
            assert line.get_xdata() == pytest.approx([100, 200, 300, 400])
            assert line.get_ydata() == pytest.approx(values.mean(axis=0))
            band = [
                path.vertices
                for collection in panel.collections
                if np.allclose(collection.get_facecolor()[0][:3], style.colour(config, method))
                for path in collection.get_paths()
                if np.isclose(path.vertices[:, 1], values.max()).any()
            ]
            assert any(np.isclose(each[:, 1], values.min()).any() for each in band)
    assert "Band: from the lowest seed to the highest" in texts(figure)


def test_one_seed_has_no_band_and_the_figure_says_so(drawn):
    _, _, figure = drawn(curves.learning_curves, select([OMNIGLOT], PAIR, [0]))
    vertices = [
        path.vertices for shade in panels(figure)[0].collections for path in shade.get_paths()
    ]
    assert not any(np.isfinite(each).all() and len(each) for each in vertices)
    assert "no band" in texts(figure)


def test_without_validation_classes_the_training_curve_stands_alone(drawn):
    config, results, figure = drawn(
        curves.learning_curves, {"protocol": "paper"}, select([OMNIGLOT], ["maml"], [0, 1])
    )
    assert all(result.curve["validation_accuracy"].isna().all() for result in results)
    (line,) = lines(panels(figure)[0], config, "maml")
    assert line.get_linestyle() == "--"
    words = texts(figure)
    assert "No validation classes, so training only: Omniglot, 5-way 1-shot." in words
    assert "protocol: paper" in words


def test_accuracy_by_step_is_the_mean_with_the_interval_over_tasks(drawn, tmp_path):
    ran = {OMNIGLOT: PAIR, MINI: [*PAIR, "maml-cut-pooling"]}  # the former has no pooling to cut
    config, _, figure = drawn(curves.accuracy_by_step, select(list(ran), ran[MINI], [0, 1]))
    for (experiment, methods), panel in zip(ran.items(), panels(figure), strict=True):
        assert (panel.get_xlabel(), panel.get_ylabel()) == ("inner steps", "accuracy")
        settings = config.experiment(experiment)
        assert [settings.inner_steps] * 2 in [list(line.get_xdata()) for line in panel.get_lines()]
        for method in methods:
            steps = range(settings.test_steps + 1)
            found = [shown(tmp_path, experiment, method, step=step) for step in steps]
            curve, reported = lines(panel, config, method)
            assert curve.get_ydata() == pytest.approx([each.mean for each in found])
            assert reported.get_xdata() == pytest.approx([REPORTED[experiment]])
            assert reported.get_ydata() == pytest.approx([found[REPORTED[experiment]].mean])
            upper = [each.mean + each.tasks for each in found]
            (band,) = (
                shade
                for shade in panel.collections
                if np.allclose(shade.get_facecolor()[0][:3], style.colour(config, method))
            )
            heights = band.get_paths()[0].vertices[:, 1]
            assert all(np.isclose(heights, value).any() for value in upper)


def test_a_step_zero_below_the_panel_is_said(drawn, tmp_path):
    _, _, figure = drawn(curves.accuracy_by_step, select([OMNIGLOT], ["maml"], [0]))
    before = answers(tmp_path, OMNIGLOT, "maml", step=0).mean()
    assert panels(figure)[0].get_ylim()[0] > before
    assert f"step 0: {before:.0f} %" in texts(figure)


def test_steps_zero_that_lie_apart_are_both_said(drawn, tmp_path):
    _, _, figure = drawn(curves.accuracy_by_step, select([OMNIGLOT], PAIR, [0]))
    before = sorted(answers(tmp_path, OMNIGLOT, method, step=0).mean() for method in PAIR)
    lowest, highest = (f"{value:.0f}" for value in before)
    assert lowest != highest
    assert f"step 0: {lowest} to {highest} %" in texts(figure)


def test_ours_stand_beside_the_papers(drawn, tmp_path):
    config, _, figure = drawn(comparisons.paper_comparison, select([OMNIGLOT, MINI], PAIR, [0, 1]))
    omniglot, mini = panels(figure)
    assert omniglot.get_title(loc="left") == "Omniglot"
    blue, orange = (style.colour(config, method) for method in PAIR)

    def ours(experiment, method):
        found = shown(tmp_path, experiment, method)
        return found.mean - found.one_seed, found.mean + found.one_seed

    def intervals(panel, colour):
        return [pytest.approx(each) for _, each in sorted(bars(panel, colour).items())]

    assert intervals(omniglot, blue) == [ours(OMNIGLOT, "maml"), (98.3, 99.1)]
    assert intervals(omniglot, orange) == [ours(OMNIGLOT, "fomaml")]  # the paper has none
    assert intervals(mini, blue) == [ours(MINI, "maml"), (48.70 - 1.84, 48.70 + 1.84)]
    assert intervals(mini, orange) == [ours(MINI, "fomaml"), (48.07 - 1.75, 48.07 + 1.75)]
    assert "the paper does not report it" in texts(figure)
    for experiment, panel in ((OMNIGLOT, omniglot), (MINI, mini)):
        both = [shown(tmp_path, experiment, method) for method in PAIR]
        assert intervals(panel, THIN) == [(of.mean - of.both, of.mean + of.both) for of in both]


def test_a_shortened_protocol_and_drawn_images_are_marked_in_the_figure(drawn):
    shortened = {
        "overrides": {"iterations": 200},
        "datasets": {"omniglot": {"source": "synthetic"}},
    }
    for draw in FIGURES.values():
        _, _, figure = drawn(draw, shortened, {"run": "brief"}, select([OMNIGLOT], PAIR, [0]))
        words = texts(figure)
        assert "run: brief · shortened protocol · synthetic images" in words
        assert "Shortened protocol (all): iterations 200 in place of 400." in words
        assert "Omniglot (synthetic images)" in words
    _, _, figure = drawn(comparisons.paper_comparison, shortened, select([OMNIGLOT], PAIR, [0]))
    (label,) = panels(figure)[0].get_yticklabels()
    assert label.get_text() == "5-way 1-shot\nshortened protocol"


def test_the_difference_is_taken_task_by_task(drawn, tmp_path):
    compared = {"maml": [OMNIGLOT, MINI], "maml-cut-pooling": [MINI], "fomaml": [OMNIGLOT, MINI]}
    config, _, figure = drawn(
        comparisons.first_order_difference, select([OMNIGLOT, MINI], list(compared), [0, 1, 2])
    )
    left, right = panels(figure)
    values = {
        (experiment, method): answers(tmp_path, experiment, method)
        for method, experiments in compared.items()
        for experiment in experiments
    }
    estimates = [by_hand.Shown.of(each) for each in values.values()]
    both = sorted((of.mean - of.both, of.mean + of.both) for of in estimates)
    assert np.array(sorted(bars(left, THIN).values())) == pytest.approx(np.array(both))
    thin = []
    for method in ("maml", "maml-cut-pooling"):
        drawn_bars = [each for _, each in sorted(bars(right, style.colour(config, method)).items())]
        for experiment, interval in zip(compared[method], drawn_bars, strict=True):
            found = by_hand.Shown.of(values[experiment, method] - values[experiment, "fomaml"])
            thin.append((found.mean - found.both, found.mean + found.both))
            assert interval == pytest.approx((found.mean - found.tasks, found.mean + found.tasks))
            words = f"{found.mean:+.2f} ± {found.tasks:.2f} over tasks".replace("-", "−")
            assert f"{words}\n± {found.both:.2f} over seeds and tasks" in texts(figure)
    assert np.array(sorted(bars(right, THIN).values())) == pytest.approx(np.array(sorted(thin)))
    assert [0, 0] in [list(line.get_xdata()) for line in right.get_lines()]


@pytest.mark.parametrize("draw", [comparisons.paper_comparison, comparisons.first_order_difference])
def test_no_axis_has_accuracies_beyond_all(drawn, draw):
    _, _, figure = drawn(
        draw, select([OMNIGLOT], PAIR, [0, 1]), levels={(OMNIGLOT, "fomaml"): 0.995}
    )
    panel = panels(figure)[0]
    assert max(high for _, high in bars(panel, THIN).values()) > 101  # an interval of two seeds
    assert 100 < panel.get_xlim()[1] < 101


def test_one_seed_has_no_interval_over_seeds_and_tasks(drawn):
    for draw in (comparisons.paper_comparison, comparisons.first_order_difference):
        _, _, figure = drawn(draw, select([OMNIGLOT, MINI], PAIR, [0]))
        assert not any(bars(panel, THIN) for panel in panels(figure))
        assert "Thin bar" not in texts(figure)


def test_only_methods_that_differ_in_their_second_derivatives_are_compared(drawn):
    methods = ["reptile", "anil", "maml-dropout", *PAIR]
    config, _, figure = drawn(
        comparisons.first_order_difference, select([OMNIGLOT], methods, [0, 1])
    )
    left, right = panels(figure)
    assert "difference from MAML, first-order\n" in f"{texts(figure)}\n"
    shown = {method: bool(bars(right, style.colour(config, method))) for method in methods}
    assert shown == dict.fromkeys(methods, False) | {"maml": True}
    assert all(bars(left, style.colour(config, method)) for method in methods)


def test_an_experiment_that_lacks_a_method_has_no_difference(drawn):
    lacking = {"experiments": {MINI: {"methods": ["maml"]}}}
    chosen = select([OMNIGLOT, MINI], ["maml", "fomaml"], [0, 1])
    _, _, figure = drawn(comparisons.first_order_difference, chosen, lacking)
    assert len(re.findall(r"± \d+\.\d+ over tasks", texts(figure))) == 1


@pytest.mark.parametrize("method", ["anil", "reptile"])
def test_what_has_no_second_derivatives_for_another_reason_is_not_first_order(drawn, method):
    _, _, figure = drawn(
        comparisons.first_order_difference, select([OMNIGLOT], [method, "maml"], [0, 1])
    )
    assert "this run has no method\nwithout second derivatives" in texts(figure)


@pytest.mark.parametrize(("method", "lacking"), [("maml", "without"), ("fomaml", "with")])
def test_one_method_alone_has_no_difference_and_the_figure_says_so(drawn, method, lacking):
    _, _, figure = drawn(comparisons.first_order_difference, select([OMNIGLOT], [method], [0, 1]))
    assert f"this run has no method\n{lacking} second derivatives" in texts(figure)


@pytest.mark.parametrize("draw", FIGURES.values(), ids=FIGURES)
def test_a_diverged_seed_is_named_and_left_out(drawn, draw):
    config, results, figure = drawn(
        draw, select([OMNIGLOT], PAIR, [0, 1]), diverged=[(OMNIGLOT, "maml", 1)]
    )
    assert "Left out: Omniglot, 5-way 1-shot, MAML, seed 1 diverged at iteration 100." in texts(
        figure
    ).replace("\n", " ")
    if draw is curves.learning_curves:
        solid = min(lines(panels(figure)[0], config, "maml"), key=lambda line: line.get_linestyle())
        kept = results[0].curve
        shown = 100 * kept["validation_accuracy"], 100 * kept["train_accuracy"]
        assert any(solid.get_ydata() == pytest.approx(each.to_numpy()) for each in shown)
    if draw is comparisons.first_order_difference:
        assert "over tasks" in texts(figure)  # the seed that both finished
        assert "± nan" not in texts(figure)


@pytest.mark.parametrize("draw", FIGURES.values(), ids=FIGURES)
def test_a_method_whose_every_seed_diverged_is_said_to(drawn, draw):
    diverged = [(OMNIGLOT, method, seed) for method in PAIR for seed in (0, 1)]
    _, _, figure = drawn(draw, select([OMNIGLOT], PAIR, [0, 1]), diverged=diverged)
    above = texts(figure).split("Left out")[0]
    assert "diverged" in above or "no seed that both finished" in above


def test_experiments_that_differ_otherwise_go_by_their_keys():
    config = made_up(
        {"experiments": {"slower": another()}}, select([OMNIGLOT, "slower", MINI], PAIR, [0])
    )
    assert list(style.experiment_names(config).values()) == [
        f"Omniglot, {OMNIGLOT}",
        "Omniglot, slower",
        "mini-ImageNet, 5-way 1-shot",
    ]


def test_a_method_has_its_colour_and_marker_in_every_run():
    alone, both = (made_up(select([OMNIGLOT], methods, [0])) for methods in (["fomaml"], PAIR))
    assert style.colour(alone, "fomaml") == style.colour(both, "fomaml")
    assert len({style.colour(both, method) for method in both.methods}) == len(both.methods)
    assert len({style.marker(both, method) for method in both.methods}) == len(both.methods)


@pytest.mark.parametrize("draw", FIGURES.values(), ids=FIGURES)
@pytest.mark.parametrize("count", [1, 8])
def test_no_words_overlap_or_leave_the_page(drawn, draw, count):
    long_name = f"{OMNIGLOT}-with-a-much-smaller-inner-step"
    names = [*list(made_up().experiments)[: count - 1], long_name]
    methods = [*PAIR, "maml-cut-pooling"]
    long = {
        "overrides": {"iterations": 200, "meta_batch_size": 2, "test_tasks": 5},
        "datasets": {"omniglot": {"source": "synthetic"}, "miniimagenet": {"source": "synthetic"}},
        "experiments": {long_name: another()},
    }
    _, _, figure = drawn(draw, long, select(names, methods, [0, 1]))
    page = figure.bbox
    boxes = [(text.get_text(), text.get_window_extent()) for text in words_of(figure)]
    for words, box in boxes:
        assert page.x0 - 1 <= box.x0, words
        assert box.x1 <= page.x1 + 1, words
    for number, (words, box) in enumerate(boxes):
        for others, other in boxes[:number]:
            apart = (
                box.x1 <= other.x0 + 1
                or other.x1 <= box.x0 + 1
                or box.y1 <= other.y0 + 1
                or other.y1 <= box.y0 + 1
            )
            assert apart, f"{words!r} overlaps {others!r}"
