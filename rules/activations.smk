STATES = "results/activations/{model}/{checkpoint}/{subset}/{shard}.h5"


rule dump_states:
    input:
        questions="results/benchmark/{subset}/questions.jsonl",
        manifest=plan.model_manifest,
        features=plan.model_features,
        model=plan.checkpoint_index,
        backbone=plan.asset("backbone"),
        encoder=plan.asset("encoder"),
        quantizer=plan.asset("quantizer"),
    output:
        states=STATES if config["activations"]["keep"] else temp(STATES),
        readings="results/activations/{model}/{checkpoint}/{subset}/{shard}.readings.h5",
    log:
        "logs/activations/{model}/{checkpoint}/{subset}/{shard}.log",
    benchmark:
        "results/rule_times/activations/{model}/{checkpoint}/{subset}/{shard}.tsv"
    conda:
        "../envs/models.yaml"
    threads: plan.books.threads
    resources:
        mem_mb=plan.books.states,
        runtime=240,
        gpu=plan.gpus_per_job,
    params:
        code=plan.code("activations/dump_states.py", FAMILIES=plan.family),
        checkpoint="{checkpoint}",
        shard="{shard}",
        activations=lambda wildcards: {
            key: config["activations"][key]
            for key in ("batch_size", "compression", "layers", "reading_questions")
        },
        system_prompt=config["system_prompt"],
        entry=plan.entry,
        seed=config["seed"],
    message:
        "Hidden states of {wildcards.model} {wildcards.checkpoint} on {wildcards.subset}"
    script:
        "../workflow_scripts/activations/dump_states.py"


rule measure_responses:
    input:
        questions=[plan.questions(subset) for subset in study.analysed_subsets],
        manifest=[plan.manifest(subset) for subset in study.analysed_subsets],
        features=plan.analysed_features,
        text=plan.first_answers("text"),
        speech=plan.first_answers("speech"),
        words=plan.lens_times,
        model=plan.checkpoint_index,
        backbone=plan.asset("backbone"),
        encoder=plan.asset("encoder"),
    output:
        responses="results/activations/{model}/{checkpoint}/responses.h5",
    log:
        "logs/activations/{model}/{checkpoint}/responses.log",
    benchmark:
        "results/rule_times/activations/{model}/{checkpoint}/responses.tsv"
    conda:
        "../envs/models.yaml"
    threads: plan.books.threads
    resources:
        mem_mb=plan.books.responses,
        runtime=240,
        gpu=plan.gpus_per_job,
    params:
        code=plan.code(
            "activations/measure_responses.py",
            FAMILIES=plan.family,
            REFERENCE_TEXTS=study.scorers,
        ),
        checkpoint="{checkpoint}",
        shards=[study.shards(subset)[0] for subset in study.analysed_subsets],
        settings=config["responses"],
        entry=plan.entry,
        system_prompt=config["system_prompt"],
        seed=config["seed"],
    message:
        "Divergence between forms of {wildcards.model} {wildcards.checkpoint}"
    script:
        "../workflow_scripts/activations/measure_responses.py"
