"""results/export: the last checkpoint of every model in formats of others. `snakemake export_answers` makes it.

- `voicebench/`: JSON lines by subset and modality (`voicebench_files`).
- `every_eval_ever/`: aggregate and single answers, schema 0.3.0 (`every_eval_ever`).
- `eval_results/{model}/`: YAML for `.eval_results/` of a model repository, for subsets from a data set of the hub.
- `questions.parquet`: one row an answer, with question, score and form.
"""

import datetime
import logging
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from workflow_scripts.artifacts.asset_record import AssetRecord, read_asset_record
from workflow_scripts.artifacts.files import atomic_path, write_text
from workflow_scripts.export.collected import Scored, collect
from workflow_scripts.export.every_eval_ever import write_every_eval_ever
from workflow_scripts.export.voicebench_files import write_voicebench

logger = logging.getLogger(__name__)


def write_exports(
    questions: Sequence[Path],
    answers: Sequence[Path],
    scores: Sequence[Path],
    assets: Sequence[Path],
    folder: Path,
    *,
    voices: Mapping[str, str],
    models: Mapping[str, str],
) -> None:
    """Write all formats below `folder`, which is emptied first.

    Args:
        questions, answers, scores: of every subset, form and model that is exported.
        assets: asset.json of the subsets' raw data.
        voices: voice by subset. models: id on the model hub, or the key itself, by key of the model.

    Raises:
        ArtifactError: a score has no answer or question.
    """
    folder = Path(folder)
    scored = collect(questions, answers, scores, voices)
    retrieved = int(max(Path(path).stat().st_mtime for path in scores))
    records = {path.parent.name: read_asset_record(path.parent, check_files=False) for path in map(Path, assets)}
    shutil.rmtree(folder, ignore_errors=True)
    for part in scored:
        write_voicebench(part, folder / "voicebench")
    for name in dict.fromkeys(part.name for part in scored):
        parts = [part for part in scored if part.name == name]
        model = models[parts[0].file.model]
        write_every_eval_ever(parts, folder / "every_eval_ever", model_id=model, retrieved=retrieved)
    write_eval_results(scored, folder / "eval_results", records, retrieved)
    table = pd.DataFrame([row for part in scored for row in question_rows(part)])
    with atomic_path(folder / "questions.parquet") as temporary:
        table.to_parquet(temporary, index=False)
    logger.info("%d answers in %d score files exported", len(table), len(scored))


def write_eval_results(
    scored: Sequence[Scored], folder: Path, assets: Mapping[str, AssetRecord], retrieved: int
) -> list[Path]:
    """One YAML file per subset and form that was asked from a data set of the hub; other data have no id there."""
    date = datetime.datetime.fromtimestamp(retrieved, datetime.UTC).strftime("%Y-%m-%d")
    paths = []
    for part in scored:
        source = part.questions[0].source
        record = assets.get(source.get("asset", ""))
        if record is None or record.source.hub is None:
            continue
        file = part.file
        task = str(source.get("file", "")).rpartition("/")[0] or file.subset
        entry = {
            "dataset": {"id": record.source.hub, "task_id": task, "revision": record.source.commit},
            "value": round(file.mean, 4),
            "date": date,
            "notes": f"form {file.form}, voice {part.voice}, {file.subset}, n {file.n}, scorer {file.scorer} "
            f"{file.scorer_version}, 95 % interval {file.interval_low:.2f} to {file.interval_high:.2f}",
        }
        path = folder / part.name / f"{file.subset}_{file.form}.yaml"
        write_text(path, yaml.safe_dump([entry], sort_keys=False))
        paths.append(path)
    return paths


def question_rows(part: Scored) -> list[dict[str, Any]]:
    """One row an answer."""
    file = part.file
    shared = {"model": file.model, "checkpoint": file.checkpoint, "subset": file.subset, "form": file.form}
    shared |= {"voice": part.voice, "scorer": file.scorer, "scorer_version": file.scorer_version}
    return [
        shared
        | {
            **{"id": question.id, "prompt": question.prompt, "reference": question.reference},
            **{"options": question.options, "skill": str(question.source.get("skill", ""))},
            **{"answer": answer.answer, "finish_reason": answer.finish_reason, "seconds": answer.seconds},
            **{"reference_nll": answer.reference_nll, "reference_tokens": answer.reference_tokens},
            **{"score": score.score, "parsed": score.parsed, "outcome": score.outcome, "unparsed": score.unparsed},
        }
        for question, answer, score in part.rows()
    ]


if __name__ == "__main__":
    from workflow_scripts.artifacts.logs import run_step

    run_step(
        snakemake,
        lambda s: write_exports(
            s.input.questions,
            s.input.answers,
            s.input.scores,
            s.input.assets,
            s.output[0],
            voices=s.params.voices,
            models=s.params.models,
        ),
    )
