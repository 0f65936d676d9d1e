rule plot:
    input:
        unpack(plan.figure_inputs),
    output:
        pdf="results/figures/{figure}.pdf",
        png="results/figures/{figure}.png",
        svg=report(
            "results/figures/{figure}.svg",
            caption="../report/figure.rst",
            category=lambda wildcards: FIGURES[wildcards.figure].category,
            labels=lambda wildcards: {"figure": FIGURES[wildcards.figure].label},
        ),
    log:
        "logs/figures/{figure}.log",
    benchmark:
        "results/rule_times/figures/{figure}.tsv"
    wildcard_constraints:
        figure="|".join(FIGURES),
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        code=plan.code(
            "figures/plot.py",
            functions=lambda wildcards: FIGURES[wildcards.figure].function,
            TABLES=plan.figure_tables,
        ),
        draw=lambda wildcards: FIGURES[wildcards.figure].function,
        display=plan.figure_display,
        # Told its output, so that Snakemake takes it for a consequence: another caption draws nothing again.
        caption=lambda wildcards, output: FIGURES[wildcards.figure].caption,
    message:
        "Figure: {wildcards.figure}"
    script:
        "../workflow_scripts/figures/plot.py"
