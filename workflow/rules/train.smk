"""This part of the workflow meta-trains one network for each experiment, method and seed.

INPUTS
    data/processed/{slug}/                  a prepared data set

OUTPUTS, in results/{run}/runs/{experiment}/{method}/seed-{seed}/
    best.safetensors    the weights that were best in validation
    last.safetensors    the weights after the last iteration
    curve.csv           the learning curve
    training.json       how it ended, and what it came from

Seeds that `runtime.seeds_at_once` puts together are one job, of a rule of their own.
"""

ALONE = [group[0] for group in settings.seed_groups() if len(group) == 1]


rule train:
    """Meta-train one network; resume where an interrupted run stopped."""
    input:
        prepared,
    output:
        "results/{run}/runs/{experiment}/{method}/seed-{seed}/best.safetensors",
        "results/{run}/runs/{experiment}/{method}/seed-{seed}/last.safetensors",
        "results/{run}/runs/{experiment}/{method}/seed-{seed}/curve.csv",
        "results/{run}/runs/{experiment}/{method}/seed-{seed}/training.json",
    log:
        "logs/{run}/train/{experiment}/{method}/seed-{seed}.log",
    wildcard_constraints:
        seed="|".join(map(str, ALONE)) or "none",
    group:
        "training"
    threads: settings.runtime.threads
    resources:
        **allocated("train"),
        gpu=GPU,
    params:
        data=subpath(input[0], parent=True),
        folder=subpath(output[0], parent=True),
        settings=lambda wildcards: job(wildcards).training_settings(),
        code=code_of("train"),
    message:
        "Training {wildcards.experiment}, {wildcards.method}, seed {wildcards.seed}"
    shell:
        "maml train {wildcards.experiment} {wildcards.method} {wildcards.seed}"
        " {params.data} {params.folder}"
        " --config $CONFIG 2>&1 | keep {log}"


for seeds in [group for group in settings.seed_groups() if len(group) > 1]:

    rule:
        """Meta-train one network a seed, all at once; resume where an interrupted run stopped."""
        name:
            f"train_seeds_{'_'.join(map(str, seeds))}"
        input:
            prepared,
        output:
            expand(
                "results/{{run}}/runs/{{experiment}}/{{method}}/seed-{seed}/{file}",
                seed=seeds,
                file=["best.safetensors", "last.safetensors", "curve.csv", "training.json"],
            ),
        log:
            f"logs/{{run}}/train/{{experiment}}/{{method}}/seed-{'-'.join(map(str, seeds))}.log",
        group:
            "training"
        threads: settings.runtime.threads
        resources:
            **allocated("train", seeds),
            gpu=GPU,
        params:
            data=subpath(input[0], parent=True),
            folders=lambda wildcards, output: list(dict.fromkeys(map(os.path.dirname, output))),
            settings=settings_of(seeds),
            seeds=",".join(map(str, seeds)),
            code=code_of("train"),
        message:
            "Training {wildcards.experiment}, {wildcards.method}, seeds {params.seeds}"
        shell:
            "maml train {wildcards.experiment} {wildcards.method} {params.seeds}"
            " {params.data} {params.folders}"
            " --config $CONFIG 2>&1 | keep {log}"
