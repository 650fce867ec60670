"""How far the meta-gradient of each precision is from float64's, on the tasks of the training."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import torch

from benchmarks.iteration import sampled
from benchmarks.precision.rounding import BASE, EMULATED, rounded
from maml.algorithm.maml import meta_gradient
from maml.compute.session import Session
from maml.configuration.schema import Method
from maml.networks.network import build_for
from maml.networks.parameters import Parameters
from maml.workflow.check import relative

MEASURED = (BASE, *EMULATED)
ANOTHER = "another meta-batch"
"""A yardstick: float64's meta-gradient of the next meta-batch, in place of this one's."""

Row = dict[str, Any]


def compare(
    session: Session, methods: Mapping[str, Method], theta: Parameters, numbers: range
) -> Iterator[Row]:
    """Yield a row a method, meta-batch and precision.

    Args:
        session: the experiment and its data, in float32 on a CPU.
        methods: name → how to differentiate.
        theta: θ, in float32.
        numbers: the meta-batches, as the training counts iterations.
    """
    wide = replace(session, dtype=torch.float64)
    for name, method in methods.items():
        exact = [_gradient(wide, method, _cast(theta, torch.float64), number) for number in numbers]
        for place, number in enumerate(numbers):
            found = {ANOTHER: exact[place - 1]}
            for precision in MEASURED:
                with rounded(precision):
                    found[precision] = _gradient(session, method, theta, number)
            for precision, gradient in found.items():
                yield {
                    "method": name,
                    "precision": precision,
                    "meta_batch": number,
                    **_deviation(gradient, exact[place], session.job.settings.meta_gradient_clip),
                }


def _gradient(session: Session, method: Method, theta: Parameters, number: int) -> Parameters:
    job, settings = session.job, session.job.settings
    tasks, chunk = sampled(session, number), session.tasks_at_once(settings.train_queries)
    return meta_gradient(build_for(job), method, settings, theta, tasks, chunk=chunk).gradient


def _deviation(gradient: Parameters, exact: Parameters, clip: float | None) -> Row:
    """Return norm, relative deviation, and the cosine before and after the elementwise clip."""
    one, other = _flat(gradient), _flat(exact)
    bound = float("inf") if clip is None else clip
    return {
        "norm": float(other.norm()),
        "deviation": relative(gradient, exact),
        "cosine": _cosine(one, other),
        "cosine_clipped": _cosine(one.clamp(-bound, bound), other.clamp(-bound, bound)),
    }


def _cast(values: Parameters, dtype: torch.dtype) -> Parameters:
    return {name: value.to(dtype) for name, value in values.items()}


def _flat(values: Parameters) -> torch.Tensor:
    return torch.cat([values[name].double().flatten() for name in sorted(values)])


def _cosine(one: torch.Tensor, other: torch.Tensor) -> float:
    return float(one @ other / (one.norm() * other.norm()))
