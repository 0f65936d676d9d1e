rule synthesize_speech:
    input:
        questions="results/benchmark/{subset}/questions.jsonl",
        recordings=plan.recordings,
    output:
        manifest="results/speech/{voice}/{subset}/synthesis.jsonl",
    log:
        "logs/speech/{voice}/{subset}.synthesis.log",
    benchmark:
        "results/rule_times/speech/{voice}/{subset}.synthesis.tsv"
    conda:
        "../envs/speech.yaml"
    threads: 8
    resources:
        mem_mb=plan.books.speaking,
        runtime=240,
    params:
        code=plan.code(
            "speech/synthesize_speech.py",
            VOICES=plan.engine_of_voice,
            ENGINES=plan.engine_of_voice,
        ),
        voice=lookup(dpath="{voice}", within=config["speech"]["voices"]),
        subset="{subset}",
        max_seconds=config["speech"]["max_seconds"],
        retries=config["speech"]["retries"],
    message:
        "Speak {wildcards.subset} with voice {wildcards.voice}"
    script:
        "../workflow_scripts/speech/synthesize_speech.py"


rule encode_speech:
    input:
        manifest="results/speech/{voice}/{subset}/synthesis.jsonl",
        encoder="resources/{encoder}/asset.json",
    output:
        features="results/speech/{voice}/{subset}/{encoder}.features.h5",
    log:
        "logs/speech/{voice}/{subset}.{encoder}.features.log",
    benchmark:
        "results/rule_times/speech/{voice}/{subset}.{encoder}.features.tsv"
    conda:
        "../envs/models.yaml"
    threads: 8
    resources:
        mem_mb=plan.books.features,
        runtime=240,
        gpu=plan.gpus_per_job,
    params:
        code=plan.code("speech/encode_speech.py"),
        window_seconds=config["speech"]["window_seconds"],
        padded=plan.padded_utterances,
    message:
        "Encoder features of {wildcards.subset} by {wildcards.encoder}"
    script:
        "../workflow_scripts/speech/encode_speech.py"


rule encode_silence:
    input:
        manifest="results/speech/{voice}/{subset}/synthesis.jsonl",
        encoder="resources/{encoder}/asset.json",
    output:
        features="results/speech/{voice}/{subset}/{encoder}.silence.h5",
    log:
        "logs/speech/{voice}/{subset}.{encoder}.silence.log",
    benchmark:
        "results/rule_times/speech/{voice}/{subset}.{encoder}.silence.tsv"
    conda:
        "../envs/models.yaml"
    threads: 1
    resources:
        mem_mb=plan.books.features,
        runtime=60,
        gpu=plan.gpus_per_job,
    params:
        code=plan.code("speech/encode_silence.py"),
        window_seconds=config["speech"]["window_seconds"],
    message:
        "Encoder features of silence as long as {wildcards.subset}, by {wildcards.encoder}"
    script:
        "../workflow_scripts/speech/encode_silence.py"


rule transcribe_speech:
    input:
        questions="results/benchmark/{subset}/questions.jsonl",
        synthesis="results/speech/{voice}/{subset}/synthesis.jsonl",
        asr=f"resources/{config['speech']['asr']['asset']}/asset.json",
    output:
        manifest="results/speech/{voice}/{subset}/manifest.jsonl",
    log:
        "logs/speech/{voice}/{subset}.transcripts.log",
    benchmark:
        "results/rule_times/speech/{voice}/{subset}.transcripts.tsv"
    conda:
        "../envs/models.yaml"
    threads: 8
    resources:
        mem_mb=plan.books.transcripts,
        runtime=240,
        gpu=plan.gpus_per_job,
    params:
        code=plan.code("speech/transcribe_speech.py"),
        asr=config["speech"]["asr"],
        wer_limit=lambda wildcards: config["speech"][
            (
                "training_wer_limit"
                if wildcards.subset == "instructions"
                else "benchmark_wer_limit"
            )
        ],
    message:
        "Transcripts and word error rates of {wildcards.subset}"
    script:
        "../workflow_scripts/speech/transcribe_speech.py"


rule time_words:
    input:
        questions="results/benchmark/{subset}/questions.jsonl",
        manifest="results/speech/{voice}/{subset}/manifest.jsonl",
        asr=f"resources/{config['speech']['asr']['asset']}/asset.json",
    output:
        times="results/speech/{voice}/{subset}/word_times.jsonl",
    log:
        "logs/speech/{voice}/{subset}.word_times.log",
    benchmark:
        "results/rule_times/speech/{voice}/{subset}.word_times.tsv"
    conda:
        "../envs/models.yaml"
    threads: 1
    resources:
        mem_mb=plan.books.transcripts,
        runtime=120,
        gpu=plan.gpus_per_job,
    params:
        code=plan.code(
            "speech/time_words.py",
            VOICES=plan.engine_of_voice,
            TIMERS=plan.engine_of_voice,
        ),
        voice=lookup(dpath="{voice}", within=config["speech"]["voices"]),
    message:
        "When each word of {wildcards.subset} is spoken"
    script:
        "../workflow_scripts/speech/time_words.py"


rule compare_transcripts:
    input:
        questions=[plan.questions(subset) for subset in study.subsets],
        manifests=[plan.manifest(subset) for subset in study.subsets],
    output:
        recordings="results/speech/recordings.csv",
        disagreements="results/speech/disagreements.csv",
    log:
        "logs/speech/compare_transcripts.log",
    benchmark:
        "results/rule_times/speech/compare_transcripts.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        code=plan.code("speech/compare_transcripts.py"),
        voices={subset: study.voice(subset) for subset in study.subsets},
    message:
        "Clips that say something else than their text"
    script:
        "../workflow_scripts/speech/compare_transcripts.py"
