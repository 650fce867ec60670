"""The figures of second derivatives draw the medians of gradients.csv."""

import gradient_tables
import pytest
from verdict_runs import OMNIGLOT, config

from maml.results import second_derivatives, style
from maml.results.gradients import is_probed, read

TRUTH = {
    ("maml", 0): {0: (0.1, 0.9), 1000: (0.3, 0.8), 60_000: (0.4, 0.7)},
    ("maml", 1): {0: (0.1, 0.9), 1000: (0.3, 0.8), 60_000: (0.4, 0.7)},
    ("fomaml", 0): {0: (0.1, 0.9), 1000: (0.5, 0.6), 60_000: (0.7, 0.5)},
}
SNAPSHOTS = {"defaults": {"snapshots": [0, 1000]}}


@pytest.fixture
def drawn(tmp_path):
    """Draw a figure: (draw, truth) → config and panels."""

    def make(draw, truth=TRUTH):
        chosen = config((OMNIGLOT,), ("maml", "fomaml"), 2, SNAPSHOTS)
        gradient_tables.write(chosen, tmp_path, truth)
        with style.style():
            figure = draw(chosen, read(chosen, tmp_path))
            style.lay_out(figure)
        return chosen, {axes.get_gid(): axes for axes in figure.axes}

    return make


def curves(panel, config, method, linestyle="-"):
    """Return what a method's lines show: x → y."""
    colour = style.colour(config, method)
    return [
        dict(zip(line.get_xdata(), line.get_ydata(), strict=True))
        for line in panel.get_lines()
        if line.get_color() == colour and line.get_linestyle() == linestyle
    ]


@pytest.mark.parametrize("method", ["maml", "fomaml"])
def test_through_training(drawn, method):
    config, panels = drawn(second_derivatives.through_training)
    for place, measure in enumerate(("cosine", "difference")):
        [curve] = curves(panels[f"{OMNIGLOT} {measure}"], config, method)
        expected = {n: values[place] for n, values in TRUTH[method, 0].items()}
        assert curve == pytest.approx(expected)
    bounds = [panels[f"{OMNIGLOT} {m}"].get_lines()[0] for m in ("cosine", "difference")]
    assert [line.get_ydata()[0] for line in bounds] == [0.95, 0.1]


def test_by_layer_at_the_last_weights(drawn):
    config, panels = drawn(second_derivatives.by_layer)
    panel = panels[f"{OMNIGLOT} cosine"]
    assert [label.get_text() for label in panel.get_xticklabels()] == list(gradient_tables.LAYERS)
    for method, last in (("maml", 0.4), ("fomaml", 0.7)):
        [curve] = curves(panel, config, method, linestyle="None")
        assert list(curve.values()) == pytest.approx([last + 0.1, last - 0.1])
        bars = [
            collection.get_segments()
            for collection in panel.collections
            if tuple(collection.get_color()[0][:3]) == pytest.approx(style.colour(config, method))
        ]
        assert [tuple(bar[:, 1]) for bar in bars[0]] == [
            pytest.approx((last + more - 0.01, last + more + 0.01)) for more in (0.1, -0.1)
        ]  # the middle half of tasks that spread evenly over 0.04


def test_by_step_size_at_the_last_weights(drawn):
    config, panels = drawn(second_derivatives.by_step_size)
    panel = panels[f"{OMNIGLOT} cosine"]
    assert curves(panel, config, "maml") == [pytest.approx({0.1: 0.7, 1.0: 0.4})]
    assert curves(panel, config, "fomaml", ":") == [pytest.approx({0.1: 0.8, 1.0: 0.8})]


@pytest.mark.parametrize("draw", second_derivatives.FIGURES.values())
def test_a_run_whose_trainings_all_diverged_is_drawn_empty(drawn, draw):
    config, panels = drawn(draw, {})
    assert all(not curves(panel, config, "maml") for panel in panels.values())


def test_only_runs_that_keep_snapshots_are_probed():
    assert is_probed(config((OMNIGLOT,), ("maml",), 1, SNAPSHOTS))
    assert not is_probed(config((OMNIGLOT,), ("maml",), 1))
