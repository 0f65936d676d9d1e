rule measure_similarity:
    input:
        states="results/activations/{model}/{checkpoint}/{subset}/{shard}.h5",
    output:
        similarity="results/similarity/{model}/{checkpoint}/{subset}/{shard}.h5",
    log:
        "logs/similarity/{model}/{checkpoint}/{subset}/{shard}.log",
    benchmark:
        "results/rule_times/similarity/{model}/{checkpoint}/{subset}/{shard}.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=60,
    params:
        code=plan.code(
            "similarity/measure_similarity.py", MEASURES=plan.measures("pair", "shard")
        ),
        draws=config["chance"]["draws"],
        massive=config["chance"]["massive_dimensions"],
        seed=config["seed"],
    message:
        "Sequence similarity of {wildcards.model} {wildcards.checkpoint} on {wildcards.subset}"
    script:
        "../workflow_scripts/similarity/measure_similarity.py"
