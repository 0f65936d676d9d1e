"""What is wrong with questions of your own: `python -m workflow_scripts.benchmark.check_questions FILE --scorer NAME`.

Prints one line a problem with row and field, before anything is spoken or answered; docs/own-data.md describes the
fields.
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from workflow_scripts.artifacts.dataset_rows import cell_text, dataset_rows, matching_files
from workflow_scripts.artifacts.files import ArtifactError
from workflow_scripts.benchmark.own_questions import own_question, row_problems
from workflow_scripts.scoring.question_formats import check_question
from workflow_scripts.scoring.registry import SCORERS


def problems(path: Path, scorer: str, recordings: Path | None = None) -> Iterator[str]:
    """One line a problem: `file, row n, field 'x': what`.

    Args:
        path: JSON lines, CSV or parquet. scorer: of the subset.
        recordings: folder with one file per id, of a `recorded` voice; None if there is none.
    """
    path = Path(path)
    folder = matching_files(path)[0].parent
    seen: dict[str, int] = {}
    for number, row in dataset_rows(path):
        place = f"{path}, row {number}"
        found = row_problems(row, folder)
        yield from (f"{place}, field {field!r}: {message}" for field, message in found)
        name = cell_text(row.get("id"))
        if name and name in seen:
            yield f"{place}, field 'id': {name!r} is the id of row {seen[name]} too"
        seen.setdefault(name, number)
        if recordings is not None and not found:
            if not name:
                yield f"{place}, field 'id': missing; recordings are found by it"
            elif not any(recordings.glob(f"{name}.*")):
                yield f"{place}, field 'id': no recording {recordings / name}.*"
        if found:
            continue
        candidate = own_question(number, row)
        try:
            check_question(scorer, candidate.reference, candidate.options, candidate.instructions)
        except ValueError as error:
            yield f"{place}, field 'reference': {error}"


def main(arguments: list[str] | None = None) -> int:
    """Print the problems; returns their number's truth as exit status: 0 none, 1 some, 2 the file cannot be read."""
    parser = argparse.ArgumentParser(prog="python -m workflow_scripts.benchmark.check_questions")
    parser.add_argument("file", type=Path, help="JSON lines, CSV or parquet")
    parser.add_argument("--scorer", required=True, choices=list(SCORERS))
    parser.add_argument("--recordings", type=Path, help="folder with one recording per id")
    given = parser.parse_args(arguments)
    try:
        found = list(problems(given.file, given.scorer, given.recordings))
        count = sum(1 for _ in dataset_rows(given.file))
    except ArtifactError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for line in found:
        print(line)
    print(f"{count} questions, {len(found)} problems")
    return int(bool(found) or not count)


if __name__ == "__main__":
    sys.exit(main())
