rule probe_states:
    input:
        states=study.probed_files(STATES),
        words=[plan.times(subset) for subset in study.probed_subsets],
        questions=[plan.questions(subset) for subset in study.probed_subsets],
    output:
        table="results/probes/{model}/{checkpoint}.csv",
    log:
        "logs/probes/{model}/{checkpoint}.log",
    benchmark:
        "results/rule_times/probes/{model}/{checkpoint}.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=3000,
        runtime=120,
    params:
        code=plan.code("probes/probe_states.py"),
        probes=config["probes"],
        speakers=study.speakers(),
        seed=config["seed"],
    message:
        "What linear probes read off the states of {wildcards.model} {wildcards.checkpoint}"
    script:
        "../workflow_scripts/probes/probe_states.py"


rule join_probes:
    input:
        tables=study.probe_tables(),
    output:
        table="results/probes/probes.csv",
    log:
        "logs/probes/join_probes.log",
    benchmark:
        "results/rule_times/probes/join_probes.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        code=plan.code("probes/join_probes.py"),
    message:
        "Probes of all models"
    script:
        "../workflow_scripts/probes/join_probes.py"
