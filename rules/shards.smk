# Training prompts in shards: `training.prompts_per_shard`. Each is spoken, transcribed and answered by jobs of its own; an
# index over all of them stands where one job would have written its file.
PROMPTS = "results/benchmark/instructions/questions.jsonl"
SHARD = "results/benchmark/instructions/shards/{shard}.jsonl"
SPOKEN = "results/speech/{voice}/instructions/shards/{shard}"

if len(study.prompt_shards) > 1:

    ruleorder: join_synthesis > synthesize_speech
    ruleorder: join_transcripts > transcribe_speech
    ruleorder: join_answers > answer_instructions

    rule split_prompts:
        input:
            questions=PROMPTS,
        output:
            shards=expand(SHARD, shard=study.prompt_shards),
        log:
            "logs/benchmark/instructions.shards.log",
        benchmark:
            "results/rule_times/benchmark/instructions.shards.tsv"
        conda:
            "../envs/analysis.yaml"
        threads: 1
        resources:
            mem_mb=4000,
            runtime=30,
        params:
            code=plan.code("shards/split_prompts.py"),
            seed=config["seed"],
        message:
            "Training prompts in shards"
        script:
            "../workflow_scripts/shards/split_prompts.py"

    use rule synthesize_speech as speak_shard with:
        input:
            questions=SHARD,
            recordings=plan.recordings,
        output:
            manifest=f"{SPOKEN}/synthesis.jsonl",
        log:
            "logs/speech/{voice}/instructions/{shard}.synthesis.log",
        benchmark:
            "results/rule_times/speech/{voice}/instructions/{shard}.synthesis.tsv"
        params:
            code=plan.code(
                "speech/synthesize_speech.py",
                VOICES=plan.engine_of_voice,
                ENGINES=plan.engine_of_voice,
            ),
            voice=lookup(dpath="{voice}", within=config["speech"]["voices"]),
            subset="instructions",
            max_seconds=config["speech"]["max_seconds"],
            retries=config["speech"]["retries"],
        message:
            "Speak training prompts {wildcards.shard} with voice {wildcards.voice}"

    use rule transcribe_speech as transcribe_shard with:
        input:
            questions=SHARD,
            synthesis=f"{SPOKEN}/synthesis.jsonl",
            asr=f"resources/{config['speech']['asr']['asset']}/asset.json",
        output:
            manifest=f"{SPOKEN}/manifest.jsonl",
        log:
            "logs/speech/{voice}/instructions/{shard}.transcripts.log",
        benchmark:
            "results/rule_times/speech/{voice}/instructions/{shard}.transcripts.tsv"
        params:
            code=plan.code("speech/transcribe_speech.py"),
            asr=config["speech"]["asr"],
            wer_limit=config["speech"]["training_wer_limit"],
        message:
            "Transcripts and word error rates of training prompts {wildcards.shard}"

    use rule answer_instructions as answer_shard with:
        input:
            questions=SHARD,
            backbone="resources/{backbone}/asset.json",
        output:
            answers="results/training/answers/{backbone}/{shard}.jsonl",
        log:
            "logs/training/answers/{backbone}/{shard}.log",
        benchmark:
            "results/rule_times/training/answers/{backbone}/{shard}.tsv"
        message:
            "Answers of {wildcards.backbone} to training prompts {wildcards.shard}"

    rule join_synthesis:
        input:
            questions=PROMPTS,
            parts=expand(
                f"{SPOKEN}/synthesis.jsonl",
                shard=study.prompt_shards,
                allow_missing=True,
            ),
        output:
            "results/speech/{voice}/instructions/synthesis.jsonl",
        log:
            "logs/speech/{voice}/instructions.synthesis.log",
        benchmark:
            "results/rule_times/speech/{voice}/instructions.synthesis.tsv"
        conda:
            "../envs/analysis.yaml"
        threads: 1
        resources:
            mem_mb=4000,
            runtime=30,
        params:
            code=plan.code("shards/join_shards.py", KINDS=["synthesis"]),
            kind="synthesis",
        message:
            "Index of the spoken training prompts"
        script:
            "../workflow_scripts/shards/join_shards.py"

    use rule join_synthesis as join_transcripts with:
        input:
            questions=PROMPTS,
            parts=expand(
                f"{SPOKEN}/manifest.jsonl",
                shard=study.prompt_shards,
                allow_missing=True,
            ),
        output:
            "results/speech/{voice}/instructions/manifest.jsonl",
        log:
            "logs/speech/{voice}/instructions.transcripts.log",
        benchmark:
            "results/rule_times/speech/{voice}/instructions.transcripts.tsv"
        params:
            code=plan.code("shards/join_shards.py", KINDS=["utterances"]),
            kind="utterances",
        message:
            "Index of the transcripts of the training prompts"

    use rule join_synthesis as join_answers with:
        input:
            questions=PROMPTS,
            parts=expand(
                "results/training/answers/{backbone}/{shard}.jsonl",
                shard=study.prompt_shards,
                allow_missing=True,
            ),
        output:
            "results/training/answers/{backbone}.jsonl",
        log:
            "logs/training/answers/{backbone}.log",
        benchmark:
            "results/rule_times/training/answers/{backbone}.tsv"
        params:
            code=plan.code("shards/join_shards.py", KINDS=["answers"]),
            kind="answers",
        message:
            "Answers of {wildcards.backbone} to all training prompts"
