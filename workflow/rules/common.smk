"""The checked configuration, and what the other files of rules ask of it.

INPUT
    config.yaml, presets merged

OUTPUT
    results/{run}/config.yaml   what every job reads; written when a run starts (see Snakefile)
"""

import atexit
import os
import re
import shlex
import sys
from pathlib import Path

from snakemake.settings.types import DeploymentMethod

# The code beside this Snakefile runs, not that of another copy which happens to be installed.
sys.path.insert(0, str(Path(workflow.basedir, "src")))

from maml.compute.devices import has_driver, visible_gpus
from maml.compute.memory import machine_memory
from maml.configuration import baselines
from maml.configuration.schema import FURTHER_EVALUATIONS
from maml.files import paths
from maml.files.codedigest import code_of
from maml.files.errors import UserError
from maml.files.provenance import file_digest
from maml.results.variants import are_paired
from maml.workflow import records
from maml.workflow.control import SAY_IF_KILLED, RunControl
from maml.workflow.timelimits import TimeLimits

try:
    control = RunControl(workflow)
except UserError as error:
    print(f"snakemake: {error}", file=sys.stderr)
    sys.exit(1)

atexit.register(control.end)

settings = control.config
RUN = settings.run
PAPER = file_digest(Path(workflow.basedir, "src/maml/results/paper_table1.csv"))
SLUGS = settings.slugs()

# `maml` is the one of the environment that Snakemake runs in, activated or not, and in a container
# that container's; the code is this copy's in both, and $CONFIG is what every job reads. A prefix
# replaces Snakemake's own, which is the strict mode: without pipefail, `keep` would hide that a job
# failed. A terminal and a scheduler signal every process of a job. Bash must then wait for `maml`,
# which saves, or the scheduler kills what bash leaves behind; and the log must outlast both of them.
# A trap ends with what bash starts, while an ignored signal stays ignored there.
CONTAINED = DeploymentMethod.APPTAINER in workflow.deployment_settings.deployment_method
BIN = "" if CONTAINED else f"{shlex.quote(str(Path(sys.executable).parent))}:"
KEEP = shlex.quote(str(Path(workflow.basedir, "workflow/keep.sh")))
prefix = (
    f"set -euo pipefail; {SAY_IF_KILLED} export CONFIG={paths.configuration(RUN)} PATH={BIN}$PATH"
    f" PYTHONPATH={shlex.quote(sys.path[0])}${{PYTHONPATH:+:$PYTHONPATH}};"
    f" trap : INT TERM HUP; keep() (trap '' INT TERM HUP PIPE; exec bash {KEEP} \"$1\"); "
)
shell.prefix(prefix.replace("{", "{{").replace("}", "}}"))  # Snakemake formats it

# A job asks for a GPU if its device may be one; what this machine has decides nothing elsewhere. A
# local run starts as many jobs as there are slots on its GPUs, and without a GPU the resource has no
# limit; which job gets which GPU is settled by `maml.compute.devices.lease`. `--resources gpu=N`
# takes precedence.
GPU = 0 if settings.runtime.device == "cpu" else 1
GPUS = visible_gpus() if GPU and has_driver() else []
if GPUS:
    control.offer("gpu", len(GPUS) * settings.runtime.jobs_per_gpu)
# Nor does it start more than have room in this machine's memory, by what each rule asks for.
control.offer("mem_mb", machine_memory() // 10**6)


wildcard_constraints:
    run=re.escape(RUN),  # another run's files would be made with this run's settings
    slug="|".join(map(re.escape, SLUGS)),
    dataset="|".join(map(re.escape, SLUGS.values())),


limits = TimeLimits(settings)


def allocated(rule, seeds=()):
    """Return what a scheduler gives a job of a rule; a training of several seeds names them."""
    given = getattr(settings.resources, rule)
    sized = {"train": limits.training, "evaluate": limits.evaluation}.get(rule)

    def minutes(wildcards, attempt):
        seed = seeds[0] if seeds else int(wildcards.seed)
        return sized(settings.job(wildcards.experiment, wildcards.method, seed), attempt)

    return {"mem_mb": given.memory_mb, "runtime": minutes if sized else given.minutes}


def job(wildcards):
    """Return everything that decides the training which the wildcards name."""
    return settings.job(wildcards.experiment, wildcards.method, int(wildcards.seed))


def settings_of(seeds):
    """Return what tells the settings of the trainings of some seeds, given the other wildcards."""

    def decisive(wildcards):
        trainings = [settings.job(wildcards.experiment, wildcards.method, s) for s in seeds]
        return [training.training_settings() for training in trainings]

    return decisive


def how_made(slug):
    """Return what decides synthetic images; published ones are decided by their checksums."""
    dataset = settings.datasets[SLUGS[slug]]
    if dataset.source != "synthetic":
        return None
    return [dataset.model_dump(), code_of("synthesise")]


def prepared(wildcards):
    """Return the files of the prepared data set of a training, or of one named by `dataset`."""
    if "dataset" in wildcards.keys():
        slug = settings.data_slug(wildcards.dataset)
    else:
        slug = settings.data_slug(settings.experiment(wildcards.experiment).dataset)
    return [f"data/processed/{slug}/images.npy", f"data/processed/{slug}/dataset.json"]


def of_every_job(path):
    """Return the path of one training's file, once for each training of this run."""
    return [path.format(**each.model_dump()) for each in settings.jobs()]


def evaluated():
    """Return what is read of each training and of its evaluation: all, whatever is shown of it."""
    folder = "results/{run}/runs/{experiment}/{method}/seed-{seed}"
    return [
        path
        for name in ("evaluation.csv", "curve.csv", "training.json")
        for path in of_every_job(f"{folder}/{name}")
    ]


def probed():
    """Return what is measured of second derivatives, once for each training with snapshots."""
    return [
        paths.gradients(each.folder()).as_posix()
        for each in settings.jobs()
        if each.settings.snapshots
    ]


def measured_baselines():
    """Return what is measured of the baselines, for each experiment and seed, if it is selected."""
    return [
        paths.baselines(paths.runs(RUN), each.experiment, each.seed).as_posix()
        for each in baselines.jobs(settings)
    ]


def further_evaluations(*kinds):
    """Return the further evaluations of these kinds, once for each training that has them."""
    return [
        paths.further_evaluation(each.folder(), kind).as_posix()
        for each in settings.jobs()
        for kind in each.settings.further_evaluations
        if kind in kinds
    ]


def shown(wildcards):
    """Return the first selected experiment on a data set: its tasks are drawn as a preview."""
    first = {
        settings.experiment(name).dataset: name for name in reversed(settings.select.experiments)
    }
    return first[wildcards.dataset]


def previews():
    """Return the previews of this run.

    Left out are those that a restored clone has no images for, as long as none of its results has
    to be made with them.
    """
    return [
        path
        for slug, path in {s: f"results/{RUN}/tasks/{SLUGS[s]}.png" for s in SLUGS}.items()
        if not records.lacks(RUN, path)
        or Path(f"data/processed/{slug}/images.npy").exists()
        or not all(evaluation.exists() for evaluation in evaluations(slug))
    ]


def evaluations(slug):
    """Return the evaluations on a data set."""
    return [each.folder() / "evaluation.csv" for each in settings.jobs() if each.data == slug]


def cost_settings():
    """Return what decides how much there is to compute in an iteration of each method."""
    jobs = [settings.job(*pair, settings.select.seeds[0]) for pair in settings.timed()]
    return [each.work_settings() for each in jobs]


def summary_settings():
    """Return the part of the configuration that tables and figures show."""
    return settings.model_dump(exclude={"runtime", "resources", "mirror"})
