import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from maml.data.store import PreparedData
from maml.results.preview import draw_tasks


@pytest.mark.parametrize("of_a_class", [12, 7])
@pytest.mark.parametrize("name", ["omniglot-20way-5shot", "miniimagenet-5way-1shot"])
def test_draws_one_picture_the_same_each_time(paper, tmp_path, monkeypatch, name, of_a_class):
    experiment = paper.experiment(name)
    channels = paper.datasets[experiment.dataset].channels
    data = PreparedData(
        name=experiment.dataset,
        images=np.random.default_rng(0).integers(
            0, 256, (25, of_a_class, 16, 16, channels), dtype=np.uint8
        ),
        class_names=[f"Alphabet_of_tests/character{number:02d}" for number in range(25)],
        split=["train"] * 25,
        digest="",
        source="made up",
    )
    monkeypatch.setattr("maml.results.preview.store.load", lambda _: data)
    drawn, save = [], Figure.savefig
    monkeypatch.setattr(
        Figure,
        "savefig",
        lambda figure, *given, **how: [drawn.append(figure), save(figure, *given, **how)],
    )
    for picture in ("one.png", "two.png"):
        draw_tasks(experiment, tmp_path, tmp_path / picture)
    one, two = (np.asarray(Image.open(tmp_path / picture)) for picture in ("one.png", "two.png"))
    assert np.array_equal(one, two)
    assert min(one.shape[:2]) > 400
    assert len(Image.open(tmp_path / "one.png").getcolors(one.size)) > 100
    panels = [panel.get_title() for panel in drawn[0].axes]
    assert panels == ["task 0: support", "query", "task 1: support", "query"]
