"""What happens around the jobs of a run of Snakemake: before the first, and after the last.

The ``Snakefile`` calls it; nothing else does. What is asked of Snakemake's own ``workflow`` object
is asked here alone, as its attributes are documented nowhere.
"""

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import maml
from maml.configuration import config as configuration
from maml.configuration.consistency import check_run_name
from maml.configuration.overlays import load, merge, with_values
from maml.configuration.unambiguous import dump
from maml.data.download import other_mirror
from maml.data.mirrors import named
from maml.files import paths
from maml.files.atomic import atomic_file
from maml.workflow import queue, records, versioning
from maml.workflow.ending import Ending

INTERRUPTED = 130
MAML = [sys.executable, "-m", "maml"]
SOURCE = str(Path(maml.__file__).parents[1])
"""Where the code is that runs, which need not be the one that is installed."""


SAY_IF_KILLED = "trap {} EXIT;".format(
    shlex.quote(
        f"[ $? != {128 + signal.SIGKILL} ] || echo 'maml: this job was killed (SIGKILL), as systems"
        " do whose memory is used up. The same command resumes it. With a smaller --cores, or"
        " --resources mem_mb=<megabytes for all jobs>, fewer run at the same time.' >&2"
    )
)
"""For the shell that runs a job: say what nothing else says."""


class RunControl:
    """Snakemake's run of one configuration.

    It is not Snakemake that reads it: there a key may be repeated, ``no`` is false, and numbers
    within a value of ``--config`` are text.

    Args:
        workflow: Snakemake's.

    Attributes:
        file: ``config.yaml``; the project's, where ``--directory`` leads to a folder without one.
        config: with the presets over it, checked.

    Raises:
        UserError: the configuration has a mistake, or an output is not as it was made.
    """

    def __init__(self, workflow: Any) -> None:
        self._workflow = workflow
        own, given = Path("config.yaml"), workflow.config_settings
        self.file = str(own if own.exists() else Path(workflow.basedir, own))
        self._ending = Ending()
        base = load([self.file])
        below = {} if given.replace_workflow_config else base
        self._raw = with_values(merge(below, load(given.configfiles)), given.config_args)
        self.config = configuration.check(self._raw)
        check_run_name(base, self._raw)
        if workflow.is_main_process:
            records.bring_back(self.config)  # before Snakemake asks its records what has to run
            _say_which_mirrors_are_not_asked(self.config)

    def offer(self, resource: str, count: int) -> None:
        """Bound what local jobs take of a resource at the same time; `--resources` precedes."""
        resources = self._workflow.global_resources
        local = resources["_nodes"].value is None  # a scheduler bounds what it starts elsewhere
        if resource not in resources and local:
            self._workflow.register_resource(resource, count)

    def begin(self) -> None:
        """Write the configuration that every job reads, and print the plan of what is trained.

        Leaves with 1 where images are to be fetched first, or jobs of an earlier run are left.
        """
        if left := queue.left_behind():
            print(f"snakemake: {queue.first_end(left)}", file=sys.stderr)
            sys.exit(1)
        if self._say_what_comes_first():
            sys.exit(1)
        self._ending.listen()
        self._write_configuration()
        records.keep_as_jobs_finish(self.config)
        if any(map(_is_training, self._needed_jobs())):
            self._announce()

    def say_how_it_ended(self) -> None:
        """Say that a job failed, or that the run was interrupted, and what to do."""
        self._ending.say()

    def end(self) -> None:
        """Record the run with DVC if it was all of it, and whole.

        Called when Snakemake exits, as no hook runs when there was nothing left to do.
        """
        workflow = self._workflow
        if not workflow.is_main_process or workflow.dag is None:
            return  # it did not come to a list of jobs
        if workflow.dryrun:
            self._say_what_comes_first()
            return
        if workflow.executor_plugin is None:
            return
        records.keep(self.config)
        if workflow.touch:
            return
        if set(workflow.dag_settings.targets) - {"all"}:
            return
        if any(self._needed_jobs()) or versioning.record(self.config):
            return
        if "DVC_STAGE" in os.environ:  # `dvc repro` would record it all the same
            sys.stdout.flush()
            os._exit(1)

    def _needed_jobs(self) -> list[Any]:
        return list(self._workflow.dag.needrun_jobs())

    def _say_what_comes_first(self) -> bool:
        """Say to fetch images first, where the list of jobs would be longer than it has to be."""
        slugs = self._unrestored()
        if slugs:
            print(
                f"snakemake: the images of {', '.join(slugs)} are not here, and everything that was"
                " made with them would be made anew. First fetch them: snakemake download. After"
                " that only what changed is to do.",
                file=sys.stderr,
            )
        return bool(slugs)

    def _unrestored(self) -> list[str]:
        """Return the data sets whose images are only missing, while results of them are here.

        Snakemake would make all of those anew once it has to make the images, changed or not.
        """
        # A dry run finishes its jobs.
        jobs = list(self._workflow.dag.needrun_jobs(exclude_finished=False))
        results = [job for job in jobs if _is_training(job) or job.rule.name == "evaluate"]
        made = {job.params.data for job in results if all(Path(f).exists() for f in job.output)}
        return [
            job.wildcards.slug
            for job in jobs
            if job.rule.name == "prepare"
            and job.params.folder in made
            and records.lacks(self.config.run, job.output[0])
        ]

    def _write_configuration(self) -> None:
        """Write the configuration of this run, presets merged.

        It is not the output of a rule, as a job downstream of one that has to run is not asked
        whether its own parameters changed, `ancient` or not. What a job depends on is in its
        `params`.
        """
        plain = json.loads(json.dumps(self._raw))  # without YAML's aliases
        with atomic_file(paths.configuration(self.config.run)) as file:
            file.write_text(dump(plain), "utf-8")

    def _announce(self) -> None:
        """Print the plan of this run, which nothing in it can stop, and how to watch its jobs."""
        where = ["--config", str(paths.configuration(self.config.run))]
        local = self._workflow.local_exec
        on = ["--cores", str(self._workflow.cores)] if local else ["--elsewhere"]
        sys.stdout.flush()
        try:
            plan = [*MAML, "plan", *where, *on]
            source = os.pathsep.join(filter(None, [SOURCE, os.environ.get("PYTHONPATH")]))
            environment = {**os.environ, "PYTHONPATH": source}
            if subprocess.run(plan, stdout=sys.stderr, env=environment).returncode:
                print("No plan could be made; the run goes on.", file=sys.stderr)
        except KeyboardInterrupt:
            sys.exit(INTERRUPTED)  # without Snakemake's traceback
        words = " ".join([_shortest_name(), "status", *where, "--watch"])
        print(f"All jobs, as they go: {words}\n", file=sys.stderr)


def _say_which_mirrors_are_not_asked(config: configuration.Config) -> None:
    for slug in config.slugs():
        if sentence := other_mirror(paths.RAW / slug, named(config.mirror)):
            print(f"snakemake: {sentence}", file=sys.stderr)


def _is_training(job: Any) -> bool:
    """Return whether a job of Snakemake's is a training, of one seed or of several."""
    return job.rule.name == "train" or job.rule.name.startswith("train_seeds_")


def _shortest_name() -> str:
    """Return how to call this environment's ``maml`` from where Snakemake was called."""
    command = Path(sys.executable).with_name("maml")
    if shutil.which("maml") == str(command):
        return "maml"
    below = command.is_relative_to(Path.cwd())
    return str(command.relative_to(Path.cwd()) if below else command)
