"""This part of the workflow sets the results beside the paper's.

INPUTS, in results/{run}/runs/{experiment}/{method}/seed-{seed}/
    evaluation.csv, curve.csv, training.json

OUTPUTS
    results/{run}/tables/       Table 1, the cost of each training, best and last checkpoint; what
                                each detail is worth, where experiments have variants
    results/{run}/verdict/      each claim of the paper, tested
    results/{run}/figures/      learning curves, accuracy by inner step, and two comparisons;
                                second derivatives, where trainings keep snapshots
    results/{run}/plots/        learning curves and accuracy by inner step as data
    README.md                   beside the weights: what they are, how good, under which licence
"""

PROBE_FIGURES = [
    f"second-derivatives-{name}"
    for name in ["through-training", "by-layer", "by-step-size"]
    if probed()
]

DETAILS = ["details"] if are_paired(settings) else []


rule tables:
    """Render Table 1 beside the paper's from the evaluations."""
    input:
        evaluated(),
        measured_baselines(),
        further_evaluations("running-statistics", "running-statistics-in-queries"),
    output:
        report(
            "results/{run}/tables/table1.html",
            caption="../report/table1.rst",
            category="Tables",
            labels={"table": "1. Table 1, the paper's and ours"},
        ),
        report(
            "results/{run}/tables/cost.html",
            caption="../report/cost.rst",
            category="Tables",
            labels={"table": "2. Cost of each training"},
        ),
        report(
            "results/{run}/tables/checkpoints.html",
            caption="../report/checkpoints.rst",
            category="Tables",
            labels={"table": "3. Best and last checkpoint"},
        ),
        [
            report(
                f"results/{{run}}/tables/{name}.html",
                caption="../report/details.rst",
                category="Tables",
                labels={"table": "4. What each detail is worth"},
            )
            for name in DETAILS
        ],
        [f"results/{{run}}/tables/{name}.{kind}" for name in DETAILS for kind in ("md", "csv")],
        "results/{run}/tables/table1.md",
        "results/{run}/tables/table1.csv",
        "results/{run}/tables/table1.tex",
        "results/{run}/tables/cost.md",
        "results/{run}/tables/cost.csv",
        "results/{run}/tables/checkpoints.md",
        "results/{run}/tables/checkpoints.csv",
        "results/{run}/tables/accuracy.json",
    log:
        "logs/{run}/tables.log",
    group:
        "summary"
    resources:
        **allocated("summarise"),
    params:
        settings=summary_settings(),
        code=code_of("tables"),
        paper=PAPER,
    message:
        "Rendering the tables"
    shell:
        "maml tables results/{wildcards.run}/runs results/{wildcards.run}/tables"
        " --config $CONFIG 2>&1 | keep {log}"


rule verdict:
    """Judge each claim of the paper."""
    input:
        evaluated(),
        probed(),
        measured_baselines(),
        further_evaluations("training-classes"),
        cost="results/{run}/cost/iteration.csv",
    output:
        report(
            "results/{run}/verdict/verdict.html",
            caption="../report/verdict.rst",
            category="0. Verdict",
            labels={"verdict": "1. Each claim, tested"},
        ),
        report(
            "results/{run}/verdict/first-order-trade-off.svg",
            caption="../report/first-order-trade-off.rst",
            category="0. Verdict",
            labels={"verdict": "2. What first-order loses and saves"},
        ),
        "results/{run}/verdict/first-order-trade-off.png",
        "results/{run}/verdict/verdict.md",
        "results/{run}/verdict/verdict.csv",
        "results/{run}/verdict/verdict.json",
    log:
        "logs/{run}/verdict.log",
    group:
        "summary"
    resources:
        **allocated("summarise"),
    params:
        settings=summary_settings(),
        code=code_of("verdict"),
        paper=PAPER,
    message:
        "Judging the paper's claims"
    shell:
        "maml verdict results/{wildcards.run}/runs results/{wildcards.run}/verdict"
        " --config $CONFIG 2>&1 | keep {log}"


rule figures:
    """Render the figures from the evaluations and learning curves."""
    input:
        evaluated(),
        probed(),
    output:
        report(
            "results/{run}/figures/learning-curves.svg",
            caption="../report/learning-curves.rst",
            category="Figures",
            labels={"figure": "1. Learning curves"},
        ),
        report(
            "results/{run}/figures/accuracy-by-step.svg",
            caption="../report/accuracy-by-step.rst",
            category="Figures",
            labels={"figure": "2. Accuracy by inner step"},
        ),
        report(
            "results/{run}/figures/paper-comparison.svg",
            caption="../report/paper-comparison.rst",
            category="Figures",
            labels={"figure": "3. Ours beside the paper's"},
        ),
        report(
            "results/{run}/figures/first-order-difference.svg",
            caption="../report/first-order-difference.rst",
            category="Figures",
            labels={"figure": "4. With and without second derivatives"},
        ),
        "results/{run}/figures/learning-curves.png",
        "results/{run}/figures/accuracy-by-step.png",
        "results/{run}/figures/paper-comparison.png",
        "results/{run}/figures/first-order-difference.png",
        [
            report(
                f"results/{{run}}/figures/{name}.svg",
                caption=f"../report/{name}.rst",
                category="Figures",
                labels={"figure": f"{number}. {name.replace('-', ' ').capitalize()}"},
            )
            for number, name in enumerate(PROBE_FIGURES, start=5)
        ],
        [f"results/{{run}}/figures/{name}.png" for name in PROBE_FIGURES],
    log:
        "logs/{run}/figures.log",
    group:
        "summary"
    resources:
        **allocated("summarise"),
    params:
        settings=summary_settings(),
        code=code_of("figures"),
        paper=PAPER,
    message:
        "Rendering the figures"
    shell:
        "maml figures results/{wildcards.run}/runs results/{wildcards.run}/figures"
        " --config $CONFIG 2>&1 | keep {log}"


rule plots:
    """Tabulate learning curves and accuracy by inner step for `dvc plots`."""
    input:
        evaluated(),
    output:
        "results/{run}/plots/learning-curves.csv",
        "results/{run}/plots/accuracy-by-step.csv",
    log:
        "logs/{run}/plots.log",
    group:
        "summary"
    resources:
        **allocated("summarise"),
    params:
        settings=summary_settings(),
        code=code_of("plots"),
    message:
        "Tabulating the plots"
    shell:
        "maml plots results/{wildcards.run}/runs results/{wildcards.run}/plots"
        " --config $CONFIG 2>&1 | keep {log}"


rule cards:
    """Write a card beside each trained network."""
    input:
        evaluated(),
    output:
        of_every_job("results/{run}/runs/{experiment}/{method}/seed-{seed}/README.md"),
    log:
        f"logs/{RUN}/cards.log",
    group:
        "summary"
    resources:
        **allocated("summarise"),
    params:
        settings=summary_settings(),
        code=code_of("cards"),
    message:
        "Writing the cards of the trained networks"
    shell:
        "maml cards $(dirname $CONFIG)/runs --config $CONFIG 2>&1 | keep {log}"
