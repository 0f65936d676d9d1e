"""The state file holds what the model computes, for the kept questions, and is written batch by batch."""

import json
from itertools import pairwise

import h5py
import numpy as np
import pytest
import torch

from tests.tiny_study import CHECKPOINT, write_tiny_study
from workflow_scripts.activations.dump_states import (
    dump_states,
    query_shapes,
    stream_states,
    write_shard_states,
)
from workflow_scripts.artifacts.checkpoints import weights_hash
from workflow_scripts.artifacts.files import ArtifactError
from workflow_scripts.artifacts.partial import PartialArrays
from workflow_scripts.artifacts.states import StateReader
from workflow_scripts.artifacts.utterances import UTTERANCES
from workflow_scripts.settings.analysis import ActivationSettings
from workflow_scripts.speech_lm.shard_queries import read_spoken_shard


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return write_tiny_study(tmp_path_factory.mktemp("study"))


def dump(study, path, shard="00-of-01", **activations):
    dump_states(
        **study.inputs(),
        states=path,
        shard=shard,
        activations={"batch_size": 2, "compression": "none", **activations},
        seed=7,
    )
    return path


def read_form(path, form):
    """Every question's states of one form, (L+1, T, d)."""
    with StateReader(path) as reader:
        layers = np.stack([reader.layer(form, layer) for layer in range(reader.n_layers + 1)])
        offsets = reader.offsets(form)
    return [layers[:, a:b] for a, b in pairwise(offsets)]


def shard_of(study):
    return read_spoken_shard(study.questions, study.manifest, study.features, "00-of-01", 7)


@pytest.fixture(scope="module")
def computed(study, tmp_path_factory):
    """A state file of the model in float32 with the model and the questions it was made from."""
    lm, asked = study.load(), shard_of(study)
    path = tmp_path_factory.mktemp("computed") / "states.h5"
    write_shard_states(path, lm, asked, ActivationSettings(batch_size=2), {})
    return path, lm, asked


def test_the_file_holds_the_models_states_rounded_to_bfloat16(computed):
    path, lm, asked = computed
    assert asked.ids == ["q0", "q2", "q3", "q4"] and asked.dropped == ["q1"]
    for form, encode in (("speech", asked.spoken), ("text", asked.written)):
        for number, found in enumerate(read_form(path, form)):
            expected = lm.states([encode(lm, number)])[0]
            assert found.shape == tuple(expected.shape)
            # Batches round differently in the last float32 digit, which may tip the rounding to bfloat16.
            np.testing.assert_allclose(found, expected.float().numpy(), rtol=2**-7, atol=1e-5)


def test_layers_are_those_of_transformers_hidden_states(computed):
    """hidden_states[l] of transformers is our states[l] for l < L; its last entry is ours after the final norm."""
    path, lm, asked = computed
    query = asked.spoken(lm, 2)
    with torch.no_grad():
        hidden = lm.decoder(inputs_embeds=lm.embed(query)[None], output_hidden_states=True).hidden_states
    span = slice(*query.span)
    found = torch.from_numpy(read_form(path, "speech")[2].copy())
    assert len(hidden) == len(found) == lm.n_layers + 1
    for layer in range(lm.n_layers):
        torch.testing.assert_close(found[layer], hidden[layer][0, span], rtol=2**-7, atol=1e-5)
    torch.testing.assert_close(lm.final_norm(found[-1]), hidden[-1][0, span], rtol=2**-5, atol=1e-2)
    assert (found[-1] - hidden[-1][0, span]).abs().max() > 0.1


def test_embeddings_of_text_are_the_token_embeddings(computed):
    path, lm, asked = computed
    query = asked.written(lm, 0)
    table = lm.lm_head.weight[torch.tensor(query.token_ids)].detach().to(torch.bfloat16).float()
    np.testing.assert_array_equal(read_form(path, "text")[0][0], table.numpy())


def test_attributes_identify_model_tokenizer_and_settings(study, tmp_path):
    with StateReader(dump(study, tmp_path / "states.h5")) as reader:
        found = reader.attributes
        tokens = reader.tokens(0)
    assert (found["model"], found["checkpoint"], found["subset"], found["seed"]) == ("tiny-lora", CHECKPOINT, "tiny", 7)
    assert (found["backbone"], found["backbone_revision"]) == ("tiny-llama", "tiny-llama==1.0")
    assert found["weights_sha256"] == weights_hash(study.model.parent / CHECKPOINT)
    assert len(found["tokenizer_hash"]) == len(found["template_hash"]) == 16
    assert json.loads(found["dropped"]) == ["q1"]
    assert json.loads(found["provenance"])["settings"]["batch_size"] == 2
    assert "".join(tokens) == "what is the water in the river 0"


