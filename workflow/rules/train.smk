"""This part of the workflow meta-trains one network for each experiment, method and seed.

INPUTS
    data/processed/{slug}/                  a prepared data set

OUTPUTS, in results/{run}/runs/{experiment}/{method}/seed-{seed}/
    best.safetensors    the weights that were best in validation
    last.safetensors    the weights after the last iteration
    curve.csv           the learning curve
    training.json       how it ended, and what it came from
"""


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
    threads: settings.runtime.threads
    resources:
        gpu=GPU,
        mem_mb=4000,
        runtime=2880,
    params:
        data=subpath(input[0], parent=True),
        folder=subpath(output[0], parent=True),
        settings=lambda wildcards: job(wildcards).training_settings(),
        code=code_digest("maml.train"),
    message:
        "Training {wildcards.experiment}, {wildcards.method}, seed {wildcards.seed}"
    shell:
        "maml train {wildcards.experiment} {wildcards.method} {wildcards.seed}"
        " {params.data} {params.folder}"
        " --config results/{wildcards.run}/config.yaml 2>&1 | tee -ia {log} >&2"
