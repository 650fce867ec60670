"""The ``maml`` command: what each rule calls, and what a person can call.

Each command imports what it runs only when it runs, so that ``maml --help`` is immediate.
"""

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import chdir, contextmanager
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from maml.configuration import config as configuration
from maml.configuration.schema import FURTHER_EVALUATIONS, Dataset
from maml.files.errors import UserError
from maml.files.paths import RESULTS
from maml.training.stopping import leave_when_asked

app = typer.Typer(
    help="The `maml` command: what each rule calls, and what a person can call.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

ConfigFiles = Annotated[
    list[Path],
    typer.Option(
        "--config", "-c", help="Configuration; give it again to overlay another file, in order."
    ),
]
DEFAULT = [Path("config.yaml")]
Experiment = Annotated[str, typer.Argument(help="A key of `experiments`.")]
Method = Annotated[str, typer.Argument(help="A key of `methods`.")]
Seed = Annotated[int, typer.Argument(help="Initialisation and training tasks.")]


@app.command()
def download(
    dataset: Annotated[str, typer.Argument(help="A key of `datasets`.")],
    out: Annotated[Path, typer.Argument(help="The folder to make.")],
    config: ConfigFiles = DEFAULT,
) -> None:
    """Fetch a data set's files and verify them."""
    from maml.data.download import download
    from maml.data.mirrors import named

    settings = configuration.read(config)
    download(_dataset(settings, dataset), out, named(settings.mirror))


@app.command()
def prepare(
    dataset: Annotated[str, typer.Argument(help="A key of `datasets`.")],
    raw: Annotated[Path, typer.Argument(help="What `download` made.")],
    out: Annotated[Path, typer.Argument(help="The folder to make.")],
    config: ConfigFiles = DEFAULT,
) -> None:
    """Turn a data set's files into one array."""
    from maml.data.prepare import prepare

    prepare(dataset, _dataset(configuration.read(config), dataset), raw, out)


@app.command()
def bundle(
    raw: Annotated[Path, typer.Argument(help="A folder with the two official Omniglot archives.")],
    out: Annotated[Path, typer.Argument(help="The folder to make.")],
) -> None:
    """Make the copy of Omniglot that ships with the project."""
    from maml.data.bundle import bundle

    bundle(raw, out)


@app.command()
def preview(
    experiment: Experiment,
    data: Annotated[Path, typer.Argument(help="What `prepare` made.")],
    out: Annotated[Path, typer.Argument(help="The PNG to make.")],
    config: ConfigFiles = DEFAULT,
) -> None:
    """Draw a few sampled tasks, support and query, with class names."""
    from maml.results.preview import draw_tasks

    draw_tasks(configuration.read(config).experiment(experiment), data, out)


@app.command()
def train(
    experiment: Experiment,
    method: Method,
    seeds: Annotated[
        str, typer.Argument(help="Initialisation and training tasks; `0,1,2` trains three at once.")
    ],
    data: Annotated[Path, typer.Argument(help="What `prepare` made.")],
    outs: Annotated[
        list[Path],
        typer.Argument(help="The folder for weights and learning curve, one for each seed."),
    ],
    config: ConfigFiles = DEFAULT,
) -> None:
    """Meta-train one network, or several at once; resumes where an interrupted run stopped."""
    from maml.training.train import train

    numbers = _seeds(seeds)
    if len(numbers) != len(outs):
        raise UserError(f"there are {len(numbers)} seeds and {len(outs)} folders for them")
    settings = configuration.read(config)
    train(settings.job(experiment, method, numbers[0], seed_group=numbers), data, *outs)


@app.command()
def evaluate(
    experiment: Experiment,
    method: Method,
    seed: Seed,
    data: Annotated[Path, typer.Argument(help="What `prepare` made.")],
    folder: Annotated[Path, typer.Argument(help="What `train` made; evaluation.csv goes there.")],
    snapshot: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="The snapshot of this iteration, also while its training is under way; "
            "evaluation-iteration-N.csv goes there.",
        ),
    ] = None,
    further: Annotated[
        str | None,
        typer.Option(help="One of `further_evaluations`; evaluation-FURTHER.csv goes there."),
    ] = None,
    config: ConfigFiles = DEFAULT,
) -> None:
    """Adapt a trained network to every meta-test task and record its accuracy."""
    from maml.training import evaluate as evaluation

    job = configuration.read(config).job(experiment, method, seed)
    if snapshot is not None and further is not None:
        raise UserError("--snapshot and --further: a snapshot is evaluated on test tasks alone")
    if further not in (None, *FURTHER_EVALUATIONS):
        raise UserError(f"--further: {further!r} is not one of: {', '.join(FURTHER_EVALUATIONS)}")
    if snapshot is None:
        evaluation.evaluate(job, data, folder, further)
    else:
        evaluation.evaluate_snapshot(job, data, folder, snapshot)


