"""Train MAML, evaluate it and set the results beside the paper's: `snakemake`.

What is computed is said in config.yaml; a preset of workflow/presets lies over it:
`snakemake --configfile workflow/presets/quick.yaml`. The environment is the one that `make setup`
makes from requirements.lock.
"""

from snakemake.utils import min_version

min_version("9.20")


# Read first, and checked, by our own words; so it has no mistake that Snakemake would find.
include: "workflow/rules/common.smk"


configfile: control.file


container: "maml.sif"  # made from Containerfile; used with `--software-deployment-method apptainer`


report: "workflow/report/workflow.rst"


include: "workflow/rules/data.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/report.smk"


localrules:
    all,
    compute,
    download,


rule all:
    """Everything that config.yaml selects."""
    default_target: True
    input:
        previews(),
        expand(rules.tables.output, run=RUN),
        expand(rules.verdict.output, run=RUN),
        expand(rules.figures.output, run=RUN),
        expand(rules.plots.output, run=RUN),
        rules.cards.output,


rule compute:
    """All of that which takes computing; tables and figures can be rendered elsewhere."""
    input:
        of_every_job("results/{run}/runs/{experiment}/{method}/seed-{seed}/evaluation.csv"),
        further_evaluations(*FURTHER_EVALUATIONS),
        probed(),
        measured_baselines(),
        expand(rules.cost.output, run=RUN),


onstart:
    control.begin()


onerror:
    control.say_how_it_ended()
