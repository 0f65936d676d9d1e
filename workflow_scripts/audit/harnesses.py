"""Readers of the files that evaluation harnesses write for each answer; one function a format, registered below.

Formats as of: VoiceBench 5338154 (`main.py`, `api_judge.py`), lmms-eval 75571cfe (`save_results_samples`),
UltraEval-Audio 9b69da6 (`eval_task.py`, `recorder.py`), AU-Harness daa0616 (`write_record_log`), Kimi-Audio-Evalkit
4080c49 (`run_audio.py`). None of them stores which written answer belongs to a spoken one: see `pairing`.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from workflow_scripts.audit.given import AuditError, GivenAnswer
from workflow_scripts.audit.rows import Row, csv_rows, instructions, json_rows, optional_text, text_field, texts

_SUBSETS = (
    *("advbench", "ifeval", "openbookqa", "mmsu", "sd-qa", "bbh", "alpacaeval_full", "alpacaeval", "commoneval"),
    *("wildvoice", "mtbench"),
)
"""Subsets of VoiceBench as the names of files and tasks spell them."""
REGIONS = ("aus", "gbr", "ind_n", "ind_s", "irl", "kenya", "nga", "nzl", "phl", "usa", "zaf")
DOMAINS = (
    *("law", "engineering", "other", "biology", "business", "economics", "health", "philosophy", "psychology"),
    *("history", "chemistry", "physics"),
)
_GROUPS = ("skill", "domain", "category")
_FINISH = ("finish_reason", "stop_reason")


def voicebench(path: Path) -> list[GivenAnswer]:
    """`{model}-{data}-{split}-{modality}.jsonl` of main.py, or `result-*.jsonl` of api_judge.py."""
    found = []
    for number, row in json_rows(path):
        place = f"{path}, line {number}"
        recorded = _votes(row["score"], place) if "score" in row else {}
        found.append(
            _answer(path, number, row, ("response",), ("id", "question_id", "key"), ("reference",), recorded=recorded)
        )
    return found


def jsonl(path: Path) -> list[GivenAnswer]:
    """The plain format of docs/audit.md, and the workflow's own answers.jsonl (with `--questions questions.jsonl`)."""
    found = []
    for number, row in json_rows(path):
        if isinstance(row.get("options"), dict):  # answers.jsonl: their probabilities, not their texts
            row = {name: value for name, value in row.items() if name != "options"}
        found.append(_answer(path, number, row, ("answer", "response"), ("id",), ("reference",)))
    return found


def kimi_evalkit(path: Path) -> list[GivenAnswer]:
    """`{model}_{dataset}.jsonl`, or the same with judgements, `*_judge.jsonl`; prediction `null` means: it failed."""
    found = []
    for number, row in json_rows(path):
        place = f"{path}, line {number}"
        judged = row.get("judge_result")
        recorded = {"judge": float(str(judged).lower() == "yes")} if judged in ("yes", "no") else {}
        failed = "the harness recorded 'null'" if text_field(row, ("prediction",), place) == "null" else ""
        row = row | {"instruction_id_list": row.get("instruction"), "kwargs": row.get("instruction_kwargs")}
        found.append(
            _answer(
                *(path, number, row, ("prediction",), ("index",), ("answer",)),
                prompt=("audio_content", "question"),
                recorded=recorded,
                failed=failed,
            )
        )
    return found


def au_harness(path: Path) -> list[GivenAnswer]:
    """`run_logs/.../{task}_{metric}_{model}.csv`; there is no id, and a response code other than 200 is a failure."""
    found = []
    for number, row in csv_rows(path, ("instruction", "reference", "candidate")):
        if row.get("is_final_score") == "True":
            continue
        code = row.get("response_code", "")
        failed = f"response code {code}" if code not in ("", "200") else ""
        found.append(
            _answer(
                *(path, number, row, ("candidate",), (), ("reference",)),
                prompt=("instruction",),
                recorded=_numbers({"score": row.get("score")}),
                failed=failed,
            )
        )
    return found


