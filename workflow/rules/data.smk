"""This part of the workflow fetches the data sets and prepares one array of each.

INPUTS
    none: the files are downloaded, copied from a mirror, or synthetic

OUTPUTS
    data/raw/{slug}/                        as published, verified; a slug is <dataset>-<source>
    data/processed/{slug}/images.npy        uint8 (classes, images, height, width, channels)
    data/processed/{slug}/dataset.json      class names, split, content digest
    results/{run}/tasks/{dataset}.png       a few sampled tasks

Runs share the data, so no path below data/ names a run.
"""


rule download:
    """Fetch and prepare all selected data sets, so that all else runs without a network."""
    input:
        expand("data/processed/{slug}/images.npy", slug=SLUGS),


rule fetch:
    """Fetch a data set's files and verify them."""
    output:
        directory("data/raw/{slug}"),
    log:
        "logs/data/fetch-{slug}.log",
    group:
        "data"
    resources:
        **allocated("fetch"),
    params:
        dataset=lambda wildcards: SLUGS[wildcards.slug],
        made=lambda wildcards: how_made(wildcards.slug),
    message:
        "Fetching {params.dataset}"
    shell:
        "maml download {params.dataset} {output} --config $CONFIG 2>&1 | keep {log}"


rule prepare:
    """Turn a data set's files into one array."""
    input:
        raw="data/raw/{slug}",
    output:
        "data/processed/{slug}/images.npy",
        "data/processed/{slug}/dataset.json",
    log:
        "logs/data/prepare-{slug}.log",
    group:
        "data"
    resources:
        **allocated("prepare"),
    params:
        dataset=lambda wildcards: SLUGS[wildcards.slug],
        folder=subpath(output[0], parent=True),
        settings=lambda wildcards: settings.datasets[SLUGS[wildcards.slug]].model_dump(),
        code=code_of("prepare"),
    message:
        "Preparing {params.dataset}"
    shell:
        "maml prepare {params.dataset} {input.raw} {params.folder}"
        " --config $CONFIG 2>&1 | keep {log}"


rule preview:
    """Draw a few sampled tasks, support and query, with class names."""
    input:
        prepared,
    output:
        report(
            "results/{run}/tasks/{dataset}.png",
            caption="../report/tasks.rst",
            category="Tasks",
            labels={"tasks of": "{dataset}"},
        ),
    log:
        "logs/{run}/preview-{dataset}.log",
    group:
        "data"
    resources:
        **allocated("preview"),
    params:
        data=subpath(input[0], parent=True),
        experiment=shown,
        settings=lambda wildcards: settings.experiment(shown(wildcards)).model_dump(
            include={"ways", "shots", "rotations"}
        ),
        code=code_of("preview"),
    message:
        "Drawing sampled tasks of {wildcards.dataset}"
    shell:
        "maml preview {params.experiment} {params.data} {output}"
        " --config $CONFIG 2>&1 | keep {log}"
