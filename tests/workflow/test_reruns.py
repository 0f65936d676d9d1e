"""What an edit of the code reruns: the specification, as a table of edits made on the sources in memory.

Each edit names the rules whose jobs then have another digest (`rule`, all jobs of it; `rule[value]`, those with that
wildcard). What reads their results runs too; that is Snakemake's part (`test_dag.py`).
"""

import ast
import functools
import re
from collections import defaultdict
from collections.abc import Callable, Iterable

import pytest

from tests.workflow.workflow_copy import Workflow
from workflow_scripts.planning.code import Code
from workflow_scripts.planning.definitions import read_source
from workflow_scripts.planning.forms import PACKAGE, Source
from workflow_scripts.planning.snakemake_dag import Job, study
from workflow_scripts.planning.sources import Remembered

pytestmark = pytest.mark.xdist_group("dag")

PUBLIC = {
    "public": {"family": "hf", "path": "data/public"},
    "unit": {"family": "units", "path": "data/units", "unit_token": "<{}>", "quantizer": "data.mine:Units"},
    "own": {"family": "adapter", "path": "data/own", "adapter": "data.mine:Model"},
}
Texts = dict[str, str]
"""The package's sources by path."""
Edit = Callable[[Texts], Texts]


# --- edits -------------------------------------------------------------------------------------------------------


def replace(path: str, old: str, new: str) -> Edit:
    """Replace a text that stands in a file once."""

    def edit(texts: Texts) -> Texts:
        assert texts[path].count(old) == 1, f"{path} holds {old!r} {texts[path].count(old)} times"
        return texts | {path: texts[path].replace(old, new)}

    return edit


def change(path: str, name: str) -> Edit:
    """Change what a definition at the top of a file says."""

    def edit(texts: Texts) -> Texts:
        defined = re.search(rf"^(def |class |){name}\b", texts[path], flags=re.M)
        assert defined, f"{path} does not define {name}"
        return texts | {path: f"{texts[path]}\n\n{name} = ({name}, 1)[0]\n"}

    return edit


def everywhere(change: Callable[[str], str]) -> Edit:
    """Change the text of every file."""
    return lambda texts: {path: change(text) for path, text in texts.items()}


def move(old: str, new: str) -> Edit:
    """Move a module and everything that names it; of the tests' rules only the scripts' paths stay."""
    names = [path.removesuffix(".py").replace("/", ".") for path in (old, new)]
    (folder, _, module), (new_folder, _, new_module) = (name.rpartition(".") for name in names)

    def renamed(text: str) -> str:
        text = text.replace(names[0], names[1])
        short = rf"from workflow_scripts\.{folder} import {module}\b"
        return re.sub(short, f"from workflow_scripts.{new_folder} import {new_module} as {module}", text)

    return lambda texts: {(new if path == old else path): renamed(text) for path, text in texts.items()}


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


parsed = functools.cache(read_source)


class InMemory:
    """The package's sources as texts, in place of `Sources`."""

    def __init__(self, texts: Texts):
        self.texts, self.digests = texts, Remembered(None, "")

    def get(self, module: str) -> Source | None:
        path = module.removeprefix(PACKAGE).lstrip(".").replace(".", "/")
        for file, is_package in ((f"{path}.py", False), (f"{path}/__init__.py".lstrip("/"), True)):
            if file in self.texts:
                return parsed(self.texts[file], module, is_package)
        return None


class Study:
    """The jobs of a study, with the digests of their code."""

    def __init__(self, workflow: Workflow):
        package = workflow.folder / PACKAGE
        self.texts = {path.relative_to(package).as_posix(): path.read_text() for path in package.rglob("*.py")}
        with study(workflow.folder / "Snakefile") as (self.plan, jobs):
            self.jobs: list[Job] = [job for job in jobs if job.code is not None]
        self.before = self.digests(self.texts)

    def digests(self, texts: Texts) -> list[str]:
        """The digest of each job by the sources given."""
        self.plan.steps = Code(InMemory(texts))
        return [job.code.step(job.wildcards).digest for job in self.jobs]

    def changed(self, edit: Edit) -> set[str]:
        """Which jobs have another digest after an edit."""
        now = self.digests(edit(self.texts))
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
    """The default study with one model of each family, states exchanged and attention read."""
    workflow = Workflow(tmp_path_factory.mktemp("reruns"))
    workflow.edit_config(lambda config: config["models"].update(PUBLIC) or config.update(patching={"attention": {}}))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(workflow.folder)
        yield Study(workflow)


