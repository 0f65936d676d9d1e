rule edit_answers:
    input:
        questions="results/benchmark/{subset}/questions.jsonl",
        manifest=plan.model_manifest,
        features=plan.model_features,
        alignment="results/alignment/{model}/{checkpoint}/{subset}/{shard}.h5",
        model=plan.checkpoint_index,
        backbone=plan.asset("backbone"),
        encoder=plan.asset("encoder"),
        quantizer=plan.asset("quantizer"),
    output:
        answers="results/intervention/{model}/{checkpoint}/{subset}/{shard}.answers.jsonl",
    log:
        "logs/intervention/{model}/{checkpoint}/{subset}/{shard}.log",
    benchmark:
        "results/rule_times/intervention/{model}/{checkpoint}/{subset}/{shard}.tsv"
    conda:
        "../envs/models.yaml"
    threads: plan.books.threads
    resources:
        mem_mb=plan.books.answers,
        runtime=240,
        gpu=plan.gpus_per_job,
    params:
        code=plan.code(
            "intervention/edit_answers.py",
            MEASURES=plan.measures("token"),
            FAMILIES=plan.family,
            REFERENCE_TEXTS=plan.scorer_of_subset,
        ),
        checkpoint="{checkpoint}",
        shard="{shard}",
        max_new_tokens=lookup(
            dpath="{subset}/max_new_tokens", within=config["benchmark"]["subsets"]
        ),
        intervention={
            key: value
            for key, value in config["intervention"].items()
            if key != "cases"
        },
        evaluation=lambda wildcards: {
            key: config["evaluation"][key] for key in ("batch_size", "max_positions")
        },
        system_prompt=config["system_prompt"],
        entry=plan.entry,
        seed=config["seed"],
    message:
        "{wildcards.model} {wildcards.checkpoint} answers {wildcards.subset} with edited speech tokens"
    script:
        "../workflow_scripts/intervention/edit_answers.py"


rule compare_edits:
    input:
        questions=plan.questions(config["intervention"]["subset"]),
        answers=study.files(
            "results/intervention/{model}/{checkpoint}/{subset}/{shard}.answers.jsonl",
            models=study.editable_models,
            last=True,
            subsets=[config["intervention"]["subset"]],
        ),
        nltk="resources/punkt-english/asset.json",
    output:
        tests="results/intervention/tests.csv",
        cases="results/intervention/cases.csv",
    log:
        "logs/intervention/tests.log",
    benchmark:
        "results/rule_times/intervention/tests.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=20,
    params:
        code=plan.code(
            "intervention/compare_edits.py", SCORERS=plan.scorer_of_intervention()
        ),
        models=study.editable_models,
        subset=config["intervention"]["subset"],
        scorer=config["benchmark"]["subsets"][config["intervention"]["subset"]][
            "scorer"
        ],
        n_cases=plan.config.intervention.cases,
    message:
        "Paired tests of the edits"
    script:
        "../workflow_scripts/intervention/compare_edits.py"
