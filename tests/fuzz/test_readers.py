"""Configuration, weights, checkpoints, results: read, or answered in one line, whatever is in them.

The suite tries the same few files each time; ``make fuzz`` searches for minutes.
"""

import io
import json

import numpy as np
import pytest
import torch
from bad_input.checkpoints import with_state
from helpers import ROOT, without_data
from hypothesis import given
from hypothesis import strategies as st
from results.table_runs import made_up, select, write

from fuzz.damage import JSON, answered, changed, damaged, searched
from maml.configuration import config, overlays
from maml.networks.network import initialise
from maml.results import runs as results
from maml.training import published, train, weights
from maml.training.checkpoint import Checkpoint, digest_with_head
from maml.training.seed_group import SeedGroup

FILE = ROOT / "config.yaml"
ONE_SHOT = "omniglot-5way-1shot"
YAML = [b"*a", b"&a ", b": ", b"- ", b"null", b"!!int ", b"<<: ", b"2017-99-99", b"1_", b"{", b"? "]
OVERLAY = b"select: {seeds: &a [0, 1]}\nruntime: {threads: 1}\nrun: mine\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder that all examples of a test share."""
    return tmp_path_factory.mktemp("fuzz")


@pytest.fixture(scope="module")
def job(tiny_job):
    return tiny_job(ONE_SHOT, "maml", 0)


@searched
@given(damaged(OVERLAY, YAML))
def test_overlays(folder, content):
    (folder / "overlay.yaml").write_bytes(content)
    answered(lambda: overlays.load([folder / "overlay.yaml"]))


RAW = overlays.load([FILE])


@searched
@given(changed(RAW))
def test_configurations(raw):
    answered(lambda: config.check(raw if isinstance(raw, dict) else {}))


@pytest.fixture(scope="module")
def trained(job, folder):
    theta = initialise(job.network, job.dataset.image_shape, job.settings.ways, 0)
    weights.save(folder / "whole", theta, job, iteration=7)
    return (folder / "whole").read_bytes()


@searched
@given(data=st.data())
def test_weights(folder, trained, data):
    head = int.from_bytes(trained[:8], "little")
    content = data.draw(damaged(trained[:1500]).map(lambda start: start + trained[1500:]))
    if data.draw(st.booleans()):
        about = json.loads(trained[8 : 8 + head])
        card = json.loads(about["__metadata__"]["card"])
        about["__metadata__"]["card"] = json.dumps(data.draw(changed(card)))
        about = json.dumps(about if data.draw(st.booleans()) else data.draw(changed(about)))
        content = len(about).to_bytes(8, "little") + about.encode() + trained[8 + head :]
    (folder / "weights").write_bytes(content)
    answered(lambda: weights.load(folder / "weights"))


@pytest.fixture(scope="module")
def checkpoint(job, folder):
    """A checkpoint of a training that has just begun, and the bytes of its file."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        made = Checkpoint(job, {"code": "c0ffee"}, {"device": "cpu: A", "versions": {}})
        made.path = made.path.absolute()
        made.save(3, SeedGroup(without_data(job)).saved())
    return made, made.path.read_bytes()


@searched
@given(data=st.data())
def test_checkpoints(checkpoint, data):
    checkpoint, whole = checkpoint
    head, _, content = whole.partition(b"\n")
    about = json.loads(head)
    content = data.draw(damaged(content[:400]).map(lambda start: start + content[400:]))
    if data.draw(st.booleans()):  # of someone who knows the format
        about["sha256"] = digest_with_head(about, content)
    about = about if data.draw(st.booleans()) else data.draw(changed(about))
    checkpoint.path.write_bytes(json.dumps(about).encode() + b"\n" + content)
    answered(lambda: checkpoint.load(torch.device("cpu")))
    checkpoint.changes()


class Silent:
    """As much of a progress as resuming needs."""

    def say(self, line):
        pass

    def update(self, done):
        pass


@searched
@given(data=st.data())
def test_what_a_checkpoint_holds(job, checkpoint, data):
    """One thing is other than it was saved, by someone who knows the format."""
    checkpoint, whole = checkpoint
    saved = SeedGroup(without_data(job)).saved()
    [of_seed] = saved["seeds"]
    changed = data.draw(st.sampled_from([saved, of_seed]))
    key = data.draw(st.sampled_from(sorted(changed)))
    tensors = st.sampled_from([{}, {"head.bias": torch.zeros(5)}, torch.zeros(3), torch.zeros(())])
    changed[key] = data.draw(JSON | tensors)
    head = json.loads(whole.partition(b"\n")[0])
    checkpoint.path.write_bytes(with_state(head, saved))
    seed_group = SeedGroup(without_data(job))
    answered(lambda: train._resume(without_data(job), seed_group, checkpoint, Silent()))


@pytest.fixture(scope="module")
def runs(folder):
    made = made_up(select([ONE_SHOT], ["maml"], [0]))
    write(made, folder / "runs")
    return made, folder / "runs", folder / "runs" / ONE_SHOT / "maml" / "seed-0"


CSV = [b",", b"\n", b'"', b"#", b"nan", b"inf", b"1e999", b"best", b"-1", b"0.5", b"\r", b"\x00"]


@pytest.mark.parametrize("name", ["evaluation.csv", "curve.csv", "training.json"])
@searched
@given(data=st.data())
def test_results(runs, name, data):
    made, folder, seed = runs
    whole = (seed / name).read_bytes()
    try:
        (seed / name).write_bytes(data.draw(damaged(whole, CSV)))
        answered(lambda: results.read(made, folder))
    finally:
        (seed / name).write_bytes(whole)


@searched
@given(data=st.data())
def test_origins_of_results(runs, data):
    made, folder, seed = runs
    whole = (seed / "evaluation.csv").read_text()
    head, _, rows = whole.partition("\n")
    try:
        origin = data.draw(changed(json.loads(head[2:])))
        (seed / "evaluation.csv").write_text(f"# {json.dumps(origin)}\n{rows}")
        answered(lambda: results.read(made, folder))
    finally:
        (seed / "evaluation.csv").write_text(whole)


@searched
@given(data=st.data())
def test_published_weights(paper, folder, data):
    content = io.BytesIO()
    np.savez(content, w_conv1=np.zeros((3, 3, 1, 64), np.float32), w_b1=np.zeros(64, np.float32))
    (folder / "theirs.npz").write_bytes(data.draw(damaged(content.getvalue(), [b"PK\x01\x02"])))
    job = paper.job(ONE_SHOT, "maml", 0)
    answered(lambda: published.place(folder / "theirs.npz", job, 1, folder / "theirs"))
