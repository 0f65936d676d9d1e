rule fetch_asset:
    output:
        record="resources/{asset}/asset.json",
    log:
        "logs/assets/{asset}.log",
    benchmark:
        "results/rule_times/assets/{asset}.tsv"
    # Before all else that is ready: what cannot be fetched is known before anything is computed.
    priority: 1
    conda:
        "../envs/models.yaml"
    threads: 1
    resources:
        mem_mb=3000,
        runtime=60,
    params:
        code=plan.code("assets/fetch_asset.py"),
        name="{asset}",
        settings=lookup(dpath="{asset}", within=config["assets"]),
        backbone=lambda wildcards: wildcards.asset in plan.backbones,
        models=plan.public_checks,
    message:
        "Fetch and verify {wildcards.asset}"
    script:
        "../workflow_scripts/assets/fetch_asset.py"
