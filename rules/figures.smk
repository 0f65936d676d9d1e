rule plot_decline:
    input:
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
        code=plan.code("figures/plot_decline.py"),
        display=display_of_all,
    message:
        "Figure: decline from the base model's text to the tuned model's speech"
    script:
        "../workflow_scripts/figures/plot_decline.py"


rule plot_learning:
    input:
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
        code=plan.code("figures/plot_learning.py"),
        models=plan.trained_models,
        display=display_of_all,
    message:
        "Figure: held-out losses and word error rate of repeating, by training step"
    script:
        "../workflow_scripts/figures/plot_learning.py"


rule plot_layers:
    input:
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
        code=plan.code("figures/plot_layers.py"),
        display=display_of_all,
    message:
        "Figure: similarity by layer and checkpoint"
    script:
        "../workflow_scripts/figures/plot_layers.py"


rule plot_similarity_gap:
    input:
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
        code=plan.code("figures/plot_similarity_gap.py"),
        display=display_of_all,
    message:
        "Figure: sequence similarity against the gap"
    script:
        "../workflow_scripts/figures/plot_similarity_gap.py"


rule plot_aps_gap:
    input:
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
        code=plan.code("figures/plot_aps_gap.py"),
        display=display_of_all,
    message:
        "Figure: Alignment Path Score against the gap"
    script:
        "../workflow_scripts/figures/plot_aps_gap.py"


rule plot_token_matrix:
    input:
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
        code=plan.code("figures/plot_token_matrix.py"),
        display=config["display"],
    message:
        "Figure: token similarity matrices with the alignment path"
    script:
        "../workflow_scripts/figures/plot_token_matrix.py"


rule plot_monotonicity:
    input:
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
        code=plan.code("figures/plot_monotonicity.py"),
        display=display_of_all,
    message:
        "Figure: monotonicity and consistency by checkpoint"
    script:
        "../workflow_scripts/figures/plot_monotonicity.py"


rule plot_interventions:
    input:
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
        code=plan.code("figures/plot_interventions.py"),
        display=display_of_all,
    message:
        "Figure: edits of speech vectors beside their controls"
    script:
        "../workflow_scripts/figures/plot_interventions.py"


rule plot_edited_layers:
    input:
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
        code=plan.code("figures/plot_edited_layers.py"),
        display=display_of_all,
    message:
        "Figure: effect of edits by layer"
    script:
        "../workflow_scripts/figures/plot_edited_layers.py"


rule plot_layers_controlled:
    input:
        layers="results/correlation/layers.csv",
    output:
        **plan.figure("layers_controlled", report),
    log:
        "logs/figures/layers_controlled.log",
    benchmark:
        "results/rule_times/figures/layers_controlled.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        code=plan.code("figures/plot_layers_controlled.py"),
        display=display_of_all,
    message:
        "Figure: centred and length-free similarity by layer"
    script:
        "../workflow_scripts/figures/plot_layers_controlled.py"


rule plot_partial_residuals:
    input:
        points="results/correlation/points.csv",
    output:
        **plan.figure("partial_residuals", report),
    log:
        "logs/figures/partial_residuals.log",
    benchmark:
        "results/rule_times/figures/partial_residuals.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        code=plan.code("figures/plot_partial_residuals.py"),
        display=display_of_all,
    message:
        "Figure: what measures say beyond training time"
    script:
        "../workflow_scripts/figures/plot_partial_residuals.py"


rule plot_predictors:
    input:
        regression="results/correlation/regression.csv",
    output:
        **plan.figure("predictors", report),
    log:
        "logs/figures/predictors.log",
    benchmark:
        "results/rule_times/figures/predictors.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        code=plan.code("figures/plot_predictors.py"),
    message:
        "Figure: every predictor of the gap side by side"
    script:
        "../workflow_scripts/figures/plot_predictors.py"


rule plot_cka:
    input:
        cka="results/correlation/cka.csv",
    output:
        **plan.figure("cka", report),
    log:
        "logs/figures/cka.log",
    benchmark:
        "results/rule_times/figures/cka.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        code=plan.code("figures/plot_cka.py"),
        display=display_of_all,
    message:
        "Figure: CKA of every speech layer with every text layer"
    script:
        "../workflow_scripts/figures/plot_cka.py"


rule plot_response_kl:
    input:
        positions="results/correlation/response_positions.csv",
        responses="results/correlation/responses.csv",
    output:
        **plan.figure("response_kl", report),
    log:
        "logs/figures/response_kl.log",
    benchmark:
        "results/rule_times/figures/response_kl.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        code=plan.code("figures/plot_response_kl.py"),
        display=config["display"],
    message:
        "Figure: KL between the forms by response position"
    script:
        "../workflow_scripts/figures/plot_response_kl.py"


rule plot_lens:
    input:
        lens="results/correlation/lens.csv",
    output:
        **plan.figure("lens", report),
    log:
        "logs/figures/lens.log",
    benchmark:
        "results/rule_times/figures/lens.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        code=plan.code("figures/plot_lens.py"),
        display=display_of_all,
    message:
        "Figure: logit lens at speech positions by depth"
    script:
        "../workflow_scripts/figures/plot_lens.py"
