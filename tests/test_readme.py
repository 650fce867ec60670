"""The README's lines of Python run as they stand there, and its answer has the kept numbers."""

import re
from pathlib import Path

import torch
from helpers import ROOT
from PIL import Image, ImageDraw

from maml.files import paths
from maml.networks.network import initialise
from maml.training import weights

README = (ROOT / "README.md").read_text(encoding="utf-8")
KEPT = ROOT / paths.KEPT
NUMBER = re.compile(r"\d+\.\d+|\d+(?= %)")

LINES = {
    "a": (10, 10, 90, 10),
    "b": (50, 10, 50, 90),
    "c": (10, 10, 90, 90),
    "d": (10, 90, 90, 10),
    "e": (10, 90, 90, 90),
}


def draw(path: Path, line: tuple[int, int, int, int], width: int, ink: int, ground: tuple) -> None:
    """Draw a line; the ground's last value is its opacity."""
    path.parent.mkdir(parents=True, exist_ok=True)
    drawing = Image.new("RGBA", (105, 105), ground)
    ImageDraw.Draw(drawing).line(line, fill=(ink, ink, ink, 255), width=width)
    drawing.save(path)


def test_each_number_of_the_answer_is_one_that_is_kept():
    _, _, rest = README.partition("<!-- begin: answer -->")
    answer, end, _ = rest.partition("<!-- end: answer -->")
    assert end
    pages = [*KEPT.glob("*/README.md"), *KEPT.glob("*/verdict/verdict.md")]
    kept = set(NUMBER.findall("".join(page.read_text(encoding="utf-8") for page in pages)))
    numbers = NUMBER.findall(answer)
    assert len(numbers) > 5
    assert set(numbers) <= kept


def test_the_example_adapts_to_ones_own_drawings(paper, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (example,) = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    own = Path("my-characters")
    for name, line in LINES.items():
        draw(own / "learn" / name / "1.png", line, 6, 0, (255, 255, 255, 255))
        draw(own / "learn" / name / "2.png", line, 7, 0, (0, 0, 0, 0))
        draw(own / "recognise" / f"{name}.png", line, 8, 255, (0, 0, 0, 255))
    (own / "learn" / ".DS_Store").touch()
    job = paper.job("omniglot-5way-1shot", "maml", 0)
    (place,) = re.findall(r'weights\.load\(\s*"(.*?)"\s*\)', example)
    theta = initialise(job.network, job.dataset.image_shape, job.settings.ways, seed=0)
    weights.save(Path(place), theta, job, iteration=0)
    torch.manual_seed(0)
    exec(compile(example, "README.md", "exec"), {})
    # Untrained, the network still learns five lines that hardly differ between two drawings.
    assert capsys.readouterr().out == "".join(f"{name}.png is {name}\n" for name in LINES)
