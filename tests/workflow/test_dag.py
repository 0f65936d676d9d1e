"""The DAG: what a fresh run plans, and that a change reruns exactly what it must (jobs counted per rule)."""

import shutil

import pytest

from tests.small_study import small_values
from tests.workflow.workflow_copy import Workflow
from workflow_scripts.figures.table import FIGURES
from workflow_scripts.plan import ALIGNMENT
from workflow_scripts.planning.study import Study
from workflow_scripts.settings import parse_config

pytestmark = pytest.mark.xdist_group("dag")
CHECKPOINTS = 5
SUBSETS = 6
ANALYSED = 3
NEW_MODEL = {
    "check_training": 1,
    "train_model": 1,
    "answer_questions": CHECKPOINTS * SUBSETS,
    "score_answers": CHECKPOINTS * SUBSETS,
    "answer_floors": SUBSETS,
    "score_floors": SUBSETS,
    "dump_states": CHECKPOINTS * ANALYSED,
    "measure_similarity": CHECKPOINTS * ANALYSED,
    "align_tokens": CHECKPOINTS * ANALYSED,
    "measure_responses": CHECKPOINTS,
    "edit_answers": 1,
    "probe_states": 1,
}
DRAWN = [name for name in FIGURES if name not in ("patching", "attention", "conditions")]
"""Figures of a study that exchanges no states, reads no attention and has one condition."""
AGGREGATES = {
    "build_gap_table": 1,
    "build_floor_table": 1,
    "build_skill_table": 1,
    "build_tag_table": 1,
    "build_alignment_table": 1,
    "regress_gap": 1,
    "build_response_table": 1,
    "judge_claims": 1,
    "sensitivity": 1,
    "join_probes": 1,
    "regress_answers": 1,
    "compare_edits": 1,
    "build_tables": 1,
    "build_manifest": 1,
    "build_report": 1,
    "plot": len(DRAWN) - 1,  # the token matrix shows the first model
}
EVERY_FIGURE = {"plot": len(DRAWN)}
DISPLAY_ONLY = {"plot": len(DRAWN) - 1, "build_tables": 1, "build_manifest": 1, "build_report": 1}


@pytest.fixture(scope="module")
def touched(tmp_path_factory):
    """A folder as if every job had run: made-up outputs with Snakemake's own records of them."""
    workflow = Workflow(tmp_path_factory.mktemp("touched"))
    run = workflow.run("all", "--cores", "1", "--dry-run", "--summary")
    outputs = [line.split("\t")[0] for line in run.stdout.splitlines()[1:] if line.strip()]
    assert len(outputs) > 300
    for output in outputs:
        path = workflow.folder / output
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(output)
    workflow.run("all", "--cores", "1", "--touch", "--quiet")
    return workflow.folder


@pytest.fixture
def finished(touched, tmp_path):
    """A copy of that folder, with times and records kept."""
    shutil.copytree(touched, tmp_path / "study", symlinks=True)
    return Workflow(tmp_path / "study", copy=False)


def second_seed(config):
    config["models"]["smollm2-lora-seed1"] = {**config["models"]["smollm2-lora"], "seed": 1}


def test_fresh_run_plans_every_stage_once(workflow):
    counts = workflow.planned()
    assert counts["train_model"] == 2
    assert counts["warm_up_adapter"] == 1, "both strategies start from one warm-up"
    assert counts["answer_questions"] == 2 * CHECKPOINTS * SUBSETS
    assert counts["answer_questions_base"] == SUBSETS
    assert counts["dump_states"] == counts["align_tokens"] == 2 * CHECKPOINTS * ANALYSED
    assert counts["synthesize_speech"] == SUBSETS + 1
    assert counts["time_words"] == ANALYSED, "once for all models"
    assert counts["encode_silence"] == SUBSETS and counts["answer_floors"] == 2 * SUBSETS, "last checkpoints only"
    assert counts["build_report"] == 1


def test_subsets_can_be_left_out_of_the_floors_one_by_one_or_all(workflow):
    workflow.edit_config(lambda config: config["benchmark"]["subsets"]["nq"].update(floors=False))
    counts = workflow.job_counts()
    assert counts["answer_floors"] == counts["score_floors"] == 2 * (SUBSETS - 1)
    workflow.edit_config(lambda config: config["evaluation"].update(floors=False))
    assert not {"answer_floors", "score_floors", "build_floor_table"} & workflow.job_counts().keys()


