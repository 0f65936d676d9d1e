# Only on request: snakemake export_answers
rule export_answers:
    input:
        questions=[plan.questions(subset) for subset in study.subsets],
        answers=study.files(ANSWERS, last=True),
        scores=study.files(SCORES, last=True),
        assets=plan.subset_assets(),
    output:
        directory("results/export"),
    log:
        "logs/export/answers.log",
    benchmark:
        "results/rule_times/export/answers.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=20,
    params:
        code=plan.code("export/write_exports.py"),
        voices={subset: study.voice(subset) for subset in study.subsets},
        models=study.hub_ids(),
    message:
        "Answers and scores in the formats of other programs"
    script:
        "../workflow_scripts/export/write_exports.py"
