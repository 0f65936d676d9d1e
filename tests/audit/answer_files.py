"""Files as the five harnesses write them: the same answers in every format, for the tests of their readers."""

import csv
import json
from pathlib import Path

CLOSING = "What is the answer to the above multiple choice question? Select one of the following: A, B, C, or D."
TEXT = ["The answer is B.", "C", "I would choose A. It is dry.", "**D**", "The answer is B. It floats.", "A"]
SPEECH = ["B, because it is wet.", "The answer is a thing", "A", "", "The answer is C. It sinks.", "A. gravel"]
GOLD = ["B", "C", "A", "D", "B", "A"]


def prompt(number: int) -> str:
    """Question `number` as VoiceBench writes it."""
    options = "\n".join(f"{letter}. {word} {number}" for letter, word in zip("ABCD", ("sand", "mud", "ash", "clay")))
    return f"Which one is question {number} about?\n{options}\n{CLOSING}"


def lines(path: Path, rows) -> Path:
    """Write JSON lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def voicebench(folder: Path, form: str, answers) -> Path:
    """`{model}-{data}-{split}-{modality}.jsonl` of main.py."""
    modality = {"text": "text", "speech": "audio", "asr": "text-whisper"}[form]
    rows = [
        {"prompt": prompt(number), "reference": gold, "response": answer}
        for number, (gold, answer) in enumerate(zip(GOLD, answers))
    ]
    return lines(folder / f"qwen2-openbookqa-test-{modality}.jsonl", rows)


def lmms_eval(folder: Path, form: str, answers) -> Path:
    """`{date}_samples_{task}.jsonl`; target and input are the fixed texts that its VoiceBench tasks give."""
    rows = [
        {
            **{"doc_id": number, "target": "target_text", "filtered_resps": answer, "token_counts": [None]},
            **{"doc_hash": f"{number:064x}", "accuracy": 100.0 if answer[:1] == gold else 0.0, "failure rate": 0.0},
            "input": "Please listen to the audio and provide your response.",
        }
        for number, (gold, answer) in enumerate(zip(GOLD, answers))
    ]
    return lines(folder / form / "20261101_120000_samples_voicebench_openbookqa.jsonl", rows)


def ultraeval_audio(folder: Path, form: str, answers) -> Path:
    """`res/{model}/{dataset}/{time}.jsonl`: events, written as threads finish."""
    rows = []
    for number, (gold, answer) in enumerate(zip(GOLD, answers)):
        kind, value = ("text", prompt(number)) if form != "speech" else ("audio", f"raw/{number}.wav")
        content = [{"role": "user", "contents": [{"type": kind, "value": value}]}]
        rows.append({"type": "prompt", "id": number, "data": {"content": content}})
        output = json.dumps({"text": answer, "audio": "/tmp/a.wav"}) if form == "speech" else answer
        rows.append({"type": "inference", "id": number, "data": {"content": output}})
        judged = {"pred": answer, "ref": gold.lower(), "match": int(answer[:1] == gold), "extract_fail": 0}
        rows.append({"type": "eval", "id": number, "data": judged})
    return lines(folder / f"qwen-{form}" / "voice_bench_openbookqa" / "2026.jsonl", rows[::2] + rows[1::2])


def au_harness(folder: Path, form: str, answers) -> Path:
    """`{task}_{metric}_{model}.csv` of write_record_log."""
    path = folder / form / "openbookqa" / "openbookqa_llm_judge_binary_qwen.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", encoding="utf-8", newline="") as out:
        writer = csv.writer(out, quoting=csv.QUOTE_ALL)
        writer.writerow(
            ["instruction", "reference", "candidate", "score", "explanation", "response_code", "is_final_score"]
        )
        for number, (gold, answer) in enumerate(zip(GOLD, answers)):
            score = float(answer[:1] == gold)
            writer.writerow([prompt(number), gold, answer, score, "line one\nline two", 200, "False"])
    return path


def kimi_evalkit(folder: Path, form: str, answers) -> Path:
    """`{model}_{dataset}.jsonl` of run_audio.py."""
    rows = [
        {
            **{"index": number, "question": "", "audio_content": prompt(number), "audio_path": f"{number}.wav"},
            **{"subset": "openbookqa", "task_type": "audio2text", "answer": gold, "prediction": answer},
            "real_prompt": "",
        }
        for number, (gold, answer) in enumerate(zip(GOLD, answers))
    ]
    return lines(folder / form / "kimi_openbookqa.jsonl", rows)


def jsonl(folder: Path, form: str, answers) -> Path:
    """The plain format of docs/audit.md."""
    rows = [
        {"id": f"q{number}", "prompt": prompt(number), "reference": gold, "answer": answer, "finish_reason": "stop"}
        for number, (gold, answer) in enumerate(zip(GOLD, answers))
    ]
    return lines(folder / f"{form}.jsonl", rows)


def questions(folder: Path) -> Path:
    """What lmms-eval leaves out."""
    rows = [{"prompt": prompt(number), "reference": gold} for number, gold in enumerate(GOLD)]
    return lines(folder / "questions.jsonl", rows)


WRITERS = {
    "voicebench": voicebench,
    "lmms-eval": lmms_eval,
    "ultraeval-audio": ultraeval_audio,
    "au-harness": au_harness,
    "kimi-evalkit": kimi_evalkit,
    "jsonl": jsonl,
}