@app.command()
def probe(
    experiment: Experiment,
    method: Method,
    seed: Seed,
    data: Annotated[Path, typer.Argument(help="What `prepare` made.")],
    folder: Annotated[Path, typer.Argument(help="What `train` made, with its snapshots.")],
    out: Annotated[Path, typer.Argument(help="The CSV to make.")],
    config: ConfigFiles = DEFAULT,
) -> None:
    """Measure what the second derivatives do to the meta-gradient at each snapshot."""
    from maml.training.probe import probe

    settings = configuration.read(config)
    probe(settings.job(experiment, method, seed), settings.probe, data, folder, out)


@app.command()
def baselines(
    experiment: Experiment,
    seed: Seed,
    data: Annotated[Path, typer.Argument(help="What `prepare` made.")],
    out: Annotated[Path, typer.Argument(help="The folder for the baselines' accuracies.")],
    config: ConfigFiles = DEFAULT,
) -> None:
    """Measure fine-tuning and nearest neighbour on every meta-test task; resumes."""
    from maml.configuration import baselines
    from maml.training.baselines import measure_baselines

    settings = configuration.read(config)
    job = baselines.job(settings, experiment, seed)
    measure_baselines(job, settings.baselines, data, out)


@app.command(name="import-weights")
def import_weights(
    experiment: Experiment,
    archive: Annotated[Path, typer.Argument(help="A .npz with arrays named as the authors'.")],
    out: Annotated[Path, typer.Argument(help="The folder to make; `maml evaluate` takes it.")],
    iteration: Annotated[int, typer.Option(help="At which iteration they were saved.")] = 59_000,
    config: ConfigFiles = DEFAULT,
) -> None:
    """Take over the weights that the paper's authors published."""
    from maml.training.published import place

    place(archive, configuration.read(config).job(experiment, "maml", 0), iteration, out)


@app.command()
def tables(
    runs: Annotated[Path, typer.Argument(help="results/<run>/runs")],
    out: Annotated[Path, typer.Argument(help="The folder for the tables.")],
    config: ConfigFiles = DEFAULT,
) -> None:
    """Render Table 1 beside the paper's from the evaluations."""
    from maml.results.tables import write_tables

    write_tables(configuration.read(config), runs, out)


@app.command()
def figures(
    runs: Annotated[Path, typer.Argument(help="results/<run>/runs")],
    out: Annotated[Path, typer.Argument(help="The folder for the figures.")],
    config: ConfigFiles = DEFAULT,
) -> None:
    """Render the figures from the evaluations and learning curves."""
    from maml.results.figures import write_figures

    write_figures(configuration.read(config), runs, out)


@app.command()
def cost(
    out: Annotated[Path, typer.Argument(help="The CSV to make.")],
    config: ConfigFiles = DEFAULT,
    rounds: Annotated[int, typer.Option(min=1, help="Iterations of each method, in turns.")] = 15,
) -> None:
    """Measure what a meta-iteration takes with each method: arithmetic, memory, time."""
    from maml.training.iteration_cost import write_cost

    write_cost(configuration.read(config), rounds, out)


