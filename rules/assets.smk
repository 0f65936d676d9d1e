# What is fetched is decided by its checksums, never by code, so these rules have no param `code`. Models in a foreign
# format are fetched as originals, and converted by a step of its own.
rule fetch_asset:
    input:
        yours=plan.local_files,
    output:
        record="resources/{asset}/asset.json",
    log:
        "logs/assets/{asset}.log",
    benchmark:
        "results/rule_times/assets/{asset}.tsv"
    wildcard_constraints:
        asset=any_of(plan.assets(converted=False)),
    # Before all else that is ready: what cannot be fetched is known before anything is computed.
    priority: 1
    conda:
        "../envs/models.yaml"
    threads: 1
    resources:
        mem_mb=3000,
        runtime=60,
    params:
        name="{asset}",
        settings=plan.asset_settings,
        backbone=lambda wildcards: wildcards.asset in study.backbones,
        models=plan.public_checks,
    message:
        "Fetch and verify {wildcards.asset}"
    script:
        "../workflow_scripts/assets/fetch_asset.py"


use rule fetch_asset as fetch_original with:
    output:
        record="resources/.originals/{asset}/asset.json",
    log:
        "logs/assets/{asset}.original.log",
    benchmark:
        "results/rule_times/assets/{asset}.original.tsv"
    wildcard_constraints:
        asset=any_of(plan.assets(converted=True)),
    params:
        name="{asset}",
        settings=plan.asset_settings,
        backbone=False,
        models=[],


rule convert_asset:
    input:
        original="resources/.originals/{asset}/asset.json",
    output:
        record="resources/{asset}/asset.json",
    log:
        "logs/assets/{asset}.log",
    benchmark:
        "results/rule_times/assets/{asset}.tsv"
    wildcard_constraints:
        asset=any_of(plan.assets(converted=True)),
    priority: 1
    conda:
        "../envs/models.yaml"
    threads: 1
    resources:
        mem_mb=plan.books.converting,
        runtime=60,
    params:
        code=plan.code("assets/convert_asset.py", CONVERTERS=plan.formats),
        backbone=lambda wildcards: wildcards.asset in study.backbones,
        models=plan.public_checks,
    message:
        "Convert {wildcards.asset} to a transformers folder"
    script:
        "../workflow_scripts/assets/convert_asset.py"
