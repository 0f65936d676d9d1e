rule patch_states:
    input:
        questions="results/benchmark/{subset}/questions.jsonl",
        manifest=plan.model_manifest,
        features=plan.model_features,
        alignment="results/alignment/{model}/{checkpoint}/{subset}/{shard}.h5",
        text="results/evaluation/{model}/{checkpoint}/{subset}/text.scores.json",
        speech="results/evaluation/{model}/{checkpoint}/{subset}/speech.scores.json",
        model=plan.checkpoint_index,
        backbone=plan.asset("backbone"),
        encoder=plan.asset("encoder"),
        quantizer=plan.asset("quantizer"),
    output:
        patches="results/patching/{model}/{checkpoint}/{subset}/{shard}.patches.jsonl",
    log:
        "logs/patching/{model}/{checkpoint}/{subset}/{shard}.log",
    benchmark:
        "results/rule_times/patching/{model}/{checkpoint}/{subset}/{shard}.tsv"
    conda:
        "../envs/models.yaml"
    threads: plan.books.threads
    resources:
        mem_mb=plan.books.answers,
        runtime=240,
        gpu=plan.gpus_per_job,
    params:
        code=plan.code(
            "patching/patch_states.py",
            FAMILIES=plan.family,
            REFERENCE_TEXTS=plan.scorer_of_subset,
        ),
        checkpoint="{checkpoint}",
        shard="{shard}",
        patching={
            key: value
            for key, value in (config["patching"] or {}).items()
            if key != "attention"
        },
        system_prompt=config["system_prompt"],
        entry=plan.entry,
        seed=config["seed"],
    message:
        "{wildcards.model} {wildcards.checkpoint}: states exchanged between the forms of {wildcards.subset}"
    script:
        "../workflow_scripts/patching/patch_states.py"


rule compare_patches:
    input:
        patches=study.patches(),
    output:
        cells="results/patching/patching.csv",
        profiles="results/patching/patching_profiles.csv",
    log:
        "logs/patching/compare_patches.log",
    benchmark:
        "results/rule_times/patching/compare_patches.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=20,
    params:
        code=plan.code("patching/compare_patches.py"),
        seed=config["seed"],
    message:
        "What exchanged states restore, by layer and position"
    script:
        "../workflow_scripts/patching/compare_patches.py"


rule build_patch_tag_table:
    input:
        questions=plan.questions(study.config.patched_subset),
        manifest=plan.manifest(study.config.patched_subset),
        patches=study.patches(),
    output:
        table="results/patching/patching_tags.csv",
    log:
        "logs/patching/build_patch_tag_table.log",
    benchmark:
        "results/rule_times/patching/build_patch_tag_table.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=20,
    params:
        code=plan.code("patching/build_patch_tag_table.py"),
        seed=config["seed"],
    message:
        "What exchanged states restore, by kind of question"
    script:
        "../workflow_scripts/patching/build_patch_tag_table.py"


rule read_attention:
    input:
        questions="results/benchmark/{subset}/questions.jsonl",
        manifest=plan.model_manifest,
        features=plan.model_features,
        text="results/evaluation/{model}/{checkpoint}/{subset}/text.scores.json",
        speech="results/evaluation/{model}/{checkpoint}/{subset}/speech.scores.json",
        model=plan.checkpoint_index,
        backbone=plan.asset("backbone"),
        encoder=plan.asset("encoder"),
        quantizer=plan.asset("quantizer"),
    output:
        attention="results/patching/{model}/{checkpoint}/{subset}/{shard}.attention.jsonl",
        knockout="results/patching/{model}/{checkpoint}/{subset}/{shard}.knockout.jsonl",
    log:
        "logs/patching/{model}/{checkpoint}/{subset}/{shard}.attention.log",
    benchmark:
        "results/rule_times/patching/{model}/{checkpoint}/{subset}/{shard}.attention.tsv"
    conda:
        "../envs/models.yaml"
    threads: plan.books.threads
    resources:
        mem_mb=plan.books.answers,
        runtime=120,
        gpu=plan.gpus_per_job,
    params:
        code=plan.code(
            "patching/read_attention.py",
            FAMILIES=plan.family,
            REFERENCE_TEXTS=plan.scorer_of_subset,
        ),
        checkpoint="{checkpoint}",
        shard="{shard}",
        patching={
            key: value
            for key, value in (config["patching"] or {}).items()
            if key in ("select", "questions", "batch_size", "attention")
        },
        system_prompt=config["system_prompt"],
        entry=plan.entry,
        seed=config["seed"],
    message:
        "{wildcards.model} {wildcards.checkpoint}: where answers to {wildcards.subset} look"
    script:
        "../workflow_scripts/patching/read_attention.py"


rule compare_attention:
    input:
        looked=study.patches("attention"),
        knocked=study.patches("knockout"),
    output:
        attention="results/patching/attention.csv",
        knockout="results/patching/knockout.csv",
    log:
        "logs/patching/compare_attention.log",
    benchmark:
        "results/rule_times/patching/compare_attention.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=20,
    params:
        code=plan.code("patching/compare_attention.py"),
    message:
        "Where answers look, and what hiding the query from them costs"
    script:
        "../workflow_scripts/patching/compare_attention.py"
