"""Studies that are too long to run here, or need a hub, still plan: offline, and in seconds."""

import time
from pathlib import Path

import pytest
import yaml

from tests.made_checkpoints import write_default_study, write_index
from tests.small_study import small_values
from tests.workflow.workflow_copy import Workflow
from workflow_scripts.planning.results import result_files
from workflow_scripts.planning.study import Study
from workflow_scripts.settings import ConfigError, parse_config, read_study

pytestmark = pytest.mark.xdist_group("dag")
ROOT = Path(__file__).resolve().parents[2]
JOBS = {
    "paper": {"train_model": 8, "dump_states": 400, "warm_up_adapter": None, "answer_shard": 4 * 32},
    # Only the adapter takes its written answers from the backbone.
    "reference": {"train_model": None, "build_instructions": None, "answer_spoken_questions": 8, "answer_questions": 4},
    "runs": {"train_model": 8, "warm_up_adapter": 2, "answer_questions": 60, "answer_spoken_questions": 60},
    "ears": {"train_model": 3, "answer_spoken_questions": 16, "answer_questions": None, "dump_states": 8},
    "public_models": {"train_model": None, "encode_speech": None, "synthesize_speech": 6, "dump_states": 9},
}


@pytest.mark.parametrize("study", sorted(JOBS))
def test_a_study_plans_offline_in_seconds(tmp_path, study, monkeypatch):
    workflow = Workflow(tmp_path, config=ROOT / "config.yaml")
    write_default_study(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    started = time.process_time()
    counts = workflow.planned(f"studies/{study}.yaml")
    # Ten seconds on an idle machine (docs/models.md); tests share theirs, so the processor's time is what is counted.
    assert time.process_time() - started < 20
    assert {rule: counts.get(rule) for rule in JOBS[study]} == JOBS[study]


def test_subsets_that_are_not_answered_still_keep_their_questions_out_of_the_training_prompts(workflow):
    def two(config):
        config["evaluation"]["subsets"] = ["nq", "obqa"]
        config["activations"]["subsets"] = ["nq"]

    workflow.edit_config(two)
    counts = workflow.planned()
    assert counts["build_questions"] == 6 and counts["build_instructions"] == 1
    assert counts["synthesize_speech"] == 2 + 1
    assert counts["answer_questions"] == 2 * 5 * 2 and counts["dump_states"] == 2 * 5


def test_a_distilled_model_is_compared_with_the_same_training_without_it():
    values = small_values()
    values["models"]["pulled"] = values["models"]["smollm2-lora"] | {"distill": {"weight": 1.0, "layers": [5, 10]}}
    assert Study(parse_config(values)).twins() == {"pulled": "smollm2-lora"}
    values["models"]["pulled"]["seed"] = 7
    assert Study(parse_config(values)).twins() == {}


def test_the_runs_of_the_distillation_study_have_their_twins():
    """A key that the default LoRA run gets and its twins do not would leave them without one."""
    files = [ROOT / "studies" / name for name in ("distill.yaml", "distill_seeds.yaml")]
    study = Study(read_study(ROOT, files))
    ends = ("", "-1", "-2")
    assert study.twins() == {f"coder-lora-{loss}{end}": f"coder-lora{end}" for loss in ("cosine", "kl") for end in ends}
    kinds = ("coder-lora", "coder-lora-cosine", "coder-lora-kl")
    assert study.repeats() == {"coder-adapter": "coder-adapter"} | {f"{k}{end}": k for k in kinds for end in ends}


def test_runs_repeat_one_another_where_only_seeds_differ_their_starts_included():
    values = yaml.safe_load((ROOT / "assets.yaml").read_text()) | yaml.safe_load((ROOT / "config.yaml").read_text())
    models = values["models"]
    models["ear-1"] = models["coder-adapter"] | {"seed": 1}
    models["own-ear"] = models["coder-lora"] | {"seed": 1, "start": "ear-1"}
    models["same-ear"] = models["coder-lora"] | {"seed": 1}
    models["other"] = models["coder-lora"] | {"distill": {"loss": "forward_kl", "weight": 1.0}}
    found = Study(parse_config(values)).repeats()
    alone = {name: name for name in ("coder-adapter", "coder-lora", "other")}
    assert found == alone | {"ear-1": "coder-adapter", "own-ear": "coder-lora", "same-ear": "coder-lora"}


def test_subsets_of_the_same_rows_in_other_voices_are_conditions_of_one_another():
    values = small_values()
    study = yaml.safe_load((ROOT / "studies/conditions.yaml").read_text())
    assert Study(parse_config(values)).conditions() == {}
    values["benchmark"]["subsets"] |= study["benchmark"]["subsets"]
    values["speech"]["voices"] |= study["speech"]["voices"]
    made = Study(parse_config(values))
    names = [f"nq_{name}" for name in ("babble5", "fast", "high", "low", "slow", "telephone", "white10")]
    assert made.conditions() == {"nq": ["nq", *names]}
    assert [made.voice(name) for name in ("nq", "nq_fast")] == ["heart", "fast"]
    assert "results/evaluation/conditions.csv" in result_files(made)
    values["activations"]["subsets"] += names
    speakers = Study(parse_config(values)).speakers()
    assert speakers["nq"] == speakers["nq_babble5"] == {"voice": "heart", "recorded": "synthetic"}


def test_probes_read_the_last_checkpoint_of_each_model_and_a_study_without_them_has_none(workflow):
    counts = workflow.planned()
    assert (counts["probe_states"], counts["join_probes"]) == (2, 1)
    workflow.edit_config(lambda config: config.update(probes=None))
    assert not {"probe_states", "join_probes"} & set(workflow.planned())


def test_recordings_are_told_from_synthetic_speech_and_only_analysed_subsets_are_probed():
    values = small_values()
    values["speech"]["voices"]["person"] = {"engine": "recorded", "folder": "clips"}
    values["benchmark"]["subsets"]["obqa"]["voice"] = "person"
    values["probes"] = {"subsets": ["nq", "obqa"]}
    study = Study(parse_config(values))
    assert study.speakers()["obqa"] == {"voice": "person", "recorded": "recorded"}
    assert study.probed_files("{model}/{subset}.h5") == ["{model}/nq.h5", "{model}/obqa.h5"]
    values["probes"] = {"subsets": ["mmlu"]}
    with pytest.raises(ConfigError, match=r"probes\.subsets: 'mmlu' is not among the analysed subsets"):
        parse_config(values)


def test_own_checkpoints_are_measured_without_training(workflow):
    write_index(workflow.folder / "elsewhere", [100, 200], None)

    def elsewhere(config):
        shared = {"backbone": "smollm2-135m-instruct", "encoder": "whisper-base", "strategy": "lora", "warmup": "none"}
        config["models"] = {"mine": {"family": "checkpoints", "folder": "elsewhere", "steps": [100, 200], **shared}}
        config["display"]["models"] = {}

    workflow.edit_config(elsewhere)
    counts = workflow.planned()
    assert "train_model" not in counts and "build_instructions" not in counts
    assert counts["answer_questions"] == 2 * 6 and counts["answer_questions_base"] == 6
