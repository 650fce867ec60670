"""The README's lines of Python run as they stand there."""

import re
from pathlib import Path

import torch
from helpers import ROOT
from PIL import Image, ImageDraw

from maml.networks.network import initialise
from maml.training import weights


def test_the_example_adapts_to_ones_own_drawings(paper, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    for name, line in {
        "a": (10, 10, 90, 10),
        "b": (50, 10, 50, 90),
        "c": (10, 10, 90, 90),
        "d": (10, 90, 90, 10),
        "e": (10, 90, 90, 90),
    }.items():
        folder = Path("my-characters") / name
        folder.mkdir(parents=True)
        for file, width in (("learn.png", 6), ("recognise.png", 8)):
            drawing = Image.new("L", (105, 105), 255)
            ImageDraw.Draw(drawing).line(line, fill=0, width=width)
            drawing.save(folder / file)
    job = paper.job("omniglot-5way-1shot", "maml", 0)
    (place,) = re.findall(r'weights\.load\("(.*?)"\)', example)
    theta = initialise(job.network, job.dataset.image_shape, job.settings.ways, seed=0)
    weights.save(Path(place), theta, job, iteration=0)
    torch.manual_seed(0)
    exec(compile(example, "README.md", "exec"), {})
    # Untrained, the network still learns five lines that hardly differ between two drawings.
    assert capsys.readouterr().out == "['a', 'b', 'c', 'd', 'e']\n"
