"""Every Eval Ever, schema 0.3.0: one aggregate JSON a checkpoint, and the single answers beside it as JSON lines.

The schema has no field for the modality of a question. Form, voice and pair stand in `metadata` of each answer, and in
the result's `additional_details`: two answers with one `pair` and different `form` are the two halves of one question.
"""

import hashlib
import json
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from workflow_scripts.artifacts.answers import AnswerRecord
from workflow_scripts.artifacts.files import write_text
from workflow_scripts.artifacts.provenance import code_version
from workflow_scripts.artifacts.questions import Question
from workflow_scripts.artifacts.scores import QuestionScore
from workflow_scripts.export.collected import Scored

SCHEMA_VERSION = "0.3.0"
BENCHMARK = "modgap"
NAMELESS = "unknown"


def write_every_eval_ever(parts: Sequence[Scored], folder: Path, *, model_id: str, retrieved: int) -> list[Path]:
    """Write the two files of one checkpoint.

    Args:
        parts: all subsets and forms of one model and checkpoint.
        folder: gets `data/modgap/{developer}/{model}/{uuid}.json` and `{uuid}_samples.jsonl`.
        model_id: of the model hub, or the model's key.
        retrieved: Unix time of the scores.

    Returns:
        The two paths.
    """
    name = parts[0].name
    developer, _, short = model_id.rpartition("/")
    evaluation = f"{BENCHMARK}/{model_id}/{parts[0].file.checkpoint}/{retrieved}"
    identity = _uuid4(evaluation)
    place = Path("data") / BENCHMARK / (developer or NAMELESS) / (short if developer else name)
    samples = "".join(
        json.dumps(_sample(part, evaluation, model_id, *row), ensure_ascii=False) + "\n"
        for part in parts
        for row in part.rows()
    )
    record = {
        "schema_version": SCHEMA_VERSION,
        "evaluation_id": evaluation,
        "retrieved_timestamp": str(retrieved),
        "source_metadata": {
            "source_name": "modgap",
            "source_type": "evaluation_run",
            "source_organization_name": NAMELESS,
            "evaluator_relationship": "other",
        },
        "eval_library": {"name": "modgap", "version": code_version()},
        "model_info": {
            "name": parts[0].file.model,
            "id": model_id,
            "additional_details": {
                "deployment_type": "self_deployed",
                "model_availability": NAMELESS,
                "checkpoint": parts[0].file.checkpoint,
            },
        },
        "evaluation_results": [_result(part) for part in parts],
        "detailed_evaluation_results": {
            "format": "jsonl",
            "file_path": (place / f"{identity}_samples.jsonl").as_posix(),
            "hash_algorithm": "sha256",
            "checksum": hashlib.sha256(samples.encode()).hexdigest(),
            "total_rows": sum(part.file.n for part in parts),
        },
    }
    paths = [folder / place / f"{identity}.json", folder / place / f"{identity}_samples.jsonl"]
    write_text(paths[0], json.dumps(record, ensure_ascii=False, indent=1) + "\n")
    write_text(paths[1], samples)
    return paths


def _result(part: Scored) -> dict[str, Any]:
    file = part.file
    graded = not all(row.score in (0, 1) for row in file.questions)
    return {
        "evaluation_result_id": _result_id(part),
        "evaluation_name": f"{file.subset} ({file.form})",
        "source_data": {"dataset_name": file.subset, "source_type": "other"},
        "metric_config": {
            "metric_id": f"{BENCHMARK}.{file.scorer}",
            "metric_name": file.scorer,
            "metric_unit": "points",
            "lower_is_better": False,
            "score_type": "continuous",
            "min_score": 0.0,
            "max_score": 100.0,
            "additional_details": {
                "scorer_version": file.scorer_version,
                "form": file.form,
                "voice": part.voice,
                "graded": str(graded).lower(),
            },
        },
        "score_details": {
            "score": file.mean,
            "details": {"unparsed_rate": f"{file.unparsed_rate:.6g}"},
            "uncertainty": {
                "confidence_interval": {
                    "lower": file.interval_low,
                    "upper": file.interval_high,
                    "confidence_level": 0.95,
                    "method": file.interval_method,
                },
                "num_samples": file.n,
            },
        },
        "generation_config": {"generation_args": {"temperature": 0.0}},
    }


def _sample(
    part: Scored, evaluation: str, model_id: str, question: Question, answer: AnswerRecord, score: QuestionScore
) -> dict[str, Any]:
    file = part.file
    content = question.prompt + "\n".join(question.reference)
    return {
        "schema_version": SCHEMA_VERSION,
        "evaluation_id": evaluation,
        "model_id": model_id,
        "evaluation_name": f"{file.subset} ({file.form})",
        "evaluation_result_id": _result_id(part),
        "sample_id": question.id,
        "sample_hash": hashlib.sha256(content.encode()).hexdigest(),
        "interaction_type": "single_turn",
        "input": {
            "raw": question.prompt,
            "reference": question.reference,
            "choices": question.options or None,
        },
        "output": {"raw": [answer.answer]},
        "answer_attribution": [
            {
                "turn_idx": 0,
                "source": "output.raw",
                "extracted_value": score.parsed or "",
                "extraction_method": f"{file.scorer} {file.scorer_version}: {score.rule}",
                "is_terminal": True,
            }
        ],
        "evaluation": {"score": score.score, "is_correct": score.score == 1},
        "metadata": {
            **{"form": file.form, "voice": part.voice, "pair": f"{file.subset}/{question.id}"},
            **{"outcome": score.outcome, "finish_reason": answer.finish_reason},
            "skill": str(question.source.get("skill", "")),
        },
    }


def _result_id(part: Scored) -> str:
    return f"{part.file.subset}:{part.file.form}:score"


def _uuid4(text: str) -> str:
    """A UUID of version 4 that depends on the text alone, so that the same results have the same file names."""
    return str(uuid.UUID(bytes=hashlib.sha256(text.encode()).digest()[:16], version=4))
