"""One index over what the shards of the training prompts gave: the lines of all, in the order of the prompts.

Audio stays where its shard wrote it; only its path is written anew. What follows reads the index as if there had been
one job.
"""

from collections.abc import Sequence
from pathlib import Path

from workflow_scripts.artifacts.answers import ANSWERS
from workflow_scripts.artifacts.files import ArtifactError
from workflow_scripts.artifacts.questions import QUESTIONS
from workflow_scripts.artifacts.utterances import SYNTHESIS, UTTERANCES

KINDS = {"synthesis": SYNTHESIS, "utterances": UTTERANCES, "answers": ANSWERS}
"""What can be joined."""


def join_shards(questions: Path, parts: Sequence[Path], joined: Path, *, kind: str) -> None:
    """Write the lines of `parts` in the order of `questions`.

    Raises:
        ArtifactError: a prompt is in no part or in two, a part has others, or parts were made with different settings;
            names the file.
    """
    place: dict[str, tuple[Path, object]] = {}
    settings = {}
    for part in map(Path, parts):
        rows, header = KINDS[kind].read_with_header(part)
        settings[part] = header["provenance"].get("settings")
        for row in rows:
            if row.id in place:
                raise ArtifactError(
                    f"{part}: {row.id!r} stands in {place[row.id][0]} too: shards of different splits, of another seed "
                    "or number; delete both"
                )
            if kind != "answers" and row.audio is not None:
                folder = part.parent.relative_to(Path(joined).parent)
                row = row.model_copy(update={"audio": f"{folder.as_posix()}/{row.audio}"})
            place[row.id] = part, row
    first, *others = settings
    if other := [part for part in others if settings[part] != settings[first]]:
        raise ArtifactError(f"{other[0]}: made with other settings than {first}; delete it and run again")
    asked = [question.id for question in QUESTIONS.read(Path(questions))]
    if missing := [name for name in asked if name not in place]:
        raise ArtifactError(
            f"{joined}: {len(missing)} prompts, first {missing[0]!r}, are in none of the {len(settings)} shards, such "
            f"as {first}: one is missing or of another split; delete them and run again"
        )
    if len(place) > len(asked):
        name = next(iter(place.keys() - set(asked)))
        raise ArtifactError(f"{place[name][0]}: {name!r} is no prompt of {questions}; delete it and run again")
    header = KINDS[kind].read_with_header(first)[1]["provenance"]
    KINDS[kind].write(joined, [place[name][1] for name in asked], header | {"shards": len(parts)})


if __name__ == "__main__":
    from workflow_scripts.artifacts.logs import run_step

    run_step(snakemake, lambda s: join_shards(s.input.questions, s.input.parts, s.output[0], kind=s.params.kind))
