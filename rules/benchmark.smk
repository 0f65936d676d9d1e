rule build_questions:
    input:
        asset=plan.subset_asset,
    output:
        questions="results/benchmark/{subset}/questions.jsonl",
        filters="results/benchmark/{subset}/filters.csv",
    log:
        "logs/benchmark/{subset}.log",
    benchmark:
        "results/rule_times/benchmark/{subset}.tsv"
    wildcard_constraints:
        subset="|".join(study.drawn_subsets),
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        code=plan.code("benchmark/build_questions.py", LAYOUTS=plan.layout_of_subset),
        subset="{subset}",
        settings=plan.subset_settings,
        n=lambda wildcards: study.n_questions(wildcards.subset),
        seed=config["seed"],
    message:
        "Questions of {wildcards.subset}"
    script:
        "../workflow_scripts/benchmark/build_questions.py"


rule build_instructions:
    input:
        assets=plan.instruction_assets(),
        benchmark=[plan.questions(subset) for subset in study.drawn_subsets],
    output:
        questions="results/benchmark/instructions/questions.jsonl",
        filters="results/benchmark/instructions/filters.csv",
    log:
        "logs/benchmark/instructions.log",
    benchmark:
        "results/rule_times/benchmark/instructions.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        code=plan.code("benchmark/build_instructions.py"),
        settings=config["training"]["instructions"],
        seed=config["seed"],
    message:
        "Training prompts, disjoint from the benchmark"
    script:
        "../workflow_scripts/benchmark/build_instructions.py"
