rule align_tokens:
    input:
        states="results/activations/{model}/{checkpoint}/{subset}/{shard}.h5",
        words=plan.word_times,
    output:
        alignment="results/alignment/{model}/{checkpoint}/{subset}/{shard}.h5",
    log:
        "logs/alignment/{model}/{checkpoint}/{subset}/{shard}.log",
    benchmark:
        "results/rule_times/alignment/{model}/{checkpoint}/{subset}/{shard}.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=60,
    params:
        code=plan.code("alignment/align_tokens.py", MEASURES=plan.measures("token")),
        draws=config["chance"]["draws"],
        seed=config["seed"],
        examples=1,
    message:
        "Alignment paths of {wildcards.model} {wildcards.checkpoint} on {wildcards.subset}"
    script:
        "../workflow_scripts/alignment/align_tokens.py"
