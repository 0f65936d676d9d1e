rule answer_questions:
    input:
        questions="results/benchmark/{subset}/questions.jsonl",
        manifest=plan.model_manifest,
        features=plan.model_features,
        model=plan.checkpoint_index,
        backbone=plan.asset("backbone"),
        encoder=plan.asset("encoder"),
        quantizer=plan.asset("quantizer"),
    output:
        text="results/evaluation/{model}/{checkpoint}/{subset}/text.{shard}.answers.jsonl",
        speech="results/evaluation/{model}/{checkpoint}/{subset}/speech.{shard}.answers.jsonl",
        asr="results/evaluation/{model}/{checkpoint}/{subset}/asr.{shard}.answers.jsonl",
    log:
        "logs/evaluation/{model}/{checkpoint}/{subset}/{shard}.answers.log",
    benchmark:
        "results/rule_times/evaluation/{model}/{checkpoint}/{subset}/{shard}.answers.tsv"
    wildcard_constraints:
        model=any_of(set(study.opened_models) - set(study.frozen_models)),
    conda:
        "../envs/models.yaml"
    threads: plan.books.threads
    resources:
        mem_mb=plan.books.answers,
        runtime=240,
        gpu=plan.gpus_per_job,
    params:
        code=plan.code(
            "evaluation/answer_questions.py",
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
        "{wildcards.model} {wildcards.checkpoint} answers {wildcards.subset} (text, speech, asr)"
    script:
        "../workflow_scripts/evaluation/answer_questions.py"


# A model of which only the adapter is trained answers spoken questions; in writing it is its backbone, whose answers
# are taken over: equal to the last digit, and nothing is computed twice.
use rule answer_questions as answer_spoken_questions with:
    output:
        speech="results/evaluation/{model}/{checkpoint}/{subset}/speech.{shard}.answers.jsonl",
    wildcard_constraints:
        model=any_of(study.frozen_models),
    message:
        "{wildcards.model} {wildcards.checkpoint} answers {wildcards.subset} (speech)"


rule take_backbone_answers:
    input:
        text=plan.backbone_answers("text"),
        asr=plan.backbone_answers("asr"),
    output:
        text="results/evaluation/{model}/{checkpoint}/{subset}/text.{shard}.answers.jsonl",
        asr="results/evaluation/{model}/{checkpoint}/{subset}/asr.{shard}.answers.jsonl",
    log:
        "logs/evaluation/{model}/{checkpoint}/{subset}/{shard}.taken.log",
    benchmark:
        "results/rule_times/evaluation/{model}/{checkpoint}/{subset}/{shard}.taken.tsv"
    wildcard_constraints:
        model=any_of(study.frozen_models),
    localrule: True
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=100,
        runtime=5,
    message:
        "Written answers of {wildcards.model} {wildcards.checkpoint} to {wildcards.subset}: its backbone's"
    shell:
        "(cp {input.text:q} {output.text:q} && cp {input.asr:q} {output.asr:q}) 2> {log:q}"


rule answer_questions_base:
    input:
        questions="results/benchmark/{subset}/questions.jsonl",
        manifest=plan.model_manifest,
        backbone="resources/{model}/asset.json",
    output:
        text="results/evaluation/{model}/{checkpoint}/{subset}/text.{shard}.answers.jsonl",
        asr="results/evaluation/{model}/{checkpoint}/{subset}/asr.{shard}.answers.jsonl",
    log:
        "logs/evaluation/{model}/{checkpoint}/{subset}/{shard}.answers.log",
    benchmark:
        "results/rule_times/evaluation/{model}/{checkpoint}/{subset}/{shard}.answers.tsv"
    wildcard_constraints:
        model="|".join(study.backbones),
        checkpoint="base",
    conda:
        "../envs/models.yaml"
    threads: plan.books.threads
    resources:
        mem_mb=plan.books.answers,
        runtime=240,
        gpu=plan.gpus_per_job,
    params:
        code=plan.code(
            "evaluation/answer_questions_base.py",
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
        seed=config["seed"],
    message:
        "Untuned {wildcards.model} answers {wildcards.subset} (text, asr)"
    script:
        "../workflow_scripts/evaluation/answer_questions_base.py"


rule score_answers:
    input:
        questions="results/benchmark/{subset}/questions.jsonl",
        answers=plan.answers(),
        nltk="resources/punkt-english/asset.json",
    output:
        text="results/evaluation/{model}/{checkpoint}/{subset}/text.scores.json",
        speech="results/evaluation/{model}/{checkpoint}/{subset}/speech.scores.json",
        asr="results/evaluation/{model}/{checkpoint}/{subset}/asr.scores.json",
    log:
        "logs/evaluation/{model}/{checkpoint}/{subset}/scores.log",
    benchmark:
        "results/rule_times/evaluation/{model}/{checkpoint}/{subset}/scores.tsv"
    wildcard_constraints:
        model=any_of(name for name in study.models if "asr" in study.forms(name)),
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
        forms=lambda wildcards: study.forms(wildcards.model),
        scorer=lookup(dpath="{subset}/scorer", within=config["benchmark"]["subsets"]),
        judge=plan.judge,
    message:
        "Scores of {wildcards.model} {wildcards.checkpoint} on {wildcards.subset}"
    script:
        "../workflow_scripts/evaluation/score_answers.py"


use rule score_answers as score_answers_base with:
    output:
        text="results/evaluation/{model}/{checkpoint}/{subset}/text.scores.json",
        asr="results/evaluation/{model}/{checkpoint}/{subset}/asr.scores.json",
    log:
        "logs/evaluation/{model}/{checkpoint}/{subset}/scores.log",
    benchmark:
        "results/rule_times/evaluation/{model}/{checkpoint}/{subset}/scores.tsv"
    wildcard_constraints:
        model="|".join(study.backbones),
        checkpoint="base",


use rule score_answers as score_answers_without_asr with:
    output:
        text="results/evaluation/{model}/{checkpoint}/{subset}/text.scores.json",
        speech="results/evaluation/{model}/{checkpoint}/{subset}/speech.scores.json",
    log:
        "logs/evaluation/{model}/{checkpoint}/{subset}/scores.log",
    benchmark:
        "results/rule_times/evaluation/{model}/{checkpoint}/{subset}/scores.tsv"
    wildcard_constraints:
        model=any_of(name for name in study.models if "asr" not in study.forms(name)),


rule build_gap_table:
    input:
        scores=study.files(SCORES, base=True),
    output:
        gap="results/evaluation/gap.csv",
        decline="results/evaluation/decline.csv",
        cascade="results/evaluation/cascade.csv",
        twins="results/evaluation/twins.csv",
    log:
        "logs/evaluation/gap.log",
    benchmark:
        "results/rule_times/evaluation/gap.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=20,
    params:
        code=plan.code("evaluation/build_gap_table.py", SCORERS=study.scorers),
        overall=study.overall_subsets,
        knowledge=study.knowledge_subsets,
        backbones=study.model_backbones(),
        twins=study.twins(),
        repeats=study.repeats(),
        frozen=study.frozen_models,
    message:
        "Gap table, decline decomposition and agreement with cascades"
    script:
        "../workflow_scripts/evaluation/build_gap_table.py"


rule score_official:
    input:
        questions=[plan.questions(subset) for subset in study.subsets],
        answers=study.files(ANSWERS, base=True),
        scores=study.files(SCORES, base=True),
        evaluators=plan.official_files(),
        nltk="resources/punkt-english/asset.json",
    output:
        table=report(
            "results/evaluation/official.csv",
            caption="../report/tables.rst",
            category="Tables",
            labels={"table": "Ours and VoiceBench's own evaluators"},
        ),
    log:
        "logs/evaluation/official.log",
    benchmark:
        "results/rule_times/evaluation/official.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=60,
    params:
        code=plan.code("evaluation/score_official.py"),
        official=lookup(dpath="scoring/official", within=config),
        seed=config["seed"],
    message:
        "VoiceBench's evaluators on the same answers"
    script:
        "../workflow_scripts/evaluation/score_official.py"


rule score_panda:
    input:
        questions=[plan.questions(subset) for subset in study.subsets],
        answers=study.files(ANSWERS, base=True),
        scores=study.files(SCORES, base=True),
    output:
        table=report(
            "results/evaluation/panda.csv",
            caption="../report/tables.rst",
            category="Tables",
            labels={"table": "PEDANT beside containment"},
        ),
    log:
        "logs/evaluation/panda.log",
    benchmark:
        "results/rule_times/evaluation/panda.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=60,
    params:
        code=plan.code("evaluation/score_panda.py", SCORERS=study.scorers),
        panda=lookup(dpath="scoring/panda", within=config),
    message:
        "PEDANT on the short answers"
    script:
        "../workflow_scripts/evaluation/score_panda.py"
