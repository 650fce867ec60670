"""How a run computes."""

from typing import Literal

from pydantic import Field

from maml.configuration.schema.strict import Count, Strict


class Runtime(Strict):
    """How to compute, not what: a result's last digits depend on it, and nothing else does."""

    device: Literal["auto", "cpu", "cuda"] = Field(
        description="auto: a CUDA device where there is one."
    )
    precision: Literal["float32", "float64"] = Field(description="Of all arithmetic.")
    machine: str | None = Field(
        default=None,
        min_length=1,
        description="The cluster's machine whose measured speed says how much time trainings and "
        "evaluations ask for, as `maml plan` names it there. null: the only one that was measured "
        "of its kind, a GPU unless `device` is `cpu`. Where nothing was measured, they ask for all "
        "of `resources.<rule>.minutes`.",
    )
    threads: int = Field(ge=1, description="CPU threads of a training or evaluation job.")
    jobs_per_gpu: int = Field(ge=1, description="Jobs that share a GPU at the same time.")
    seeds_at_once: int = Field(
        default=1,
        ge=1,
        description="Seeds that one training job computes together, in the order of "
        "`select.seeds`: the first so many, the next so many, and the rest. A seed's last digits "
        "differ from those that it has alone.",
    )
    checkpoint_every: int = Field(
        ge=1, description="Iterations between two checkpoints from which a training can resume."
    )
    checkpoint_minutes: float = Field(
        gt=0,
        description="Minutes after which a checkpoint is written, wherever the training stands.",
    )
    resume: Literal["anywhere", "same-device"] = Field(
        default="anywhere",
        description="Where an interrupted training goes on. anywhere: on another device or with "
        "other versions, too, which is recorded. same-device: only where it ends with the bits "
        "that it would have had without interruption; elsewhere it is refused.",
    )
    task_chunk: Count | None = Field(
        description="Tasks to compute at the same time, in training and evaluation; bounds the "
        "memory. null: on a CPU as many as its cache holds, and at most 32. Halved where a GPU's "
        "memory does not suffice."
    )
    cuda_graphs: bool = Field(
        default=True,
        description="true: a training on a GPU launches a meta-iteration as one CUDA graph. It is "
        "compared with its operations at the start; a line in the log says where it cannot be one.",
    )
    kernels: Literal["pytorch", "triton"] = Field(
        default="pytorch",
        description="What computes batch norm, ReLU and max pooling. pytorch: its operations. "
        "triton: a GPU has a few kernels of the project's own, whose last digits differ.",
    )
    gpu_memory_gib: float | None = Field(
        default=None,
        gt=0,
        description="GiB of a GPU's memory that the tensors of one job may take; what CUDA itself "
        "takes comes on top. null: no limit.",
    )
    tensorboard: bool = Field(
        default=False,
        description="true: a training also writes event files for TensorBoard, to "
        "logs/<run>/tensorboard.",
    )
