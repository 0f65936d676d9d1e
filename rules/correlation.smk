rule build_alignment_table:
    input:
        code=plan.code("correlation/build_alignment_table.py"),
        similarity=plan.all_measured("similarity"),
        alignment=plan.all_measured("alignment"),
    output:
        layers="results/correlation/layers.csv",
        checkpoints="results/correlation/checkpoints.csv",
    log:
        "logs/correlation/alignment_table.log",
    benchmark:
        "results/rule_times/correlation/alignment_table.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=20,
    message:
        "Similarity and alignment by layer and checkpoint"
    script:
        "../workflow_scripts/correlation/build_alignment_table.py"


rule regress_gap:
    input:
        code=plan.code("correlation/regress_gap.py"),
        gap="results/evaluation/gap.csv",
        checkpoints="results/correlation/checkpoints.csv",
    output:
        points="results/correlation/points.csv",
        regression="results/correlation/regression.csv",
    log:
        "logs/correlation/regression.log",
    benchmark:
        "results/rule_times/correlation/regression.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=20,
    params:
        models=plan.model_facts(),
        draws=config["evaluation"]["bootstrap_draws"],
        seed=config["seed"],
    message:
        "Similarity, APS and training time against the gap"
    script:
        "../workflow_scripts/correlation/regress_gap.py"