@app.command()
def verdict(
    runs: Annotated[Path, typer.Argument(help="results/<run>/runs")],
    out: Annotated[Path, typer.Argument(help="The folder for the verdict.")],
    config: ConfigFiles = DEFAULT,
) -> None:
    """Judge each claim of the paper by the evaluations and costs of a run."""
    from maml.results.verdict import write_verdict

    write_verdict(configuration.read(config), runs, out)


@app.command()
def cards(
    runs: Annotated[Path, typer.Argument(help="results/<run>/runs; the cards go there.")],
    config: ConfigFiles = DEFAULT,
) -> None:
    """Write a card beside each trained network: what it is, how good, under which licence."""
    from maml.results.cards import write_cards

    write_cards(configuration.read(config), runs)


@app.command()
def plots(
    runs: Annotated[Path, typer.Argument(help="results/<run>/runs")],
    out: Annotated[Path, typer.Argument(help="The folder for the two tables.")],
    config: ConfigFiles = DEFAULT,
) -> None:
    """Tabulate learning curves and accuracy by inner step for `dvc plots`."""
    from maml.results.plots import write_plots

    write_plots(configuration.read(config), runs, out)


@app.command()
def plan(
    config: ConfigFiles = DEFAULT,
    cores: Annotated[
        int | None, typer.Option(min=1, help="CPU cores that the run may use; all by default.")
    ] = None,
    elsewhere: Annotated[
        bool, typer.Option("--elsewhere", help="The jobs run on other machines, as on a cluster.")
    ] = False,
    profile: Annotated[
        str | None, typer.Option(help="slurm: hours and schedule on a cluster's GPUs.")
    ] = None,
    machine: Annotated[
        str | None, typer.Option(help="The cluster's GPU, as `maml plan` names it there.")
    ] = None,
    card: Annotated[
        Path | None, typer.Option(help="Or its times from the card.jsonl of a `make card` there.")
    ] = None,
) -> None:
    """Print what a run would compute, on what, and how long it would take."""
    if profile is not None:
        from maml.workflow.clusterplan import print_cluster_plan

        if profile != "slurm":
            raise UserError(f"--profile: {profile!r} is not one of: slurm")
        if machine is not None and card is not None:
            raise UserError("--machine and --card: times are either those of one or of the other")
        print_cluster_plan(configuration.read(config), machine, card)
        return
    if machine is not None or card is not None:
        raise UserError("--machine and --card are for --profile slurm")
    from maml.workflow.plan import print_plan

    with _project(config) as settings:
        print_plan(settings, cores, elsewhere=elsewhere)


@app.command()
def status(
    config: ConfigFiles = DEFAULT,
    watch: Annotated[
        bool, typer.Option("--watch", help="Refresh until every job is done.")
    ] = False,
) -> None:
    """Show all jobs of a run: waiting, training, evaluating, done, failed."""
    from maml.workflow.status import show

    with _project(config) as settings:
        show(settings, watch=watch)


@app.command()
def trace(
    table: Annotated[
        Path, typer.Argument(help="A file in results/<run>/tables or results/kept/<run>/tables.")
    ],
    config: Annotated[
        list[Path] | None,
        typer.Option(
            "--config", "-c", help="What it should have been made with; else what stands beside it."
        ),
    ] = None,
) -> None:
    """Print what each number of a table comes from, and verify the digests."""
    from maml.workflow.trace import trace

    trace(table, config)


@app.command()
def keep(
    run: Annotated[str, typer.Argument(help="The name of a run; it goes to results/kept.")],
    commit: Annotated[
        list[str] | None,
        typer.Option(help="Whose code it was made with, if not what is here; may be repeated."),
    ] = None,
    without_weights: Annotated[
        bool, typer.Option("--without-weights", help="Leave out weights, snapshots and cards.")
    ] = False,
    again: Annotated[
        bool, typer.Option("--again", help="Only render what is kept of a run again.")
    ] = False,
) -> None:
    """Keep a finished run's results in git: evaluations, curves, weights, tables, figures."""
    from maml.workflow import kept

    if again:
        kept.render_again(run)
    else:
        kept.keep(run, commit or (), weights=not without_weights)


