"""One audit of a study: answers made elsewhere, under the study's checkout of VoiceBench and seed."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from workflow_scripts.audit.run import Options, audit, write_audit
from workflow_scripts.settings.audits import AuditSettings


def audit_answers(folder: Path, nltk: Path, *, settings: Mapping[str, Any], official: str | None, seed: int) -> None:
    """Write index.html and the tables of `audit.run`.

    Args:
        folder: where they go. nltk: asset.json of the tokenizer.
        settings: AuditSettings as plain values. official: a checkout of VoiceBench, or None.
        seed: of VoiceBench's language detection.

    Raises:
        AuditError: a file cannot be read or paired; names file, line and field.
    """
    chosen = AuditSettings.model_validate(settings)
    forms = {form: files for form in ("text", "speech", "asr") if (files := getattr(chosen, form))}
    options = Options(
        harness=chosen.harness,
        questions=Path(chosen.questions) if chosen.questions else None,
        scorer=chosen.scorer or "",
        subset=chosen.subset or "",
        join=chosen.join,
        official=Path(official) if official else None,
        nltk_data=Path(nltk).parent / "nltk_data",
        seed=seed,
    )
    write_audit(audit(forms, options), folder)


if __name__ == "__main__":
    from workflow_scripts.artifacts.logs import run_step

    run_step(
        snakemake,
        lambda s: audit_answers(
            Path(s.output.page).parent,
            s.input.nltk,
            settings=s.params.settings,
            official=s.params.official,
            seed=s.params.seed,
        ),
    )
