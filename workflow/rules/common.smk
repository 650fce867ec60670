"""The checked configuration, and what the other files of rules ask of it.

INPUT
    config.yaml, presets merged

OUTPUT
    results/{run}/config.yaml   what every job reads; written when a run starts (see Snakefile)
"""

import atexit
import json
import os
import re
import shlex
import shutil
import sys
from pathlib import Path

import yaml

# The code beside this Snakefile runs, not that of another copy which happens to be installed.
sys.path.insert(0, str(Path(workflow.basedir, "src")))

from maml.configuration import config as configuration
from maml.workflow import records, versioning
from maml.files.codedigest import code_of
from maml.compute.devices import visible_gpus
from maml.files.errors import UserError
from maml.files.atomic import atomic_file

try:
    settings = configuration.check(config)
    if workflow.is_main_process:
        records.bring_back(settings.run)  # before Snakemake asks its records what has to run
except UserError as error:
    print(f"snakemake: {error}", file=sys.stderr)
    sys.exit(1)

RUN = settings.run
SLUGS = settings.slugs()

# `maml` is the one of the environment that Snakemake runs in, activated or not. A prefix replaces
# Snakemake's own, which is the strict mode: without pipefail, `tee` would hide that a job failed.
BIN = shlex.quote(str(Path(sys.executable).parent))
shell.prefix(
    f"set -euo pipefail; export RUN={RUN} PATH={BIN}:$PATH"
    f" PYTHONPATH={shlex.quote(sys.path[0])}${{{{PYTHONPATH:+:$PYTHONPATH}}}}; "
)

# A local run starts as many jobs as there are slots on the GPUs; which job gets which GPU is
# settled by `maml.compute.devices.lease`. `--resources gpu=N` takes precedence.
GPUS = visible_gpus() if settings.runtime.device != "cpu" else []
if GPUS and "gpu" not in workflow.global_resources:
    workflow.register_resource("gpu", len(GPUS) * settings.runtime.jobs_per_gpu)
GPU = 1 if GPUS or settings.runtime.device == "cuda" else 0


wildcard_constraints:
    run=re.escape(RUN),  # another run's files would be made with this run's settings
    slug="|".join(map(re.escape, SLUGS)),
    dataset="|".join(map(re.escape, SLUGS.values())),


def job(wildcards):
    """Return everything that decides the training which the wildcards name."""
    return settings.job(wildcards.experiment, wildcards.method, int(wildcards.seed))


def settings_of(seeds):
    """Return what tells the settings of the trainings of some seeds, given the other wildcards."""

    def of(wildcards):
        trainings = [settings.job(wildcards.experiment, wildcards.method, s) for s in seeds]
        return [training.training_settings() for training in trainings]

    return of


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


def shown(wildcards):
    """Return the first selected experiment on a data set: its tasks are drawn as a preview."""
    of = {settings.experiment(name).dataset: name for name in reversed(settings.select.experiments)}
    return of[wildcards.dataset]


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
        or not all(Path(evaluation).exists() for evaluation in evaluations(slug))
    ]


def evaluations(slug):
    """Return the evaluations on a data set."""
    folder = "results/{run}/runs/{experiment}/{method}/seed-{seed}"
    of = [each for each in settings.jobs() if each.data == slug]
    return [f"{folder.format(**each.model_dump())}/evaluation.csv" for each in of]


def unrestored():
    """Return the data sets whose images are only missing, while results made with them are here.

    Snakemake would make all of those anew once it has to make the images, changed or not.
    """
    jobs = list(workflow.dag.needrun_jobs(exclude_finished=False))  # a dry run finishes them
    results = [each for each in jobs if is_training(each) or each.rule.name == "evaluate"]
    here = {each.params.data for each in results if all(Path(f).exists() for f in each.output)}
    return [
        each.wildcards.slug
        for each in jobs
        if each.rule.name == "prepare"
        and each.params.folder in here
        and records.lacks(RUN, each.output[0])
    ]


def say_what_comes_first():
    """Say to fetch images first, where the list of jobs would be longer than it has to be."""
    if slugs := unrestored():
        print(
            f"snakemake: the images of {', '.join(slugs)} are not here, and everything that was"
            " made with them would be made anew. First fetch them: snakemake download. After that"
            " only what changed is to do.",
            file=sys.stderr,
        )
    return bool(slugs)


def summary_settings():
    """Return the part of the configuration that tables and figures show."""
    return settings.model_dump(exclude={"runtime", "mirror"})


def write_configuration():
    """Write the configuration of this run, presets merged, for every job to read.

    It is not the output of a rule, as a job downstream of one that has to run is not asked
    whether its own parameters changed, `ancient` or not. What a job depends on is in its `params`.
    """
    plain = json.loads(json.dumps(config))  # without Snakemake's types and YAML's aliases
    with atomic_file(f"results/{RUN}/config.yaml") as file:
        file.write_text(yaml.safe_dump(plain, sort_keys=False, allow_unicode=True), "utf-8")


def record():
    """Record the run with DVC if it was all of it, and whole.

    Called when Snakemake exits, as no hook runs when there was nothing left to do.
    """
    if not workflow.is_main_process or workflow.dag is None:
        return  # it did not come to a list of jobs
    if workflow.dryrun:
        say_what_comes_first()
        return
    if workflow.executor_plugin is None or workflow.touch:
        return
    if set(workflow.dag_settings.targets) - {"all"}:
        return
    if any(workflow.dag.needrun_jobs()) or versioning.record(settings):
        return
    if "DVC_STAGE" in os.environ:  # `dvc repro` would record it all the same
        sys.stdout.flush()
        os._exit(1)


atexit.register(record)


def announce():
    """Print the plan of this run, which nothing in it can stop, and how to watch its jobs."""
    where = f"--config results/{RUN}/config.yaml"
    on = f"--cores {workflow.cores}" if workflow.local_exec else "--elsewhere"
    try:
        shell(f"maml plan {where} {on} >&2 || echo 'No plan could be made; the run goes on.' >&2")
    except KeyboardInterrupt:
        sys.exit(130)  # without Snakemake's traceback
    maml = Path(sys.executable).with_name("maml")
    if shutil.which("maml") == str(maml):
        maml = "maml"
    elif maml.is_relative_to(Path.cwd()):
        maml = maml.relative_to(Path.cwd())
    print(f"All jobs, as they go: {maml} status {where} --watch\n", file=sys.stderr)


def is_training(each):
    """Return whether a job of Snakemake's is a training, of one seed or of several."""
    return each.rule.name == "train" or each.rule.name.startswith("train_seeds_")


def trains():
    """Return whether this run of Snakemake trains anything."""
    return any(map(is_training, workflow.dag.needrun_jobs()))
