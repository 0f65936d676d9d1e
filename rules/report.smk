rule build_tables:
    input:
        gap="results/evaluation/gap.csv",
        decline="results/evaluation/decline.csv",
        cascade="results/evaluation/cascade.csv",
        checkpoints="results/correlation/checkpoints.csv",
        tests="results/intervention/tests.csv",
        cases="results/intervention/cases.csv",
    output:
        **plan.tables(report),
    log:
        "logs/report/tables.log",
    benchmark:
        "results/rule_times/report/tables.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        code=plan.code("report/build_tables.py"),
        display=config["display"],
    message:
        "Tables in the paper's layouts, CSV and LaTeX"
    script:
        "../workflow_scripts/report/build_tables.py"


rule build_manifest:
    input:
        tables=plan.result_files(),
        assets=plan.used_assets(),
        checkpoints=plan.checkpoint_indices(),
        questions=[plan.questions(subset) for subset in plan.subsets],
        manifests=[plan.manifest(subset) for subset in plan.spoken_subsets],
    output:
        manifest="results/report/manifest.json",
    log:
        "logs/report/manifest.log",
    benchmark:
        "results/rule_times/report/manifest.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        code=plan.code("report/build_manifest.py"),
        identity=plan.identity(),
    message:
        "Manifest: config, versions, weights, samples, times and checksums"
    script:
        "../workflow_scripts/report/build_manifest.py"


rule build_report:
    input:
        templates=["workflow_scripts/report/report.html.j2"],
        figures=plan.figure_files("svg"),
        tables=[*JUDGEMENTS, "results/correlation/regression.csv", *plan.table_files("csv")],
        gap="results/evaluation/gap.csv",
        decline="results/evaluation/decline.csv",
        checkpoints="results/correlation/checkpoints.csv",
        logs=plan.training_logs(),
        questions=[plan.questions(subset) for subset in plan.subsets],
        utterances=[plan.manifest(subset) for subset in plan.subsets],
        answers=plan.last_answers(),
        scores=plan.last_scores(),
        manifest="results/report/manifest.json",
    output:
        html=report(
            "results/report/index.html",
            caption="../report/page.rst",
            category="Report",
        ),
    log:
        "logs/report/report.log",
    benchmark:
        "results/rule_times/report/report.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=20,
    params:
        code=plan.code("report/build_report.py", REFERENCE_TEXTS=plan.scorers),
        models=plan.model_facts(),
        trained=plan.trained_models,
        figure_texts={
            name: {"title": figure.title, "caption": figure.caption}
            for name, figure in FIGURES.items()
        },
        subsets=plan.subset_notes(),
        samples=8,
        display=config["display"],
    message:
        "The report page"
    script:
        "../workflow_scripts/report/build_report.py"