def test_shards_split_the_kept_questions(study, tmp_path):
    ids = []
    for shard in ("00-of-02", "01-of-02"):
        with StateReader(dump(study, tmp_path / f"{shard}.h5", shard=shard)) as reader:
            ids += reader.ids
    assert sorted(ids) == ["q0", "q2", "q3", "q4"]


def test_states_are_computed_one_batch_at_a_time_as_they_are_consumed(study, monkeypatch):
    """Memory stays constant because nothing runs ahead of the writer."""
    lm, asked = study.load(), shard_of(study)
    lengths = query_shapes(lm, asked).lengths
    calls = []
    compute = lm.states
    monkeypatch.setattr(lm, "states", lambda queries: calls.append(len(queries)) or compute(queries))
    stream = stream_states(lm, asked, lengths, batch_size=2)
    assert calls == []
    first, second = next(stream), next(stream)
    assert calls == [2, 2]  # one batch of two questions: spoken, then written
    next(stream)
    assert calls == [2, 2, 2, 2]
    assert [first[0], second[0]] == sorted(range(4), key=lambda number: -lengths[number])[:2]  # longest first


def datasets(path):
    """Bytes of every dataset of an HDF5 file."""
    found = {}
    with h5py.File(path) as file:
        file.visititems(lambda name, one: found.update({name: one[()].tobytes()} if hasattr(one, "dtype") else {}))
    return found


@pytest.mark.parametrize("done", [1, 2, 3])
def test_a_killed_step_goes_on_behind_its_last_batch_and_writes_the_file_of_an_uninterrupted_one(
    study, tmp_path, monkeypatch, done
):
    lm, asked = study.load(), shard_of(study)
    compute, calls = lm.states, []

    def killed(queries):
        if len(calls) == limit:
            raise KeyboardInterrupt
        calls.append(len(queries))
        return compute(queries)

    def write(name, batch_size=1):
        partial = PartialArrays(tmp_path / name, "of this run")
        write_shard_states(tmp_path / name, lm, asked, ActivationSettings(batch_size=batch_size), {}, partial)
        return partial

    monkeypatch.setattr(lm, "states", killed)
    limit = 99
    write("whole.h5").remove()
    calls.clear()
    limit = 2 * done + 1  # in the middle of a batch: spoken, not yet written
    with pytest.raises(KeyboardInterrupt):
        write("killed.h5")
    cut = tmp_path / ".killed.h5.partial" / "unfinished"
    cut.write_bytes(b"PK")
    calls.clear()
    limit = 99
    partial = write("killed.h5")
    assert len(calls) == 2 * (4 - done), "the others only"
    assert datasets(tmp_path / "killed.h5") == datasets(tmp_path / "whole.h5")
    partial.remove()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["killed.h5", "whole.h5"]


def test_states_of_another_run_or_cut_off_by_a_kill_are_computed_again(tmp_path):
    first = PartialArrays(tmp_path / "states.h5", "of this run")
    first.add("a", {"x": np.arange(3)})
    first.add("b", {"x": np.arange(9000)})
    assert PartialArrays(tmp_path / "states.h5", "of this run").get("a")["x"].tolist() == [0, 1, 2]
    for file in first.path.iterdir():
        file.write_bytes(file.read_bytes()[:-20])
    assert first.get("a") is first.get("b") is None
    assert PartialArrays(tmp_path / "states.h5", "of another run").get("a") is None
    assert list(first.path.iterdir()) == []


def test_states_that_are_not_finite_stop_the_step_and_leave_no_file(study, tmp_path, monkeypatch):
    lm, asked = study.load(), shard_of(study)
    lm.decoder_layers[1].mlp.down_proj.weight.data.fill_(float("nan"))
    partial = PartialArrays(tmp_path / "bad.h5", "of this run")
    with pytest.raises(ArtifactError, match="not finite from layer 2 on"):
        write_shard_states(tmp_path / "bad.h5", lm, asked, ActivationSettings(compression="none"), {}, partial)
    assert list(tmp_path.iterdir()) == [], "nor a batch that the next run would take over"


def test_a_shard_without_kept_questions_is_refused_before_the_model_is_loaded(tmp_path):
    study = write_tiny_study(tmp_path / "study", n=2, dropped=(0, 1))
    study.model.unlink()
    with pytest.raises(ArtifactError, match="none of the 2 question"):
        dump(study, tmp_path / "states.h5")


def test_a_question_missing_from_the_manifest_is_named(tmp_path):
    study = write_tiny_study(tmp_path / "study", n=3)
    UTTERANCES.write(study.manifest, UTTERANCES.read(study.manifest)[:2], {})
    with pytest.raises(ArtifactError, match=r"\['q2'\]"):
        dump(study, tmp_path / "states.h5")
