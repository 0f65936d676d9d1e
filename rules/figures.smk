rule plot_decline:
    input:
        code=plan.code("figures/plot_decline.py"),
        decline="results/evaluation/decline.csv",
    output:
        **plan.figure("decline", report),
    log:
        "logs/figures/decline.log",
    benchmark:
        "results/rule_times/figures/decline.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        display=config["display"],
    message:
        "Figure: decline from the base model's text to the tuned model's speech"
    script:
        "../workflow_scripts/figures/plot_decline.py"


rule plot_learning:
    input:
        code=plan.code("figures/plot_learning.py"),
        curves=plan.training_logs(),
        gap="results/evaluation/gap.csv",
    output:
        **plan.figure("learning", report),
    log:
        "logs/figures/learning.log",
    benchmark:
        "results/rule_times/figures/learning.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        models=plan.trained_models,
        display=config["display"],
    message:
        "Figure: held-out losses and word error rate of repeating, by training step"
    script:
        "../workflow_scripts/figures/plot_learning.py"


rule plot_layers:
    input:
        code=plan.code("figures/plot_layers.py"),
        layers="results/correlation/layers.csv",
    output:
        **plan.figure("layers", report),
    log:
        "logs/figures/layers.log",
    benchmark:
        "results/rule_times/figures/layers.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        display=config["display"],
    message:
        "Figure: similarity by layer and checkpoint"
    script:
        "../workflow_scripts/figures/plot_layers.py"


rule plot_similarity_gap:
    input:
        code=plan.code("figures/plot_similarity_gap.py"),
        points="results/correlation/points.csv",
        regression="results/correlation/regression.csv",
    output:
        **plan.figure("similarity_gap", report),
    log:
        "logs/figures/similarity_gap.log",
    benchmark:
        "results/rule_times/figures/similarity_gap.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        display=config["display"],
    message:
        "Figure: sequence similarity against the gap"
    script:
        "../workflow_scripts/figures/plot_similarity_gap.py"


rule plot_aps_gap:
    input:
        code=plan.code("figures/plot_aps_gap.py"),
        points="results/correlation/points.csv",
        regression="results/correlation/regression.csv",
    output:
        **plan.figure("aps_gap", report),
    log:
        "logs/figures/aps_gap.log",
    benchmark:
        "results/rule_times/figures/aps_gap.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        display=config["display"],
    message:
        "Figure: Alignment Path Score against the gap"
    script:
        "../workflow_scripts/figures/plot_aps_gap.py"


rule plot_token_matrix:
    input:
        code=plan.code("figures/plot_token_matrix.py"),
        alignment=plan.example_alignment(),
    output:
        **plan.figure("token_matrix", report),
    log:
        "logs/figures/token_matrix.log",
    benchmark:
        "results/rule_times/figures/token_matrix.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        display=config["display"],
    message:
        "Figure: token similarity matrices with the alignment path"
    script:
        "../workflow_scripts/figures/plot_token_matrix.py"


rule plot_monotonicity:
    input:
        code=plan.code("figures/plot_monotonicity.py"),
        checkpoints="results/correlation/checkpoints.csv",
    output:
        **plan.figure("monotonicity", report),
    log:
        "logs/figures/monotonicity.log",
    benchmark:
        "results/rule_times/figures/monotonicity.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        display=config["display"],
    message:
        "Figure: monotonicity and consistency by checkpoint"
    script:
        "../workflow_scripts/figures/plot_monotonicity.py"


rule plot_interventions:
    input:
        code=plan.code("figures/plot_interventions.py"),
        tests="results/intervention/tests.csv",
    output:
        **plan.figure("interventions", report),
    log:
        "logs/figures/interventions.log",
    benchmark:
        "results/rule_times/figures/interventions.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        display=config["display"],
    message:
        "Figure: edits of speech vectors beside their controls"
    script:
        "../workflow_scripts/figures/plot_interventions.py"


rule plot_edited_layers:
    input:
        code=plan.code("figures/plot_edited_layers.py"),
        tests="results/intervention/tests.csv",
    output:
        **plan.figure("edited_layers", report),
    log:
        "logs/figures/edited_layers.log",
    benchmark:
        "results/rule_times/figures/edited_layers.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        display=config["display"],
    message:
        "Figure: effect of edits by layer"
    script:
        "../workflow_scripts/figures/plot_edited_layers.py"
