rule build_tables:
    input:
        **({"floors": "results/evaluation/floors.csv"} if study.floor_subsets else {}),
        gap="results/evaluation/gap.csv",
        decline="results/evaluation/decline.csv",
        cascade="results/evaluation/cascade.csv",
        tags="results/evaluation/tags.csv",
        checkpoints="results/correlation/checkpoints.csv",
        tests="results/intervention/tests.csv",
        cases="results/intervention/cases.csv",
    output:
        **table_outputs(report),
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
        tables=result_files(study),
        assets=used_assets(study),
        checkpoints=checkpoint_indices(study),
        questions=[plan.questions(subset) for subset in study.subsets],
        manifests=[plan.manifest(subset) for subset in study.spoken_subsets],
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
        identity=study.identity(),
    message:
        "Manifest: config, versions, weights, samples, times and checksums"
    script:
        "../workflow_scripts/report/build_manifest.py"


rule build_report:
    input:
        templates=["workflow_scripts/report/report.html.j2"],
        figures=[f"results/figures/{name}.svg" for name in plan.figures],
        tables=[*JUDGEMENTS, "results/correlation/regression.csv", *table_files("csv")],
        gap="results/evaluation/gap.csv",
        decline="results/evaluation/decline.csv",
        checkpoints="results/correlation/checkpoints.csv",
        logs=study.training_logs(),
        questions=[plan.questions(subset) for subset in study.subsets],
        utterances=[plan.manifest(subset) for subset in study.subsets],
        answers=study.files(ANSWERS, last=True),
        scores=study.files(SCORES, last=True),
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
        code=plan.code("report/build_report.py", REFERENCE_TEXTS=study.scorers),
        models=study.model_facts(),
        trained=study.trained_models,
        figure_texts={
            name: {"title": FIGURES[name].title, "caption": FIGURES[name].caption}
            for name in plan.figures
        },
        subsets=study.subset_notes(),
        samples=8,
        display=config["display"],
    message:
        "The report page"
    script:
        "../workflow_scripts/report/build_report.py"
