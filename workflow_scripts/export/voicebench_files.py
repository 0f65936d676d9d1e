"""VoiceBench JSON lines, one file per subset and form, as its `main.py` writes them; its evaluators read them.

`{model}.{checkpoint}-{subset}-test-{modality}.jsonl`, modality text, audio or asr (ours). `id` joins the modalities.
"""

import json
from pathlib import Path
from typing import Any

from workflow_scripts.artifacts.answers import AnswerRecord
from workflow_scripts.artifacts.files import write_text
from workflow_scripts.artifacts.questions import Question
from workflow_scripts.export.collected import Scored
from workflow_scripts.scoring.official import official_reference

MODALITIES = {"text": "text", "speech": "audio"}


def write_voicebench(scored: Scored, folder: Path) -> Path:
    """Write one file and return its path."""
    form = scored.file.form
    path = Path(folder) / f"{scored.name}-{scored.file.subset}-test-{MODALITIES.get(form, form)}.jsonl"
    rows = [_row(number, question, answer) for number, (question, answer, _) in enumerate(scored.rows())]
    write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    return path


def _row(number: int, question: Question, answer: AnswerRecord) -> dict[str, Any]:
    row: dict[str, Any] = {"id": question.id, "prompt": question.prompt, "response": answer.answer}
    if question.reference:
        one = len(question.reference) == 1
        row["reference"] = question.reference[0] if one else question.reference
    if question.scorer == "yes_no":
        # The evaluator of bbh chooses its phrases by the task in the id, and reads letters in brackets.
        row["id"] = f"{question.source.get('skill') or 'bbh'}_{question.id}"
        row["reference"] = official_reference(question.scorer, question.reference)
    if question.instructions:
        row["key"] = number
        row["instruction_id_list"] = [instruction["id"] for instruction in question.instructions]
        row["kwargs"] = [dict(instruction.get("kwargs") or {}) for instruction in question.instructions]
    if answer.finish_reason:
        row["finish_reason"] = answer.finish_reason
    return row
