# Answers made elsewhere: one page for each entry of `audits`.
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
