rule answer_instructions:
    input:
        questions="results/benchmark/instructions/questions.jsonl",
        backbone="resources/{backbone}/asset.json",
    output:
        answers="results/training/answers/{backbone}.jsonl",
    log:
        "logs/training/answers/{backbone}.log",
    benchmark:
        "results/rule_times/training/answers/{backbone}.tsv"
    conda:
        "../envs/models.yaml"
    threads: 8
    resources:
        mem_mb=plan.books.instructions,
        runtime=240,
        gpu=plan.gpus_per_job,
    params:
        code=plan.code(
            "training/answer_instructions.py",
            REFERENCE_TEXTS=["repeat", "short_answer"],
        ),
        max_new_tokens=config["training"]["instructions"]["max_new_tokens"],
        batch_size=config["evaluation"]["batch_size"],
        system_prompt=config["system_prompt"],
    message:
        "Answers of {wildcards.backbone} to the training prompts"
    script:
        "../workflow_scripts/training/answer_instructions.py"


rule warm_up_adapter:
    input:
        questions="results/benchmark/instructions/questions.jsonl",
        manifest=plan.manifest("instructions"),
        features=plan.training_features,
        backbone="resources/{backbone}/asset.json",
        encoder="resources/{encoder}/asset.json",
    output:
        adapter="results/training/warmup/{backbone}/{encoder}/{recipe}/{train_seed}/adapter.safetensors",
        curve="results/training/warmup/{backbone}/{encoder}/{recipe}/{train_seed}/log.csv",
    log:
        "logs/training/warmup/{backbone}/{encoder}/{recipe}/{train_seed}.log",
    benchmark:
        "results/rule_times/training/warmup/{backbone}/{encoder}/{recipe}/{train_seed}.tsv"
    conda:
        "../envs/models.yaml"
    threads: 8
    resources:
        mem_mb=plan.books.warm_up,
        runtime=480,
        gpu=plan.gpus_per_job,
    params:
        **plan.online_params(),
        code=plan.code("training/warm_up_adapter.py", FEATURES=plan.features_kind),
        recipe=lookup(dpath="{recipe}", within=config["training"]["recipes"]),
        seed=lambda wildcards: int(wildcards.train_seed),
    message:
        "CTC warm-up of the adapter for {wildcards.backbone}, seed {wildcards.train_seed}"
    script:
        "../workflow_scripts/training/warm_up_adapter.py"


rule check_training:
    input:
        backbone=plan.asset("backbone"),
    output:
        checked="results/training/{model}/checked.json",
    log:
        "logs/training/{model}.checked.log",
    benchmark:
        "results/rule_times/training/{model}.checked.tsv"
    priority: 1
    conda:
        "../envs/models.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        code=plan.code("training/check_settings.py"),
        layers=plan.named_layers,
        targets=plan.lora_targets,
    message:
        "Layers and LoRA targets of {wildcards.model} exist in its backbone"
    script:
        "../workflow_scripts/training/check_settings.py"


rule train_model:
    input:
        questions="results/benchmark/instructions/questions.jsonl",
        manifest=plan.manifest("instructions"),
        features=plan.training_features,
        answers=plan.model_answers,
        backbone=plan.asset("backbone"),
        encoder=plan.asset("encoder"),
        warmup=plan.model_warmup,
    output:
        checkpoints="results/training/{model}/checkpoints.json",
        curve="results/training/{model}/log.csv",
    log:
        "logs/training/{model}.log",
    benchmark:
        "results/rule_times/training/{model}.tsv"
    conda:
        "../envs/models.yaml"
    threads: 8
    resources:
        mem_mb=plan.books.training,
        runtime=2880,
        gpu=plan.training_gpus,
    params:
        **plan.online_params(),
        code=plan.code(
            "training/start_training.py",
            FEATURES=plan.features_kind,
            OBJECTIVES=plan.objective,
            DISTILLATIONS=plan.distillation,
        ),
        name="{model}",
        model=lookup(dpath="{model}", within=config["models"]),
        recipe=plan.recipe,
        system_prompt=config["system_prompt"],
    message:
        "Train {wildcards.model}"
    script:
        "../workflow_scripts/training/start_training.py"