def test_features_computed_online_leave_out_their_file_and_nothing_else(workflow):
    cached = workflow.job_counts()

    def online(config):
        config["training"]["features"] = "online"

    workflow.edit_config(online)
    assert workflow.job_counts() == cached | {"encode_speech": cached["encode_speech"] - 1}


def test_training_prompts_in_shards_have_jobs_of_their_own_and_an_index(workflow):
    whole = workflow.job_counts()

    def shards(config):
        config["training"]["prompts_per_shard"] = 1000

    workflow.edit_config(shards)
    parts = {"split_prompts": 1, "speak_shard": 3, "transcribe_shard": 3, "answer_shard": 3}
    joins = {"join_synthesis": 1, "join_transcripts": 1, "join_answers": 1}
    fewer = {rule: whole[rule] - 1 for rule in ("synthesize_speech", "transcribe_speech", "answer_instructions")}
    expected = whole | parts | joins | fewer
    assert workflow.job_counts() == {rule: n for rule, n in expected.items() if n}


def test_adding_a_model_runs_its_jobs_and_the_cheap_aggregates_only(finished):
    finished.edit_config(second_seed)
    assert finished.planned() == NEW_MODEL | AGGREGATES | {"warm_up_adapter": 1} == finished.job_counts()


def test_adding_a_model_that_shares_the_warm_up_does_not_repeat_it(finished):
    def same_seed(config):
        config["models"]["smollm2-pulled"] = config["models"]["smollm2-lora"] | {
            "distill": {"weight": 1, "layers": [10]}
        }

    finished.edit_config(same_seed)
    assert finished.planned() == NEW_MODEL | AGGREGATES


def test_a_model_with_a_frozen_backbone_takes_over_its_written_answers(finished):
    def frozen(config):
        config["models"]["smollm2-only-adapter"] = config["models"]["smollm2-lora"] | {"strategy": "adapter"}

    finished.edit_config(frozen)
    answers = CHECKPOINTS * SUBSETS
    own = {rule: n for rule, n in NEW_MODEL.items() if rule != "answer_questions"}
    own |= {"answer_spoken_questions": answers, "take_backbone_answers": answers}
    assert finished.planned() == own | AGGREGATES


def test_adding_a_public_model_with_one_entry_fetches_and_measures_it_and_nothing_else(finished):
    def public(config):
        config["models"]["qwen2-audio"] = {"family": "hf", "path": "weights"}

    finished.edit_config(public)
    own = {"fetch_asset": 1, "edit_answers": 1, "probe_states": 1}
    own |= dict.fromkeys(("answer_questions", "score_answers", "answer_floors", "score_floors"), SUBSETS)
    own |= dict.fromkeys(("dump_states", "measure_similarity", "align_tokens"), ANALYSED)
    # Response measures compare a model with the backbone it was trained from. The lens is drawn again for its colours,
    # which are dealt out over all models.
    aggregates = {rule: n for rule, n in AGGREGATES.items() if rule != "build_response_table"}
    assert finished.planned() == own | aggregates | {"plot": len(DRAWN) - 1}


def test_a_model_that_runs_only_as_a_whole_is_measured_but_not_edited():
    values = small_values()
    values["models"]["gemma4"] = {"family": "hf", "path": "weights", "interventions": False}
    study = Study(parse_config(values))
    assert any("gemma4" in path for path in study.files(ALIGNMENT))
    assert "gemma4" in study.models and "gemma4" not in {*study.editable_models, *study.trained_models}


def test_renaming_a_label_or_colour_reruns_figures_and_report_only(finished):
    def rename(config):
        config["display"]["models"]["smollm2-lora"] = {"label": "another name", "color": "#112233"}

    finished.edit_config(rename)
    assert finished.planned() == DISPLAY_ONLY


def test_finished_study_has_nothing_to_do(finished):
    assert finished.planned() == {} == finished.job_counts()


