"""This part of the workflow adapts each trained network to the meta-test tasks.

INPUTS
    data/processed/{slug}/                  a prepared data set
    best.safetensors, last.safetensors, training.json
                                            in results/{run}/runs/{experiment}/{method}/seed-{seed}/

OUTPUTS
    evaluation.csv                          beside them; a row a checkpoint, task and inner step
    evaluation-{further}.csv                the same in another way that the experiment asks for
    gradients.csv                           beside them, of a training that keeps snapshots: what
                                            the second derivatives do to the meta-gradient at each
    baselines.csv                           in results/{run}/runs/{experiment}/baselines/seed-{seed}/:
                                            fine-tuning and nearest neighbour, a row a task and step
    results/{run}/cost/iteration.csv        what an iteration of each method takes
"""


rule evaluate:
    """Adapt a trained network to every meta-test task and record its accuracy."""
    input:
        prepared,
        "results/{run}/runs/{experiment}/{method}/seed-{seed}/best.safetensors",
        "results/{run}/runs/{experiment}/{method}/seed-{seed}/last.safetensors",
        "results/{run}/runs/{experiment}/{method}/seed-{seed}/training.json",
    output:
        "results/{run}/runs/{experiment}/{method}/seed-{seed}/evaluation.csv",
    log:
        "logs/{run}/evaluate/{experiment}/{method}/seed-{seed}.log",
    group:
        "training"
    threads: settings.runtime.threads
    resources:
        **allocated("evaluate"),
        gpu=GPU,
    params:
        data=subpath(input[0], parent=True),
        folder=subpath(output[0], parent=True),
        settings=lambda wildcards: job(wildcards).evaluation_settings(),
        code=code_of("evaluate"),
    message:
        "Evaluating {wildcards.experiment}, {wildcards.method}, seed {wildcards.seed}"
    shell:
        "maml evaluate {wildcards.experiment} {wildcards.method} {wildcards.seed}"
        " {params.data} {params.folder}"
        " --config $CONFIG 2>&1 | keep {log}"


rule evaluate_further:
    """Evaluate a trained network in another way, such as on the classes that it was trained on."""
    input:
        prepared,
        "results/{run}/runs/{experiment}/{method}/seed-{seed}/best.safetensors",
        "results/{run}/runs/{experiment}/{method}/seed-{seed}/last.safetensors",
        "results/{run}/runs/{experiment}/{method}/seed-{seed}/training.json",
    output:
        "results/{run}/runs/{experiment}/{method}/seed-{seed}/evaluation-{further}.csv",
    log:
        "logs/{run}/evaluate-{further}/{experiment}/{method}/seed-{seed}.log",
    wildcard_constraints:
        further="|".join(FURTHER_EVALUATIONS),
    group:
        "training"
    threads: settings.runtime.threads
    resources:
        **allocated("evaluate"),
        gpu=GPU,
    params:
        data=subpath(input[0], parent=True),
        folder=subpath(output[0], parent=True),
        settings=lambda wildcards: job(wildcards).evaluation_settings(),
        code=code_of("evaluate"),
    message:
        "Evaluating {wildcards.experiment}, {wildcards.method}, seed {wildcards.seed},"
        " {wildcards.further}"
    shell:
        "maml evaluate {wildcards.experiment} {wildcards.method} {wildcards.seed}"
        " {params.data} {params.folder} --further {wildcards.further}"
        " --config $CONFIG 2>&1 | keep {log}"


rule probe:
    """Measure what the second derivatives do at each snapshot of a training."""
    input:
        prepared,
        "results/{run}/runs/{experiment}/{method}/seed-{seed}/last.safetensors",
        "results/{run}/runs/{experiment}/{method}/seed-{seed}/training.json",
    output:
        "results/{run}/runs/{experiment}/{method}/seed-{seed}/gradients.csv",
    log:
        "logs/{run}/probe/{experiment}/{method}/seed-{seed}.log",
    threads: settings.runtime.threads
    resources:
        **allocated("probe"),
        gpu=GPU,
    params:
        data=subpath(input[0], parent=True),
        folder=subpath(output[0], parent=True),
        snapshots=lambda wildcards: job(wildcards).settings.snapshots,
        settings=settings.probe.model_dump(),
        code=code_of("probe"),
    message:
        "Probing {wildcards.experiment}, {wildcards.method}, seed {wildcards.seed}"
    shell:
        "maml probe {wildcards.experiment} {wildcards.method} {wildcards.seed}"
        " {params.data} {params.folder} {output}"
        " --config $CONFIG 2>&1 | keep {log}"


rule baselines:
    """Measure fine-tuning and nearest neighbour; resume where an interrupted pre-training stopped."""
    input:
        prepared,
    output:
        "results/{run}/runs/{experiment}/baselines/seed-{seed}/baselines.csv",
        "results/{run}/runs/{experiment}/baselines/seed-{seed}/tuning.csv",
        "results/{run}/runs/{experiment}/baselines/seed-{seed}/pretrained.safetensors",
    log:
        "logs/{run}/baselines/{experiment}/seed-{seed}.log",
    threads: settings.runtime.threads
    resources:
        **allocated("baselines"),
        gpu=GPU,
    params:
        data=subpath(input[0], parent=True),
        folder=subpath(output[0], parent=True),
        settings=lambda wildcards: baselines.decisive_settings(
            baselines.job(settings, wildcards.experiment, int(wildcards.seed)), settings.baselines
        ),
        code=code_of("baselines"),
    message:
        "Measuring the baselines of {wildcards.experiment}, seed {wildcards.seed}"
    shell:
        "maml baselines {wildcards.experiment} {wildcards.seed}"
        " {params.data} {params.folder}"
        " --config $CONFIG 2>&1 | keep {log}"


rule cost:
    """Measure what a meta-iteration takes with each method."""
    output:
        "results/{run}/cost/iteration.csv",
    log:
        "logs/{run}/cost.log",
    threads: settings.runtime.threads
    resources:
        **allocated("cost"),
        gpu=GPU,
    params:
        settings=cost_settings(),
        code=code_of("cost"),
    message:
        "Measuring what an iteration takes with each method"
    shell:
        "maml cost {output} --config $CONFIG 2>&1 | keep {log}"
