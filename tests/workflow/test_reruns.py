"""What an edit of the code reruns: the specification, as a table of edits made on a copy of the sources.

Each edit names the rules whose jobs then have another digest (`rule`, all jobs of it; `rule[value]`, those with that
wildcard). What reads their results runs too; that is Snakemake's part (`test_dag.py`).
"""

import ast
import re
import shutil
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from tests.workflow.workflow_copy import Workflow
from workflow_scripts.planning.code import Code
from workflow_scripts.planning.snakemake_dag import Job, study

pytestmark = pytest.mark.xdist_group("dag")

PUBLIC = {
    "public": {"family": "hf", "path": "data/public"},
    "unit": {"family": "units", "path": "data/units", "unit_token": "<{}>", "quantizer": "data.mine:Units"},
    "own": {"family": "adapter", "path": "data/own", "adapter": "data.mine:Model"},
}
Edit = Callable[[Path], None]


# --- edits -------------------------------------------------------------------------------------------------------


def replace(path: str, old: str, new: str) -> Edit:
    """Replace a text that stands in a file once."""

    def edit(package: Path) -> None:
        text = (package / path).read_text()
        assert text.count(old) == 1, f"{path} holds {old!r} {text.count(old)} times"
        (package / path).write_text(text.replace(old, new))

    return edit


def append(path: str, text: str) -> Edit:
    """Write something below a file."""
    return lambda package: (package / path).write_text((package / path).read_text() + text)


def everywhere(change: Callable[[str], str]) -> Edit:
    """Change the text of every file."""

    def edit(package: Path) -> None:
        for path in package.rglob("*.py"):
            path.write_text(change(path.read_text()))

    return edit


def move(old: str, new: str) -> Edit:
    """Move a module and everything that names it; of the tests' rules only the scripts' paths stay."""

    def edit(package: Path) -> None:
        (package / new).parent.mkdir(exist_ok=True)
        shutil.move(package / old, package / new)
        names = [path.removesuffix(".py").replace("/", ".") for path in (old, new)]
        parts = [name.rpartition(".") for name in names]

        def renamed(text: str) -> str:
            text = text.replace(names[0], names[1])
            short = rf"from workflow_scripts\.{parts[0][0]} import {parts[0][2]}\b"
            text = re.sub(short, f"from workflow_scripts.{parts[1][0]} import {parts[1][2]} as {parts[0][2]}", text)
            return text

        everywhere(renamed)(package)

    return edit


def bare(text: str) -> str:
    """The same program without comments, with other line breaks and quotes, without docstrings and type hints."""
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            node.returns = None
            for argument in [*node.args.args, *node.args.kwonlyargs, *node.args.posonlyargs]:
                argument.annotation = None
        body = getattr(node, "body", None)
        if isinstance(body, list) and len(body) > 1 and isinstance(body[0], ast.Expr):
            node.body = body[isinstance(body[0].value, ast.Constant) :]
    return ast.unparse(tree)


# --- the jobs of a study and their digests -------------------------------------------------------------------------


class Study:
    """The jobs of a study on a copy of the sources."""

    def __init__(self, workflow: Workflow):
        self.package = workflow.folder / "workflow_scripts"
        with study(workflow.folder / "Snakefile") as (self.plan, jobs):
            self.jobs: list[Job] = [job for job in jobs if job.code is not None]
        self.root = workflow.folder
        self.before = self.digests()

    def digests(self) -> list[str]:
        """The digest of each job by the sources as they are now."""
        self.plan.sources = Code(self.root, self.root / ".snakemake" / "definitions.json")
        return [job.code.step(job.wildcards).digest for job in self.jobs]

    def changed(self, edit: Edit) -> set[str]:
        """Which jobs have another digest after an edit, which is then undone."""
        kept = self.root / "kept"
        shutil.copytree(self.package, kept)
        try:
            edit(self.package)
            now = self.digests()
        finally:
            shutil.rmtree(self.package)
            kept.rename(self.package)
        return summary(self.jobs, [old != new for old, new in zip(self.before, now, strict=True)])


