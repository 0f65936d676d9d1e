"""Studies that cannot run here, for want of a hub, still plan: offline, and in seconds."""

import time

import pytest

pytestmark = pytest.mark.xdist_group("dag")
JOBS = {
    "paper": {"train_model": 8, "dump_states": 840, "warm_up_adapter": None, "answer_instructions": 4},
    "public_models": {"train_model": None, "encode_speech": None, "synthesize_speech": 6, "dump_states": 27},
}


@pytest.mark.parametrize("study", sorted(JOBS))
def test_a_study_that_needs_the_hub_plans_offline_in_seconds(workflow, study, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    started = time.monotonic()
    counts = workflow.job_counts("--configfile", f"studies/{study}.yaml")
    # Ten seconds on an idle machine (docs/models.md); tests share theirs.
    assert time.monotonic() - started < 60
    assert {rule: counts.get(rule) for rule in JOBS[study]} == JOBS[study]


def test_own_checkpoints_are_measured_without_training(workflow):
    folder = workflow.folder / "elsewhere"
    folder.mkdir()
    (folder / "checkpoints.json").write_text("{}")

    def elsewhere(config):
        shared = {"backbone": "smollm2-135m-instruct", "encoder": "whisper-base", "strategy": "lora", "warmup": "none"}
        config["models"] = {"mine": {"family": "checkpoints", "folder": "elsewhere", "steps": [100, 200], **shared}}
        config["display"]["models"] = {}

    workflow.edit_config(elsewhere)
    counts = workflow.job_counts()
    assert "train_model" not in counts and "build_instructions" not in counts
    assert counts["answer_questions"] == 2 * 6 and counts["answer_questions_base"] == 6