def test_changing_one_key_reruns_only_what_reads_it(finished):
    def more_draws(config):
        config["chance"]["draws"] = 30

    finished.edit_config(more_draws)
    counts = finished.planned()
    assert counts["align_tokens"] == 2 * CHECKPOINTS * ANALYSED
    assert counts["dump_states"] == 2 * CHECKPOINTS * ANALYSED, "states are temporary, so they are made again"
    assert "train_model" not in counts
    assert "answer_questions" not in counts


def test_changing_one_entry_of_the_grid_reruns_the_interventions_and_what_reads_them(finished):
    def another_k(config):
        config["intervention"]["operations"]["angle_bottom3"]["k"] = 5

    finished.edit_config(another_k)
    counts = finished.planned()
    assert counts["edit_answers"] == 2 and counts["compare_edits"] == 1
    assert counts["plot"] == 2
    # A claim is judged from the grid's erasure; without one, claims.csv does not read the edits.
    assert set(counts) == {
        "edit_answers",
        "compare_edits",
        "judge_claims",
        "plot",
        "build_tables",
        "build_manifest",
        "build_report",
    }


def test_exchanging_states_adds_its_steps_figure_and_claims_and_runs_no_other_model_step(finished):
    finished.edit_config(lambda config: config.update(patching={"select": "all"}))
    counts = finished.planned()
    assert counts["patch_states"] == 2 and counts["compare_patches"] == 1 and counts["judge_claims"] == 1
    assert set(counts) == {
        "check_training",  # do the windows fit into the backbone?
        "patch_states",
        "compare_patches",
        "build_patch_tag_table",
        "judge_claims",
        "plot",
        "build_manifest",
        "build_report",
    }


def test_reading_attention_adds_its_steps_figure_and_claim(finished):
    finished.edit_config(lambda config: config.update(patching={"attention": {}}))
    counts = finished.planned()
    assert counts["read_attention"] == counts["patch_states"] == 2 and counts["compare_attention"] == 1
    assert set(counts) == {
        "check_training",  # do the windows fit into the backbone?
        "patch_states",
        "compare_patches",
        "build_patch_tag_table",
        "read_attention",
        "compare_attention",
        "judge_claims",
        "plot",
        "build_manifest",
        "build_report",
    }


def test_listing_more_cases_edits_nothing_again(finished):
    finished.edit_config(lambda config: config["intervention"].update(cases=3))
    counts = finished.planned()
    assert counts["compare_edits"] == 1 and "edit_answers" not in counts


def test_a_distilled_run_adds_one_training_run_only(finished):
    def distilled(config):
        entry = config["models"]["smollm2-lora"] | {"distill": {"weight": 1.0, "layers": [5, 10]}}
        config["models"]["pulled"] = entry
        config["display"]["models"]["pulled"] = {"label": "pulled", "color": "#009E73"}

    finished.edit_config(distilled)
    assert finished.planned() == NEW_MODEL | AGGREGATES | EVERY_FIGURE, "its label redraws every figure"


def test_a_second_backbone_brings_its_own_targets_warm_up_and_base_answers(finished):
    def another(config):
        entry = config["models"]["smollm2-lora"] | {"backbone": "qwen2.5-coder-0.5b-instruct"}
        config["models"]["qwen-coder-lora"] = entry

    finished.edit_config(another)
    counts = finished.planned()
    own = {"answer_instructions": 1, "warm_up_adapter": 1, "answer_questions_base": SUBSETS}
    assert NEW_MODEL.items() | own.items() <= counts.items()
    assert "encode_speech" not in counts and "synthesize_speech" not in counts


def test_touched_and_commented_sources_rerun_nothing_and_an_edited_scorer_its_scores(finished):
    scoring = finished.folder / "workflow_scripts/scoring/refusal.py"
    scoring.write_text("# A remark.\n" + scoring.read_text())
    assert finished.planned() == {}
    scoring.write_text(scoring.read_text().replace('version="2"', 'version="edited"'))
    counts = finished.planned()
    assert counts["score_answers"] == 2 * CHECKPOINTS and counts["score_answers_base"] == 1
    assert "answer_questions" not in counts and "build_report" in counts


