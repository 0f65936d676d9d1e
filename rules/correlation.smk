rule build_alignment_table:
    input:
        similarity=study.files(
            SIMILARITY, models=study.opened_models, subsets=study.analysed_subsets
        ),
        alignment=study.files(
            ALIGNMENT, models=study.opened_models, subsets=study.analysed_subsets
        ),
    output:
        layers="results/correlation/layers.csv",
        checkpoints="results/correlation/checkpoints.csv",
        cka="results/correlation/cka.csv",
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
    params:
        code=plan.code("correlation/build_alignment_table.py"),
    message:
        "Similarity and alignment by layer and checkpoint"
    script:
        "../workflow_scripts/correlation/build_alignment_table.py"


rule regress_gap:
    input:
        gap="results/evaluation/gap.csv",
        checkpoints="results/correlation/checkpoints.csv",
        responses="results/correlation/responses.csv",
    output:
        points="results/correlation/points.csv",
        regression="results/correlation/regression.csv",
        comparisons="results/correlation/comparisons.csv",
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
        code=plan.code("correlation/regress_gap.py"),
        models=study.model_facts(),
    message:
        "Similarity, APS and training time against the gap"
    script:
        "../workflow_scripts/correlation/regress_gap.py"


rule judge_claims:
    input:
        layers="results/correlation/layers.csv",
        checkpoints="results/correlation/checkpoints.csv",
        regression="results/correlation/regression.csv",
        comparisons="results/correlation/comparisons.csv",
        words="results/correlation/word_reading.csv",
        patching=study.patching_tables("patching_profiles"),
        knockout=study.attention_tables()[1:],
        edits=study.tests_of_erasures(),
        probes=study.joined_probes(),
    output:
        claims="results/tables/claims.csv",
    log:
        "logs/correlation/judge_claims.log",
    benchmark:
        "results/rule_times/correlation/judge_claims.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=20,
    params:
        code=plan.code("correlation/judge_claims.py"),
        models=study.model_facts(),
    message:
        "Verdicts on the paper's claims"
    script:
        "../workflow_scripts/correlation/judge_claims.py"


rule sensitivity:
    input:
        similarity=study.files(
            SIMILARITY, models=study.opened_models, subsets=study.analysed_subsets
        ),
        alignment=study.files(
            ALIGNMENT, models=study.opened_models, subsets=study.analysed_subsets
        ),
        readings=study.files(
            READINGS, models=study.opened_models, subsets=study.analysed_subsets
        ),
        gap="results/evaluation/gap.csv",
    output:
        sensitivity="results/tables/sensitivity.csv",
    log:
        "logs/correlation/sensitivity.log",
    benchmark:
        "results/rule_times/correlation/sensitivity.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=20,
    params:
        code=plan.code("correlation/sensitivity.py"),
        models=study.model_facts(),
    message:
        "What each open reading does to APS and Sim"
    script:
        "../workflow_scripts/correlation/sensitivity.py"


rule regress_answers:
    input:
        similarity=study.files(
            SIMILARITY, models=study.opened_models, subsets=study.analysed_subsets
        ),
        alignment=study.files(
            ALIGNMENT, models=study.opened_models, subsets=study.analysed_subsets
        ),
        scores=study.files(
            SCORES,
            models=study.opened_models,
            subsets=study.analysed_subsets,
            forms=["text", "speech"],
        ),
    output:
        table="results/correlation/answers_regression.csv",
    log:
        "logs/correlation/regress_answers.log",
    benchmark:
        "results/rule_times/correlation/regress_answers.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=20,
    params:
        code=plan.code("correlation/regress_answers.py"),
        models=study.model_facts(),
    message:
        "Right answers against the alignment of their questions"
    script:
        "../workflow_scripts/correlation/regress_answers.py"


rule build_response_table:
    input:
        responses=study.files(
            "results/activations/{model}/{checkpoint}/responses.h5",
            models=study.trained_models,
        ),
    output:
        table="results/correlation/responses.csv",
        positions="results/correlation/response_positions.csv",
        lens="results/correlation/lens.csv",
        words="results/correlation/word_reading.csv",
    log:
        "logs/correlation/build_response_table.log",
    benchmark:
        "results/rule_times/correlation/build_response_table.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=20,
    params:
        code=plan.code("correlation/build_response_table.py"),
        draws=config["chance"]["draws"],
        seed=config["seed"],
    message:
        "Divergence between forms by checkpoint and response position"
    script:
        "../workflow_scripts/correlation/build_response_table.py"