def lmms_eval(path: Path) -> list[GivenAnswer]:
    """`{date}_samples_{task}.jsonl`. The document is not in it: its VoiceBench tasks leave neither the question nor
    the reference there (`input` and `target` are one fixed text), so both come from `--questions`."""
    rows = list(json_rows(path))
    fixed = {
        name for name in ("input", "target") if len(rows) > 1 and len({str(row.get(name)) for _, row in rows}) == 1
    }
    known = {"doc_id", "target", "filtered_resps", "resps", "input", "doc_hash", "token_counts", "input_media"}
    found = []
    for number, row in rows:
        place = f"{path}, line {number}"
        if "doc_id" not in row:
            raise AuditError(
                f"{place}, field 'doc_id': missing (the line has {sorted(row)[:14]}); is it a samples file?"
            )
        answer = row.get("filtered_resps", row.get("resps"))
        while isinstance(answer, list) and len(answer) == 1:
            answer = answer[0]
        if not isinstance(answer, str):
            raise AuditError(
                f"{place}, field 'filtered_resps': {str(answer)[:60]!r} is not one text; only generate_until tasks of "
                "one request per sample have a text to score"
            )
        plain = {
            "answer": answer,
            "id": row["doc_id"],
            "prompt": "" if "input" in fixed else row.get("input"),
            "reference": None if "target" in fixed else row.get("target"),
        }
        recorded = _numbers({name: value for name, value in row.items() if name not in known})
        found.append(_answer(path, number, plain, ("answer",), ("id",), ("reference",), recorded=recorded))
        if isinstance(row.get("doc_hash"), str):
            found[-1].keys["hash"] = row["doc_hash"]
    return found


def ultraeval_audio(path: Path) -> list[GivenAnswer]:
    """`res/{model}/{dataset}/{time}.jsonl`: events joined by `id`; an `error` without an answer is a failure."""
    events: dict[str, dict[str, tuple[int, Any]]] = {}
    for number, row in json_rows(path):
        place = f"{path}, line {number}"
        kind = text_field(row, ("type",), place)
        if kind not in ("prompt", "inference", "post_process", "eval", "error"):
            raise AuditError(f"{place}, field 'type': unknown event {kind!r}; this reader knows UltraEval-Audio 1.x")
        if "id" not in row:
            raise AuditError(f"{place}, field 'id': missing; this reader knows UltraEval-Audio 1.x")
        of_one = events.setdefault(str(row["id"]), {})
        if kind in of_one and kind != "error":
            raise AuditError(
                f"{place}: a second event {kind!r} of id {row['id']!r}, the first is line {of_one[kind][0]}"
            )
        of_one[kind] = (number, row.get("data"))
    return [_of_events(path, name, of_one) for name, of_one in events.items()]


def _of_events(path: Path, name: str, events: Mapping[str, tuple[int, Any]]) -> GivenAnswer:
    number, output = events.get("post_process") or events.get("inference") or next(iter(events.values()))
    answered = "post_process" in events or "inference" in events
    failed = "" if answered else "the harness recorded an error" if "error" in events else "no inference was recorded"
    judged = events.get("eval", (0, {}))[1]
    judged = judged if isinstance(judged, dict) else {}
    reference = judged.get("ref")
    if isinstance(reference, str) and re.fullmatch("[a-z]", reference):
        reference = reference.upper()  # its multiple-choice evaluator lower-cases the letter
    row = {
        "answer": _spoken_text(output, f"{path}, line {number}") if answered else "",
        "id": name,
        "prompt": _prompt_text(events.get("prompt", (0, {}))[1]),
        "reference": reference,
    }
    recorded = _numbers({key: value for key, value in judged.items() if key not in ("pred", "ref")})
    return _answer(path, number, row, ("answer",), ("id",), ("reference",), recorded=recorded, failed=failed)


def _spoken_text(data: Any, place: str) -> str:
    """The text of an output: plain, or the `text` of a model that answers in text and audio."""
    content = data.get("content") if isinstance(data, dict) else data
    if isinstance(content, str) and content.startswith("{"):
        try:
            content = json.loads(content)
        except json.JSONDecodeError:
            return content
    if isinstance(content, dict):
        content = content.get("text")
    if not isinstance(content, str):
        raise AuditError(f"{place}, field 'data.content': {str(content)[:60]!r} is no text")
    return content


def _prompt_text(data: Any) -> str:
    """The written parts of a prompt: a text, or `[{"role", "contents": [{"type": "text", "value"}]}]`."""
    content = data.get("content") if isinstance(data, dict) else data
    if isinstance(content, str):
        return content
    parts = []
    for message in content if isinstance(content, list) else ():
        contents = message.get("contents", ()) if isinstance(message, dict) else ()
        parts += [
            part["value"] for part in contents if part.get("type") == "text" and isinstance(part.get("value"), str)
        ]
    return "\n".join(parts)


HARNESSES: Mapping[str, Callable[[Path], list[GivenAnswer]]] = {
    "voicebench": voicebench,
    "lmms-eval": lmms_eval,
    "ultraeval-audio": ultraeval_audio,
    "au-harness": au_harness,
    "kimi-evalkit": kimi_evalkit,
    "jsonl": jsonl,
}
"""Readers by the name of `--harness`."""

