"""A public model from its folder to edited answers: every step that runs a model, on a tiny Qwen2-Audio."""

import numpy as np
import pytest

from tests.public_study import entry, write_public_study
from workflow_scripts.activations.dump_states import dump_states
from workflow_scripts.alignment.align_tokens import align_tokens
from workflow_scripts.artifacts.answers import ANSWERS, EDITED_ANSWERS
from workflow_scripts.artifacts.measurements import ALIGNMENT, SIMILARITY, read_measurements
from workflow_scripts.artifacts.partial import PartialBatches
from workflow_scripts.artifacts.states import StateReader
from workflow_scripts.assets.fetch_asset import fetch_asset
from workflow_scripts.evaluation.answer_questions import answer_questions
from workflow_scripts.intervention.edit_answers import edit_answers
from workflow_scripts.settings.assets import AssetSettings
from workflow_scripts.similarity.measure_similarity import measure_similarity
from workflow_scripts.speech_lm.opening.open_model import ModelSource, open_model
from workflow_scripts.speech_lm.protocol import SpeechLMError
from workflow_scripts.speech_lm.shard_queries import AudioFiles

COMMON = {"shard": "00-of-01", "seed": 7}
BATCHES = {"batch_size": 2, "max_positions": 4096}
OPERATIONS = {
    "none": {"operation": "none"},
    "no_op": {"operation": "no_op"},
    "angle_all": {"operation": "angle", "selection": "all"},
}


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("public")
    written = write_public_study(folder)
    source = {"path": str(written.model)}
    settings = {"format": "transformers", "licence": "test", "sources": [source]}
    checked = {"speech_seconds": 4, **entry()}
    asset = folder / "resources" / "tiny-public.weights"
    fetch_asset(asset.name, AssetSettings.model_validate(settings), asset, models=[checked])
    return written, asset / "asset.json", folder


def test_answers_states_similarity_alignment_and_edits_of_a_public_model(study):
    files, record, folder = study
    source = ModelSource(record, "final", entry())
    inputs = (files.questions, files.manifest)
    outputs = {form: folder / f"{form}.jsonl" for form in ("text", "speech", "asr")}
    answer_questions(
        *inputs,
        None,
        source,
        *outputs.values(),
        PartialBatches(outputs["text"], "of this run"),
        max_new_tokens=5,
        evaluation=BATCHES,
        **COMMON,
    )
    speech = ANSWERS.read(outputs["speech"])
    assert [row.id for row in speech] == ["q0", "q2", "q3"]
    assert speech[0].reference_nll > 0 and speech[2].reference_nll is None

    # The same answer as transformers' own generate on the processor's inputs.
    lm = open_model(source).lm
    query = lm.encode_speech(AudioFiles(files.manifest).speech("q2"))
    own = lm.model.generate(**lm.model_inputs(query), max_new_tokens=5, do_sample=False, pad_token_id=0)
    assert list(speech[1].token_ids) == own[0, query.length :].tolist()

    states = folder / "states.h5"
    dump_states(*inputs, None, source, states, activations={"batch_size": 2}, **COMMON)
    with StateReader(states) as reader:
        assert reader.ids == ["q0", "q2", "q3"] and reader.n_layers == 3
        assert reader.attributes["model"] == "tiny-public" and reader.attributes["checkpoint"] == "final"
        assert np.diff(reader.offsets("speech")).tolist() == [15, 25, 30]
        expected = lm.states([query])[0]
        found = reader.layer("speech", 2)[slice(*reader.offsets("speech")[1:3])]
        np.testing.assert_allclose(found, expected[2].numpy(), rtol=1e-2, atol=1e-2)

    similarity, alignment = folder / "similarity.h5", folder / "alignment.h5"
    measure_similarity(states, similarity, draws=3, seed=1, massive=1)
    align_tokens(states, alignment, draws=3, seed=1, examples=1)
    assert read_measurements(similarity, SIMILARITY).measures["cosine"].raw.shape == (3, 4)
    assert np.isfinite(read_measurements(alignment, ALIGNMENT).measures["path_score_cosine"].raw).all()

    edited = folder / "edited.jsonl"
    intervention = {"subset": "tiny", "layer": 1, "operations": OPERATIONS}
    edit_answers(
        *inputs,
        None,
        alignment,
        source,
        edited,
        PartialBatches(edited, "of this run"),
        max_new_tokens=5,
        intervention=intervention,
        evaluation=BATCHES,
        **COMMON,
    )
    rows = EDITED_ANSWERS.read(edited)
    by_edit = {name: [row.token_ids for row in rows if row.edit == name] for name in OPERATIONS}
    assert by_edit["no_op"] == by_edit["none"] == [list(row.token_ids) for row in speech]
    assert by_edit["angle_all"] != by_edit["none"]


def test_a_study_with_longer_speech_than_the_models_window_is_refused_when_the_weights_are_fetched(study, tmp_path):
    files, _, _ = study
    settings = {"format": "transformers", "licence": "test", "sources": [{"path": str(files.model)}]}
    checked = {"speech_seconds": 30, **entry()}
    with pytest.raises(
        RuntimeError, match=r"speech\.max_seconds is 30, but the model's window is 4 s.*set .* at most 4"
    ):
        fetch_asset("other", AssetSettings.model_validate(settings), tmp_path / "other", models=[checked])
    assert not (tmp_path / "other" / "asset.json").exists()


def test_a_model_that_cannot_fit_is_refused_before_it_is_loaded(study, monkeypatch):
    _, record, _ = study
    monkeypatch.setattr("workflow_scripts.speech_lm.memory.free_bytes", lambda *_, **__: (10**6, "cpu"))
    monkeypatch.setattr(
        "workflow_scripts.speech_lm.opening.open_model.load_model", lambda *_, **__: pytest.fail("was loaded")
    )
    with pytest.raises(SpeechLMError, match=r"tiny-public cannot fit: weights .* free on cpu: 0\.00 GB\. Set dtype"):
        open_model(ModelSource(record, "final", entry()))
