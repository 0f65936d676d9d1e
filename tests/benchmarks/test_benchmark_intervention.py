"""The grid benchmark: both arms answer the same cells with the same tokens, and differences are seen."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmarks import intervention
from tests.tiny_study import write_tiny_study
from workflow_scripts.speech_lm.hooks import hook_count
from workflow_scripts.speech_lm.shard_queries import read_spoken_shard

torch.set_num_threads(1)
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def asked(tmp_path_factory):
    study = write_tiny_study(tmp_path_factory.mktemp("study"), n=4, n_layers=7)
    shard, lm = read_spoken_shard(study.questions, study.manifest, study.features, "00-of-01", 7), study.load()
    numbers = range(len(shard.ids))
    queries, texts = [shard.spoken(lm, k) for k in numbers], [shard.written(lm, k) for k in numbers]
    return lm, queries, intervention.grid_edits(lm, queries, texts)


def test_there_are_twenty_four_cells_with_edits_of_every_question(asked):
    _, queries, edits = asked
    assert intervention.grid_layers(30) == [0, 5, 10, 15, 20, 25]
    assert len(edits) == 24 and all(len(own) == len(queries) for own in edits.values())
    for (_, selection, layer), own in edits.items():
        assert {one[0].layer for one in own} == {layer}
        assert all(len(one[0].positions) <= 3 for one in own) or selection == "many"


def test_the_grid_gives_the_tokens_of_the_loop_in_every_cell(asked):
    lm, queries, edits = asked
    standing = hook_count(lm.decoder_layers)
    ours = intervention.answer_grid(lm, queries, edits, 8)
    theirs = intervention.answer_loop(lm, queries, edits, 8)
    assert ours == theirs
    assert len({tuple(ids) for own in ours.values() for ids in own}) > 12, "the edits matter"
    assert hook_count(lm.decoder_layers) == standing


def test_the_program_starts():
    command = [sys.executable, "-m", "benchmarks.intervention", "--help"]
    assert "--quick" in subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