_MARKS = {
    "lmms-eval": {"filtered_resps", "doc_id"},
    "ultraeval-audio": {"type", "data"},
    "kimi-evalkit": {"prediction", "index"},
    "voicebench": {"response", "prompt"},
}


def read_answers(path: Path, harness: str) -> list[GivenAnswer]:
    """Answers of one file.

    Raises:
        AuditError: unknown harness, or a file that it did not write; names file, line, field, and the harness that the
            file looks like.
    """
    if harness not in HARNESSES:
        raise AuditError(f"harness {harness!r} is unknown; known are {', '.join(HARNESSES)}")
    try:
        found = HARNESSES[harness](Path(path))
    except AuditError as error:
        other = _looks_like(path)
        hint = f"; it looks like a file of --harness {other}" if other not in ("", harness) else ""
        raise AuditError(f"{error}{hint}") from None
    if not found:
        raise AuditError(f"{path}: no answers in it; give the file that the harness wrote for each sample")
    return found


def subset_of(name: str) -> str:
    """Subset of VoiceBench that a file or task name holds, with the region of sd-qa; "" without one."""
    lowered = name.lower().replace("sd_qa", "sd-qa").replace("sdqa", "sd-qa").replace("obqa", "openbookqa")
    for subset in _SUBSETS:
        if re.search(rf"(?<![a-z]){subset}(?![a-z])", lowered):
            region = _part(lowered, REGIONS) if subset == "sd-qa" else ""
            return f"{subset}-{region}" if region else subset
    return ""


def _part(name: str, parts: Iterable[str]) -> str:
    return next((part for part in parts if re.search(rf"(?<![a-z]){part}(?![a-z])", name)), "")


def _looks_like(path: Path) -> str:
    try:
        _, row = next(iter(json_rows(Path(path))))
    except (AuditError, StopIteration):
        return ""
    return next((name for name, fields in _MARKS.items() if fields <= set(row)), "")


def _answer(
    path: Path,
    number: int,
    row: Row,
    answer: Sequence[str],
    ids: Sequence[str],
    reference: Sequence[str],
    *,
    prompt: Sequence[str] = ("prompt",),
    recorded: Mapping[str, float] | None = None,
    failed: str = "",
) -> GivenAnswer:
    """A row whose fields have these names; what all formats share is read here."""
    place = f"{path}, line {number}"
    source = f"{path.parent.name} {path.stem}"
    subset = optional_text(row, ("subset",)) or subset_of(path.stem) or subset_of(source)
    shown = optional_text(row, prompt)
    domain = _part(path.stem.lower(), DOMAINS) if subset == "mmsu" else ""
    # Harnesses count samples anew in each domain's file.
    name = optional_text(row, ids)
    keys = {"id": f"{domain}:{name}" if domain and name else name, "text": " ".join(shown.split())}
    return GivenAnswer(
        path=path,
        line=number,
        subset=subset,
        keys={name: value for name, value in keys.items() if value},
        answer="" if failed else text_field(row, answer, place),
        prompt=shown,
        reference=texts(row, reference, place),
        options=texts(row, ("options", "choices"), place),
        instructions=instructions(row, place),
        scorer=optional_text(row, ("scorer",)),
        group=optional_text(row, _GROUPS) or domain,
        finish_reason=optional_text(row, _FINISH),
        recorded=recorded or {},
        failed=failed,
    )


def _votes(score: Any, place: str) -> dict[str, float]:
    """Judge votes of api_judge.py: "Yes"/"No" by majority, or ratings 1 to 5, as a share of the best."""
    votes = score if isinstance(score, list) else [score]
    words = [str(vote).strip().lower().rstrip(".") for vote in votes]
    if all(word in ("yes", "no") for word in words):
        return {"judge": float(words.count("yes") > len(words) / 2)}
    try:
        ratings = [float(word.strip("[]")) for word in words]
    except ValueError:
        raise AuditError(f"{place}, field 'score': {str(score)[:60]!r} is neither yes/no nor a rating 1 to 5") from None
    return {"judge": sum(ratings) / len(ratings) / 5}


def _numbers(values: Mapping[str, Any]) -> dict[str, float]:
    """The fields that are numbers or truth values."""
    found = {}
    for name, value in values.items():
        if isinstance(value, str):
            try:
                value = float(value)
            except ValueError:
                continue
        if isinstance(value, bool | int | float):
            found[name] = float(value)
    return found