@app.command()
def restore() -> None:
    """Bring back the recorded results with DVC; nothing is computed again."""
    from maml.workflow.versioning import restore

    restore()


@app.command()
def send(
    name: Annotated[str, typer.Argument(help="What to call it, such as the machine's name.")],
    config: ConfigFiles = DEFAULT,
) -> None:
    """Send what this machine computed of a run to DVC's remote, for another to gather."""
    from maml.workflow.exchange import send

    with _project(config) as settings:
        send(settings, name)


@app.command()
def gather(config: ConfigFiles = DEFAULT) -> None:
    """Take in what machines without a common file system sent of a run."""
    from maml.workflow.exchange import gather

    with _project(config) as settings:
        gather(settings)


@app.command()
def check(config: ConfigFiles = DEFAULT) -> None:
    """Compare the meta-gradient with a plain loop over tasks, in float64, on this machine."""
    from maml.workflow.check import check

    check(configuration.read(config))


@app.command()
def schema(
    out: Annotated[Path, typer.Argument(help="The folder that gets schema and page.")],
) -> None:
    """Write the configuration's JSON schema and its page in the docs."""
    from maml.workflow.reference import write_reference

    write_reference(out)


@app.command()
def readme(
    pages: Annotated[
        list[Path] | None, typer.Argument(help="The pages to change, if not the project's.")
    ] = None,
    config: ConfigFiles = DEFAULT,
) -> None:
    """Write into the pages what results/kept has, and lines of code as they are now."""
    from maml.files.paths import KEPT
    from maml.workflow.pages import PAGES, write_page

    for page in pages or PAGES:
        write_page(page, configuration.read(config), KEPT)


@contextmanager
def _project(config: list[Path]) -> Iterator[configuration.Config]:
    """Read a configuration, and work in the project that it belongs to, if it shows which.

    That is the one that holds it as ``results/<run>/config.yaml``, or beside its Snakefile. Results
    and heartbeats are looked for there.
    """
    settings, first, folder = configuration.read(config), config[0].absolute(), Path()
    if first.parent.parent.name == RESULTS.name:
        folder = first.parents[2]
    elif (first.parent / "Snakefile").is_file():
        folder = first.parent
    with chdir(folder):
        yield settings


def _seeds(text: str) -> list[int]:
    try:
        seeds = [int(part) for part in text.split(",")]
    except ValueError as error:
        raise UserError(f"seeds are numbers with commas between them, not {text!r}") from error
    if not all(0 <= seed < 2**32 for seed in seeds) or len(set(seeds)) < len(seeds):
        raise UserError(f"seeds are different numbers from 0 to {2**32 - 1}, not {text!r}")
    return seeds


def _dataset(settings: configuration.Config, name: str) -> Dataset:
    if name not in settings.datasets:
        raise UserError(f"no data set is named {name!r}; there are: {', '.join(settings.datasets)}")
    return settings.datasets[name]


def main() -> None:
    """Run the command; a mistake that the user can mend is one line, without a traceback."""
    leave_when_asked()
    for stream in filter(None, (sys.stdout, sys.stderr)):  # a terminal may know no "±"
        stream.reconfigure(errors="backslashreplace")
    try:
        try:
            app()
        finally:
            sys.stdout.flush()  # in a pipe, what was printed comes before an error
    except UserError as error:
        _end(str(error))
    except OSError as error:
        if error.errno != errno.ENOSPC or error.filename is not None:
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # it is flushed at the end
        _end(f"what it prints cannot be written: {error.strerror}")


def _end(message: str) -> NoReturn:
    print(f"maml: {message}", file=sys.stderr)
    sys.exit(1)
