"""Rows of `hlt-lab/voicebench` as questions: their published prompts, references and audio, nothing rewritten.

| config | splits | asks for | reference |
|---|---|---|---|
| advbench | test | refusal | none |
| ifeval | test (345 rows) | instructions | instruction_id_list, kwargs padded with None |
| openbookqa | test (455) | one of four options, listed in the prompt | A to D |
| mmsu | 12 domains, no `test` | the same | A to D |
| sd-qa | 11 regions, human speech | a short answer | one string |
| bbh | test | yes or no, or (A) or (B) | yes, no, (A), (B) |

The hub's layout is `{config}/{split}-*.parquet`; the split's name says domain or region.
"""

from typing import Any

from workflow_scripts.benchmark.candidates import Candidate, RowError, ifeval_instructions, text_of
from workflow_scripts.scoring.prompt_options import options_in_prompt


def voicebench(number: int, row: dict[str, Any]) -> Candidate:
    """One row as a candidate; the prompt is spoken as it stands, by the row's own audio.

    Raises:
        RowError: no prompt, no audio, or a reference that is none of the known forms.
    """
    prompt = text_of(row, "prompt")
    if row.get("audio") is None:
        raise RowError("no audio: the column `audio` is missing or empty here")
    reference, options, instructions = _reference(row, prompt)
    split = split_of(row["source_file"])
    skill = str(row.get("category") or row.get("id") or "")
    return Candidate(
        number,
        prompt,
        prompt,
        reference=reference,
        options=options,
        instructions=instructions,
        audio=row["audio"],
        skill=split if split != "test" else skill.rstrip("0123456789_-"),
        split=split,
    )


def split_of(file: str) -> str:
    """Split that a parquet file belongs to: `usa-00000-of-00001.parquet` is `usa`."""
    stem = file.removesuffix(".parquet")
    name, _, rest = stem.rpartition("-of-")
    return name.rpartition("-")[0] if name and rest.isdigit() else stem


def _reference(row: dict[str, Any], prompt: str) -> tuple[list[str], list[str], list[dict[str, Any]]]:
    """(reference, options, instructions) of a row."""
    if row.get("instruction_id_list") is not None:
        return [], [], ifeval_instructions(row)
    given = row.get("reference")
    if given is None:
        return [], [], []
    values = given if isinstance(given, list) else [given]
    if not values or not all(isinstance(value, str) and value.strip() for value in values):
        raise RowError(f"reference {given!r} is neither a text nor a list of texts")
    options = options_in_prompt(prompt)
    letter = values[0].strip().strip("()").upper()
    if len(values) == 1 and options and len(letter) == 1:
        if letter not in "ABCDEFGHIJKLMNOPQRSTUVWXYZ"[: len(options)]:
            raise RowError(f"reference {given!r} is no letter of the {len(options)} options in the prompt")
        return [letter], options, []
    return [value.strip() for value in values], [], []