def of(rules: Iterable[str], *values: str) -> set[str]:
    """The jobs of some rules with these values of a wildcard."""
    return {f"{rule}[{value}]" for rule in rules for value in values}


OPENING = {"answer_floors", "answer_questions", "dump_states", "edit_answers", "patch_states", "read_attention"}
"""Rules that open any model."""
RUNNING = OPENING | {"answer_questions_base", "answer_instructions", "measure_responses"}
"""Rules that run a language model."""
TRAINED = ("smollm2-lora", "smollm2-full")
SCORES = {"score_answers", "score_answers_base", "score_floors"}
SCORE_TABLES = {"build_floor_table", "build_gap_table", "build_skill_table", "build_tag_table"}
TAGGED = {"build_tag_table", "build_patch_tag_table"}
LABELLED = {"build_report", "build_tables"} | of(
    ["plot"],
    *(
        "aps_gap",
        "layers",
        "layers_controlled",
        "layers_local",
        "monotonicity",
        "partial_residuals",
        "predictors",
        "response_kl",
    ),
    "similarity_gap",
)
"""What shows names of measures."""
MEASURE_TABLES = {"build_alignment_table", "judge_claims", "regress_gap", "sensitivity"}
NOTHING: set[str] = set()


EDITS: dict[str, tuple[Edit, set[str]]] = {
    # --- what cannot change a number
    "no comments, docstrings, type hints; other line breaks": (everywhere(bare), NOTHING),
    "a function that nothing uses, in every file": (
        everywhere(lambda text: f"{text}\n\ndef spare(): ...\n"),
        NOTHING,
    ),
    "a log line in every step": (everywhere(lambda text: text.replace("logger.info(", "logger.debug(")), NOTHING),
    "texts of errors": (everywhere(lambda text: text.replace('Error(f"{', 'Error(f"Sorry: {')), NOTHING),
    "a description of a setting": (
        everywhere(lambda text: text.replace('description="', 'description="Note: ')),
        NOTHING,
    ),
    "a core module moved": (move("artifacts/shards.py", "artifacts/parts/shard.py"), NOTHING),
    "a model's module moved": (move("speech_lm/families/chat.py", "speech_lm/templates/chats.py"), NOTHING),
    "a module of measures moved": (move("measures/path_statistics.py", "measures/paths.py"), NOTHING),
    "a function renamed": (everywhere(lambda text: re.sub(r"\breference_answer\b", "target_text", text)), NOTHING),
    "a class renamed": (everywhere(lambda text: re.sub(r"\bLSLMTrainer\b", "Teacher", text)), NOTHING),
    "a constant renamed": (everywhere(lambda text: re.sub(r"\bMAX_DROPPED_SHARE\b", "MOST", text)), NOTHING),
    "what files say of their origin": (change("artifacts/provenance.py", "LIBRARIES"), NOTHING),
    "how progress is logged": (change("artifacts/logs.py", "progress"), NOTHING),
    "how assets are fetched": (change("assets/wheel_source.py", "fetch_package_files"), NOTHING),
    "what a model's folder is checked for": (change("assets/backbone.py", "check_backbone"), NOTHING),
    "what a model is planned to need": (change("settings/model_size.py", "answering_bytes"), NOTHING),
    # --- new entries of tables
    "a new scorer": (
        replace("scoring/registry.py", "Mapping[str, Scorer] = {", "Mapping[str, Scorer] = {'new': repeat.SCORER,"),
        NOTHING,
    ),
    "a new family": (replace("settings/models.py", "FAMILIES = {", "FAMILIES = {'new': Family(settings=1),"), NOTHING),
    "a new layout": (
        replace("benchmark/layouts.py", '    "mmlu": (', '    "new": (json_rows, _ifeval),\n    "mmlu": ('),
        NOTHING,
    ),
    "a new voice": (
        replace("speech/engines.py", '    "command": C', '    "new": HibariEngine,\n    "command": C'),
        NOTHING,
    ),
    "a new figure": (
        replace("figures/table.py", '    "decline": F', '    "new": Figure(),\n    "decline": F'),
        NOTHING,
    ),
    "a new measure of questions": (
        replace(
            "measures/registry.py",
            "MEASURES: dict[str, Measure] = {",
            'MEASURES: dict[str, Measure] = {"new": Measure(name="new", level="pair", function=pooled_pairs.cosine),',
        ),
        {"measure_similarity"} | MEASURE_TABLES | LABELLED,
    ),
    # --- entries of tables
    "a scorer": (
        replace("scoring/refusal.py", "SCORER = Scorer(version=", "SCORER = Scorer(version=7 * "),
        of(SCORES, "advbench"),
    ),
    "a layout": (replace("benchmark/layouts.py", '"\\n\\n")', '"\\n \\n")'), {"build_questions[mmlu]"}),
    "a reader of one layout": (change("benchmark/layouts.py", "_yaml_seeds"), {"build_questions[advbench]"}),
    "a converter": (change("assets/convert_gguf.py", "convert_gguf"), {"convert_asset[smollm2-135m-instruct]"}),
    "the other converter": (change("assets/ctranslate2.py", "LAYER_PARTS"), {"convert_asset[whisper-base]"}),
    "the voice": (change("speech/engines.py", "HibariEngine"), {"synthesize_speech"}),
    "a family": (change("speech_lm/families/units.py", "open_units"), of(OPENING, "unit")),
    "another family": (change("speech_lm/families/hf.py", "open_hf"), of(OPENING, "public")),
    "the family that is trained": (
        change("speech_lm/families/composite.py", "open_composite"),
        of(OPENING, *TRAINED) | {"measure_responses"},
    ),
    "settings of a family": (change("settings/families/units.py", "UnitsModel"), NOTHING),
    "another voice": (change("speech/engines.py", "CommandEngine"), NOTHING),
    "settings of another voice": (change("settings/speech.py", "RecordedVoice"), NOTHING),
    "how another voice finds its recordings": (change("speech/match_recordings.py", "match_recordings"), NOTHING),
    "a figure": (change("figures/plot_cka.py", "plot_cka"), {"plot[cka]"}),
    # --- core packages
    "which text is the reference": (
        change("scoring/question_formats.py", "reference_answer"),
        (RUNNING | {"build_report"}) - {"dump_states"},
    ),
    "which questions a shard holds": (change("artifacts/shards.py", "select_shard"), RUNNING - {"answer_instructions"}),
    "how bfloat16 is rounded": (
        change("artifacts/hdf5.py", "float32_to_bfloat16"),
        {"encode_silence", "encode_speech"},
    ),
    "which edits scale": (change("settings/intervention.py", "SCALING"), {"edit_answers"}),
    "a default of training": (
        replace("settings/training.py", "dropout: float = Field(default=0.1", "dropout: float = Field(default=0.2"),
        {"train_model", "warm_up_adapter"},
    ),
    "columns of a table": (
        replace("artifacts/tables.py", '"gap": ', '"gap": 1 or '),
        {"build_gap_table", "build_tables", "judge_claims", "regress_gap", "sensitivity"}
        | {"build_report", "plot[learning]"},
    ),
    "the chat template": (
        change("speech_lm/families/chat.py", "ChatTemplate"),
        of(OPENING, *TRAINED, "unit") | (RUNNING - OPENING) | {"train_model"},
    ),
    "greedy decoding": (
        change("speech_lm/decoding/greedy.py", "PASS_POSITIONS"),
        of(OPENING, *TRAINED, "public", "unit") | (RUNNING - OPENING),
    ),
    "the encoder": (
        change("speech_lm/trainable/encoder.py", "WhisperFeatures"),
        of(OPENING, *TRAINED) | (RUNNING - OPENING) | {"encode_silence", "encode_speech", "transcribe_speech"},
    ),
    "the adapter": (
        change("speech_lm/trainable/adapters.py", "SpeechAdapter"),
        of(OPENING, *TRAINED) | (RUNNING - OPENING) | {"train_model", "warm_up_adapter"},
    ),
    "the trainer": (change("training/trainer.py", "LSLMTrainer"), {"train_model"}),
    "a loss that no model is taught by": (change("training/response_loss.py", "answer_kl"), set()),
    "the warm-up's loss": (change("training/ctc.py", "ctc_nll"), {"warm_up_adapter"}),
    "word error rates": (
        change("scoring/word_errors.py", "word_error_rate"),
        of(SCORES, "repeat") | SCORE_TABLES | {"transcribe_speech"},
    ),
    "intervals of scores": (
        change("scoring/intervals.py", "exact_interval"),
        SCORES | SCORE_TABLES | {"compare_edits"},
    ),
    "intervals of differences": (
        change("statistics/means.py", "difference_interval"),
        SCORE_TABLES | {"build_patch_tag_table", "build_response_table", "compare_edits", "probe_states"},
    ),
    "an interval over runs": (change("statistics/run_validation.py", "jackknife_interval"), {"regress_gap"}),
    "CKA": (change("measures/cka.py", "layer_cka"), {"measure_similarity"}),
    "paths": (change("measures/path_statistics.py", "monotonicity"), {"align_tokens"} | of(["edit_answers"], *TRAINED)),
    "a measure of questions": (change("measures/neighbours.py", "mutual_knn"), {"measure_similarity"}),
    "a label of a measure": (replace("measures/registry.py", 'label="mutual kNN"', 'label="kNN"'), LABELLED),
    "divergences": (change("measures/divergence.py", "kl_divergence"), {"measure_responses"}),
    "where a word is read": (change("measures/word_reading.py", "positions_of"), {"measure_responses", "probe_states"}),
    "what a probe is": (change("measures/probes.py", "PENALTY"), {"probe_states"}),
    "what is probed": (change("probes/targets.py", "ask"), {"probe_states"}),
    "what a name is": (change("measures/word_kinds.py", "name_runs"), TAGGED | {"probe_states"}),
    "runs of probes": (change("probes/join_probes.py", "join_probes"), {"join_probes"}),
    "exchanged words": (change("measures/word_reading.py", "exchanged"), {"build_response_table"}),
    # --- single steps
    "training prompts": (change("benchmark/build_instructions.py", "source_quotas"), {"build_instructions"}),
    "how many patches share a pass": (change("patching/sweep.py", "MOST_ROWS"), {"patch_states", "read_attention"}),
    "what a patch is": (change("patching/positions.py", "elsewhere"), {"patch_states"}),
    "what an answer can look at": (change("patching/attention.py", "classes"), {"read_attention"}),
    "what patches restore": (change("statistics/mediation.py", "HALF"), {"compare_patches"}),
    "tests of the knockout": (change("patching/compare_attention.py", "knockout_rows"), {"compare_attention"}),
    "kinds of questions": (change("measures/question_tags.py", "WER_BINS"), TAGGED),
    "exchanged tags": (change("statistics/group_tests.py", "exchange_p"), TAGGED),
    "edits": (change("intervention/operations.py", "ZERO_NORM"), {"edit_answers"}),
    "erased words": (change("measures/linear_erasure.py", "STEPS"), {"edit_answers"}),
    "tests of edits": (change("intervention/compare_edits.py", "judge"), {"compare_edits"}),
    "layers and chance": (change("correlation/build_alignment_table.py", "cka_rows"), {"build_alignment_table"}),
    "responses by position": (change("correlation/build_response_table.py", "position_rows"), {"build_response_table"}),
    "pools of the regression": (change("correlation/regress_gap.py", "pools"), {"regress_gap"}),
    "a verdict": (change("correlation/judge_claims.py", "depth_claims"), {"judge_claims"}),
    "another reading": (change("correlation/sensitivity.py", "SCORES"), {"sensitivity"}),
    "answers and alignment": (change("correlation/regress_answers.py", "regression_rows"), {"regress_answers"}),
    "LaTeX": (change("report/latex.py", "SPECIAL"), {"build_tables"}),
    "the page": (change("report/build_report.py", "VERDICTS"), {"build_report"}),
    "the manifest": (change("report/build_manifest.py", "speech_facts"), {"build_manifest"}),
}


@pytest.mark.parametrize("name", EDITS)
def test_an_edit_reruns_exactly(whole, name):
    edit, expected = EDITS[name]
    assert whole.changed(edit) == expected


def test_every_step_depends_on_its_own_script(whole):
    rules = {job.rule for job in whole.jobs}
    main = 'if __name__ == "__main__":\n'
    assert whole.changed(everywhere(lambda text: text.replace(main, f"{main}    edited = True\n"))) == rules
