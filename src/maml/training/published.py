"""The weights that the authors published, named and laid out as ours.

Theirs are TensorFlow's: kernels ``(rows, columns, in, out)``, matrices ``(in, out)``.
"""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from maml.configuration.config import Job
from maml.configuration.schema import Network
from maml.files import provenance
from maml.files.atomic import atomic_file
from maml.files.errors import UserError
from maml.files.paths import WEIGHTS
from maml.networks.network import parameter_shapes
from maml.networks.parameters import Parameters
from maml.training import weights

MLP_OFFSETS = (0, 2, 3, 4)  # how the authors count the batch norms of the MLP; no 1


def parameters(network: Network, arrays: Mapping[str, np.ndarray]) -> Parameters:
    """Return θ from arrays named as in the authors' code: ``w_conv1``, ``w_b1``, ``beta_0``, ….

    Raises:
        KeyError: an array is missing.
    """
    theta: dict[str, np.ndarray] = {}
    layers = len(network.widths)
    for layer in range(1, layers + 1):
        if network.kind == "conv":
            name, offset = f"conv{layer}", layer - 1
            theta[f"{name}.weight"] = arrays[f"w_conv{layer}"].transpose(3, 2, 0, 1)
        else:
            name, offset = f"linear{layer}", MLP_OFFSETS[layer - 1]
            theta[f"{name}.weight"] = arrays[f"w_w{layer}"].T
        theta[f"{name}.bias"] = arrays[f"w_b{layer}"]
        theta[f"norm{layer}.offset"] = arrays[f"beta_{offset}"]
    theta["head.weight"] = arrays[f"w_w{layers + 1}"].T
    theta["head.bias"] = arrays[f"w_b{layers + 1}"]
    return {name: torch.from_numpy(value.copy()) for name, value in theta.items()}


def place(archive: Path, job: Job, iteration: int, out: Path) -> None:
    """Write the weights of a ``.npz`` to ``out`` as a training of ``job`` would leave them.

    ``maml evaluate`` then takes the folder. There is one checkpoint, so best and last are the same.

    Raises:
        UserError: the file is no archive of arrays, or they do not fit the job's network.
    """
    try:
        with archive.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            prefix = "parameter/" if any(n.startswith("parameter/") for n in arrays.files) else ""
            named = {n.removeprefix(prefix): arrays[n] for n in arrays.files}
        theta = parameters(job.network, named)
    except Exception as error:  # a damaged archive can raise nearly anything
        reason = " ".join(str(error).split())
        raise UserError(
            f"{archive} does not hold the authors' weights of {job.experiment} ({reason}); "
            "name the file that they published"
        ) from error
    expected = parameter_shapes(job.network, job.dataset.image_shape, job.settings.ways)
    for name, shape in expected.items():
        found = tuple(theta[name].shape) if name in theta else "missing"
        if found != shape:
            raise UserError(
                f"{archive}: {name} is {found}, and the network of {job.experiment} has {shape}; "
                "name the experiment that they are of"
            )
    if not all(bool(value.isfinite().all()) for value in theta.values()):
        raise UserError(
            f"{archive}: some weights are not finite; name the file that they published"
        )
    origin = {"origin": "the authors' published weights", "file": provenance.file_digest(archive)}
    for name in WEIGHTS:
        weights.save(out / f"{name}.safetensors", theta, job, iteration=iteration, **origin)
    with atomic_file(out / "training.json") as unfinished:
        record = {"outcome": "finished", "iterations": iteration, **origin}
        unfinished.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