def test_an_edited_converter_converts_again_and_fetches_nothing(finished):
    converter = finished.folder / "workflow_scripts/assets/convert_whisper.py"
    converter.write_text(converter.read_text().replace("torch.float32", "torch.float64"))
    counts = finished.planned()
    assert counts["convert_asset"] == 1 and counts["encode_speech"] == SUBSETS + 1
    assert not {"fetch_asset", "fetch_original", "synthesize_speech", "answer_instructions"} & set(counts)


def test_the_plan_names_what_changed_and_keeping_the_results_accepts_that_and_nothing_else(finished):
    source = finished.folder / "workflow_scripts/training/curve.py"
    source.write_text(source.read_text() + "\n\n# A remark.\n")
    assert "Nothing to do" in finished.plan()
    scorer = finished.folder / "workflow_scripts/scoring/refusal.py"
    scorer.write_text(scorer.read_text().replace('version="2"', 'version="edited"'))
    told = finished.plan()
    assert "scoring.refusal: SCORER.version changed  (score_answers, score_answers_base, score_floors)" in told
    assert "score_answers_base" in told and "train_model" not in told
    finished.edit_config(lambda config: config["chance"].update(draws=30))
    told = finished.plan("--keep")
    assert "Kept: the results of 13 job(s)" in told
    counts = finished.planned()
    assert "score_answers" not in counts and counts["align_tokens"] == 2 * CHECKPOINTS * ANALYSED
    scorer.write_text(scorer.read_text().replace('version="edited"', 'version="once more"'))
    assert finished.planned()["score_answers"] == 2 * CHECKPOINTS, "what was accepted is one version of the code"


NEW_FIGURE = """
FIGURES = {
    **FIGURES,
    "planted": Figure(
        function="plot_planted:plot_planted",
        inputs={"tests": "results/intervention/tests.csv"},
        columns={"tests": "model"},
        title="Planted",
        caption="n: questions.",
        category="Gap",
        label="Planted",
    ),
}
"""


def test_a_new_figure_is_a_function_and_an_entry_and_runs_its_job_and_the_page_only(finished):
    folder = finished.folder / "workflow_scripts/figures"
    with open(folder / "table.py", "a") as table:
        table.write(NEW_FIGURE)
    (folder / "plot_planted.py").write_text("def plot_planted(tests, display): ...\n")
    assert finished.job_counts() == {"plot": 1, "build_report": 1}


def test_an_edited_figure_is_drawn_again_alone_and_an_edited_caption_draws_nothing(finished):
    folder = finished.folder / "workflow_scripts/figures"
    with open(folder / "plot_cka.py", "a") as source:
        source.write("\n\nplot_cka = plot_cka or None\n")
    (folder / "table.py").write_text((folder / "table.py").read_text().replace("Debiased linear CKA", "CKA"))
    assert finished.planned() == {"plot": 1, "build_report": 1}


def test_removing_a_model_runs_aggregates_only(finished):
    finished.edit_config(lambda config: config["models"].pop("smollm2-full") and config["display"]["models"].clear())
    assert set(finished.planned()) <= set(AGGREGATES)


def test_published_scorers_run_only_where_the_config_asks_for_them(workflow):
    assert not {"score_official", "score_panda"} & set(workflow.planned())
    evaluators = workflow.folder / "VoiceBench/src/evaluator"
    evaluators.mkdir(parents=True)
    for name in ("mcq", "harm", "ifeval", "bbh"):
        (evaluators / f"{name}.py").touch()
    pickles = {name: f"pickles/{name}" for name in ("classifier", "vectorizer")}
    (workflow.folder / "pickles").mkdir()
    for path in pickles.values():
        (workflow.folder / path).touch()
    hashes = {f"{name}_sha256": "0" * 64 for name in pickles}
    workflow.edit_config(lambda config: config.update(scoring={"official": "VoiceBench", "panda": pickles | hashes}))
    counts = workflow.planned()
    assert counts["score_official"] == counts["score_panda"] == 1


def test_unknown_key_stops_before_any_job_and_names_the_nearest(workflow):
    workflow.edit_config(lambda config: config["speech"].update(voyce="heart"))
    run = workflow.run("all", "--cores", "1", check=False)
    assert run.returncode != 0
    assert "speech.voyce: unknown key; did you mean 'voice'?" in run.stdout + run.stderr
    assert not (workflow.folder / "results").exists()
