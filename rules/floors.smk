rule answer_floors:
    input:
        questions="results/benchmark/{subset}/questions.jsonl",
        manifest=plan.model_manifest,
        features=plan.model_features,
        silence=plan.model_silence,
        model=plan.checkpoint_index,
        backbone=plan.asset("backbone"),
        encoder=plan.asset("encoder"),
        quantizer=plan.asset("quantizer"),
    output:
        silence="results/evaluation/{model}/{checkpoint}/{subset}/silence.{shard}.answers.jsonl",
        other="results/evaluation/{model}/{checkpoint}/{subset}/other.{shard}.answers.jsonl",
    log:
        "logs/evaluation/{model}/{checkpoint}/{subset}/{shard}.floors.log",
    benchmark:
        "results/rule_times/evaluation/{model}/{checkpoint}/{subset}/{shard}.floors.tsv"
    conda:
        "../envs/models.yaml"
    threads: plan.books.threads
    resources:
        mem_mb=plan.books.answers,
        runtime=240,
        gpu=plan.gpus_per_job,
    params:
        code=plan.code(
            "evaluation/answer_floors.py",
            FAMILIES=plan.family,
            REFERENCE_TEXTS=plan.scorer_of_subset,
        ),
        checkpoint="{checkpoint}",
        shard="{shard}",
        max_new_tokens=lookup(
            dpath="{subset}/max_new_tokens", within=config["benchmark"]["subsets"]
        ),
        evaluation=lambda wildcards: {
            key: config["evaluation"][key]
            for key in ("batch_size", "max_positions", "option_log_probs")
        },
        system_prompt=config["system_prompt"],
        entry=plan.entry,
        seed=config["seed"],
    message:
        "{wildcards.model} {wildcards.checkpoint} answers {wildcards.subset} unheard (silence, other)"
    script:
        "../workflow_scripts/evaluation/answer_floors.py"


rule score_floors:
    input:
        questions="results/benchmark/{subset}/questions.jsonl",
        answers=plan.answers(*FLOORS),
        nltk="resources/punkt-english/asset.json",
    output:
        silence="results/evaluation/{model}/{checkpoint}/{subset}/silence.scores.json",
        other="results/evaluation/{model}/{checkpoint}/{subset}/other.scores.json",
    log:
        "logs/evaluation/{model}/{checkpoint}/{subset}/floors.scores.log",
    benchmark:
        "results/rule_times/evaluation/{model}/{checkpoint}/{subset}/floors.scores.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        code=plan.code("evaluation/score_answers.py", SCORERS=plan.scorer_of_subset),
        model="{model}",
        checkpoint="{checkpoint}",
        subset="{subset}",
        forms=["silence", "other"],
        scorer=lookup(dpath="{subset}/scorer", within=config["benchmark"]["subsets"]),
        judge=plan.judge,
    message:
        "Floors of {wildcards.model} {wildcards.checkpoint} on {wildcards.subset}"
    script:
        "../workflow_scripts/evaluation/score_answers.py"


rule build_floor_table:
    input:
        scores=study.files(
            SCORES,
            last=True,
            models=study.opened_models,
            subsets=study.floor_subsets,
            forms=["speech", *FLOORS],
        ),
    output:
        table="results/evaluation/floors.csv",
    log:
        "logs/evaluation/floors.log",
    benchmark:
        "results/rule_times/evaluation/floors.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=20,
    params:
        code=plan.code("evaluation/build_floor_table.py", SCORERS=study.scorers),
    message:
        "Spoken scores beside those of silence and of another question's audio"
    script:
        "../workflow_scripts/evaluation/build_floor_table.py"


rule build_skill_table:
    input:
        questions=[plan.questions(subset) for subset in study.subsets],
        scores=study.files(SCORES, base=True),
    output:
        table="results/evaluation/skills.csv",
    log:
        "logs/evaluation/skills.log",
    benchmark:
        "results/rule_times/evaluation/skills.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=20,
    params:
        code=plan.code("evaluation/build_skill_table.py", SCORERS=study.scorers),
    message:
        "Scores and gap by skill"
    script:
        "../workflow_scripts/evaluation/build_skill_table.py"


rule build_tag_table:
    input:
        questions=[plan.questions(subset) for subset in study.subsets],
        manifests=[plan.manifest(subset) for subset in study.subsets],
        scores=study.files(SCORES, last=True),
    output:
        table="results/evaluation/tags.csv",
    log:
        "logs/evaluation/tags.log",
    benchmark:
        "results/rule_times/evaluation/tags.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=60,
    params:
        code=plan.code("evaluation/build_tag_table.py", SCORERS=study.scorers),
        seed=config["seed"],
    message:
        "Gap by kind of question"
    script:
        "../workflow_scripts/evaluation/build_tag_table.py"


rule build_condition_table:
    input:
        questions=[plan.questions(subset) for subset in study.subsets],
        scores=study.files(SCORES, base=True),
    output:
        table="results/evaluation/conditions.csv",
    log:
        "logs/evaluation/conditions.log",
    benchmark:
        "results/rule_times/evaluation/conditions.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=20,
    params:
        code=plan.code("evaluation/build_condition_table.py", SCORERS=study.scorers),
        conditions=study.conditions(),
        voices={subset: study.voice(subset) for subset in study.subsets},
    message:
        "Scores and gap by condition"
    script:
        "../workflow_scripts/evaluation/build_condition_table.py"
