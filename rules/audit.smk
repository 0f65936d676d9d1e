# Answers made elsewhere: those of models of family `answers`, and one page for each entry of `audits`.
rule take_answers:
    input:
        questions="results/benchmark/{subset}/questions.jsonl",
        manifest=plan.model_manifest,
        answers=plan.given_files,
    output:
        answers="results/evaluation/{model}/{checkpoint}/{subset}/{form}.{shard}.answers.jsonl",
    log:
        "logs/evaluation/{model}/{checkpoint}/{subset}/{form}.{shard}.answers.log",
    benchmark:
        "results/rule_times/evaluation/{model}/{checkpoint}/{subset}/{form}.{shard}.answers.tsv"
    wildcard_constraints:
        model=any_of(study.given_models),
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        code=plan.code("audit/take_answers.py"),
        model="{model}",
        harness=lookup(dpath="{model}/harness", within=config["models"]),
        form="{form}",
        shard="{shard}",
        seed=config["seed"],
    message:
        "Given answers of {wildcards.model} to {wildcards.subset} ({wildcards.form})"
    script:
        "../workflow_scripts/audit/take_answers.py"


rule audit_answers:
    input:
        answers=plan.audited_files,
        evaluators=plan.official_files(),
        nltk="resources/punkt-english/asset.json",
    output:
        page=report(
            "results/audit/{audit}/index.html",
            caption="../report/tables.rst",
            category="Tables",
            labels={"table": "Audit of answers made elsewhere: {audit}"},
        ),
        gap="results/audit/{audit}/gap.csv",
        conclusions="results/audit/{audit}/conclusions.csv",
    log:
        "logs/audit/{audit}.log",
    benchmark:
        "results/rule_times/audit/{audit}.tsv"
    wildcard_constraints:
        audit=any_of(config["audits"]),
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=20,
    params:
        code=plan.code("audit/audit_answers.py"),
        settings=lookup(dpath="{audit}", within=config["audits"]),
        official=config["scoring"]["official"],
        seed=config["seed"],
    message:
        "Audit of {wildcards.audit}"
    script:
        "../workflow_scripts/audit/audit_answers.py"
