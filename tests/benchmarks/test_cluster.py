"""The study that is killed on a SLURM cluster: valid settings, a voice that speaks, and files told apart by kind."""

import json

import numpy as np
import pytest
import yaml
from safetensors.numpy import save_file

from benchmarks import cluster, cluster_study
from benchmarks.faults.config import ROOT
from workflow_scripts.artifacts.files import write_text
from workflow_scripts.artifacts.questions import Question
from workflow_scripts.settings import read_study
from workflow_scripts.settings.speech import CommandVoice
from workflow_scripts.speech.engines import CommandEngine
from workflow_scripts.step import Job

JOB = {"StdOut": "/study/.snakemake/slurm_logs/rule_speak_shard/3.log", "JobState": "COMPLETED", "RunTime": "00:02:00"}


class Begun(cluster.Study):
    """A study of which one job of two minutes is done."""

    def __init__(self, folder):
        self.folder = folder

    def jobs(self, *states):
        return {"3": JOB}


class Given:
    """The outputs of a planned job."""

    def __init__(self, *output):
        self.output = output


def test_the_study_is_valid_and_its_prompts_come_in_shards(tmp_path):
    values = cluster_study.cluster_settings(tmp_path / "given", prompts=20_000, shards=8)
    write_text(tmp_path / "cluster.yaml", yaml.safe_dump(values, sort_keys=False))
    found = read_study(ROOT, [str(tmp_path / "cluster.yaml")])
    total = found.training.instructions.prompts + found.training.instructions.heldout
    assert list(found.benchmark.subsets) == ["short"] and list(found.models) == ["tiny"]
    assert 7 < total / found.training.prompts_per_shard <= 8


def test_the_voice_says_one_sound_a_word(tmp_path):
    values = cluster_study.cluster_settings(tmp_path, prompts=1, shards=1)
    (tmp_path / "say.sh").write_text(cluster_study.VOICE)
    cluster_study.write_sounds(tmp_path / "words", {"name", "river", "stone"})
    engine = CommandEngine(CommandVoice.model_validate(values["speech"]["voices"]["tones"]))
    facts = {"subset": "made", "reference": [], "scorer": "short_answer", "source": {}}
    said = {
        text: engine.say(Question(id="a", prompt=text, spoken=text, **facts))
        for text in ("name river stone.", "name stone river?")
    }
    lengths = {len(samples) for samples, rate in said.values() if rate == cluster_study.RATE}
    assert lengths == {3 * cluster_study.RATE * cluster_study.WORD_SECONDS}
    one, other = (samples for samples, _ in said.values())
    assert (one != other).any(), "other words, other sounds"


@pytest.mark.parametrize("done, rule", [(["0"], "speak_shard"), (["0", "1"], None)])
def test_a_time_limit_is_for_a_long_rule_that_has_jobs_left(tmp_path, done, rule):
    jobs = [Job("speak_shard", None, Given(name)) for name in "01"] + [Job("encode_speech", None, Given("2"))]
    for name in done:
        write_text(tmp_path / name, "")
    assert cluster.long_rule(Begun(tmp_path), jobs) == rule


def test_seconds_of_a_job_are_read():
    assert cluster.seconds_of({"RunTime": "1-02:03:04"}) == 93784


def test_files_are_counted_by_kind_and_those_that_differ_are_named(tmp_path, capsys):
    for name, seconds in (("alone", 1.5), ("killed", 20.0)):
        write_text(tmp_path / name / "results/report/manifest.json", f'{{"wall_seconds": {{"speech": {seconds}}}}}')
        table = f'<table aria-label="Time per stage">\n<td>{seconds}</td></table>'
        write_text(tmp_path / name / "results/report/index.html", table)
        write_text(tmp_path / name / "results/evaluation/gap.csv", "1\n")
        write_text(tmp_path / name / "results/evaluation/a/text.answers.jsonl", "1\n")
        write_text(tmp_path / name / "results/rule_times/a.tsv", name)
    write_text(tmp_path / "killed/results/evaluation/decline.csv", "left\n")
    found = cluster.compared(tmp_path / "killed", tmp_path / "alone")
    assert found == [("answers of the models", 1, 1), ("tables", 1, 2), ("page, and what is left", 2, 2)]
    assert "results/evaluation/decline.csv" in capsys.readouterr().out


@pytest.mark.parametrize("value, equal", [(1.0, 1), (2.0, 0)])
def test_weights_are_compared_without_the_commit_in_their_header(tmp_path, value, equal):
    for name, commit, one in (("alone", "abc-dirty", 1.0), ("killed", "unknown", value)):
        path = tmp_path / name / "results/training/adapter.safetensors"
        path.parent.mkdir(parents=True)
        header = {"provenance": json.dumps({"code_version": commit, "seed": 0})}
        save_file({"weight": np.full(3, one, dtype=np.float32)}, path, metadata=header)
    assert cluster.compared(tmp_path / "killed", tmp_path / "alone") == [("checkpoint weights", equal, 1)]