def summary(jobs: Iterable[Job], changed: Iterable[bool]) -> set[str]:
    """`rule` where all jobs changed, else `rule[value]` for the wildcard that tells which ones did."""
    by_rule: dict[str, list[tuple[Job, bool]]] = defaultdict(list)
    for job, differs in zip(jobs, changed):
        by_rule[job.rule].append((job, differs))
    found = set()
    for rule, rows in by_rule.items():
        if all(differs for _, differs in rows):
            found.add(rule)
        elif any(differs for _, differs in rows):
            for name in dict(rows[0][0].wildcards.items()):
                values = {getattr(job.wildcards, name) for job, differs in rows if differs}
                if not values & {getattr(job.wildcards, name) for job, differs in rows if not differs}:
                    found |= {f"{rule}[{value}]" for value in values}
                    break
            else:
                found.add(f"{rule}[some]")
    return found


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The default study with one model of each family."""
    workflow = Workflow(tmp_path_factory.mktemp("reruns"))
    workflow.edit_config(lambda config: config["models"].update(PUBLIC))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(workflow.folder)
        yield Study(workflow)


OPENING = {"answer_floors", "answer_questions", "dump_states", "edit_answers"}
"""Rules that open any model."""
NOTHING: set[str] = set()


def opening(*models: str) -> set[str]:
    """The jobs that open these models."""
    return {f"{rule}[{model}]" for rule in OPENING for model in models}


EDITS: dict[str, tuple[Edit, set[str]]] = {
    # --- what cannot change a number
    "no comments, docstrings, type hints; other line breaks": (everywhere(bare), NOTHING),
    "a core module moved": (move("artifacts/shards.py", "artifacts/parts/shard.py"), NOTHING),
    "a model's module moved": (move("speech_lm/families/chat.py", "speech_lm/templates/chats.py"), NOTHING),
    "a function renamed": (everywhere(lambda text: re.sub(r"\breference_answer\b", "target_text", text)), NOTHING),
    "a constant renamed": (everywhere(lambda text: re.sub(r"\bMAX_DROPPED_SHARE\b", "MOST", text)), NOTHING),
    "a function that nothing uses": (append("scoring/refusal.py", "\n\ndef spare():\n    return 1\n"), NOTHING),
    "how assets are fetched": (replace("assets/wheel_source.py", '"--no-deps",', '"--no-deps", "--quiet",'), NOTHING),
    "a family registered": (
        replace(
            "settings/models.py", "FAMILIES = {", 'FAMILIES = {\n    "own": Family(settings=UnitsModel, opener="x:y"),'
        ),
        NOTHING,
    ),
    "the engine of another voice": (
        replace("speech/engines.py", 'f" {question.spoken}"', 'f"  {question.spoken}"'),
        NOTHING,
    ),
    # --- what can
    "how bfloat16 is rounded": (
        replace("artifacts/hdf5.py", "bits + 0x7FFF", "bits + 0x7FFE"),
        {"encode_silence", "encode_speech"},
    ),
    "which questions a shard holds": (
        replace("artifacts/shards.py", "order[number::count]", "order[count - 1 - number :: count]"),
        OPENING | {"answer_questions_base", "measure_responses"},
    ),
    "one family of models": (
        replace("speech_lm/families/units.py", "units[1:] != units[:-1]", "units[1:] > units[:-1]"),
        opening("unit"),
    ),
    "how a family opens": (
        replace("speech_lm/families/composite.py", '"window_seconds", 30.0', '"window_seconds", 20.0'),
        opening("smollm2-lora", "smollm2-full") | {"measure_responses"},
    ),
    "which matrices a check counts": (
        replace("training/check_settings.py", '"layers" in parts', '"blocks" in parts'),
        {"check_training"},
    ),
    "the chat template": (
        replace("speech_lm/families/chat.py", "(query := text.strip())", "(query := text.rstrip())"),
        opening("smollm2-lora", "smollm2-full", "unit", "public")
        | {"answer_instructions", "answer_questions_base", "measure_responses", "train_model"},
    ),
    "which edits scale": (
        replace("settings/intervention.py", 'SCALING = ("length", "mean_length")', 'SCALING = ("length",)'),
        {"edit_answers"},
    ),
    "the seed of the voice": (
        replace("speech/engines.py", "{self._voice.seed}/{question.id}", "{self._voice.seed}-{question.id}"),
        {"synthesize_speech"},
    ),
    "a scorer": (
        replace("scoring/refusal.py", 'version="2"', 'version="edited"'),
        {
            "score_answers[advbench]",
            "score_answers_base[advbench]",
            "score_floors[advbench]",
            "build_floor_table",
            "build_skill_table",
        }
        | {"build_gap_table"},
    ),
    "a layout": (replace("benchmark/layouts.py", '"\\n\\n")', '"\\n \\n")'), {"build_questions[mmlu]"}),
    "a converter": (
        replace("assets/convert_gguf.py", "dtype=torch.bfloat16", "dtype=torch.float16"),
        {"convert_asset[smollm2-135m-instruct]"},
    ),
}


@pytest.mark.parametrize("name", EDITS)
def test_an_edit_reruns_exactly(whole, name):
    edit, expected = EDITS[name]
    assert whole.changed(edit) == expected
