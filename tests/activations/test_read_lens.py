"""Words under the lens in time: one that is planted at a layer while it is spoken is found there and then only."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from tests.tiny_study import write_tiny_study
from workflow_scripts.activations.read_lens import OFFSETS, UNTIMED, Looked, check_times, read_lens, word_ids
from workflow_scripts.artifacts.files import ArtifactError
from workflow_scripts.artifacts.questions import Question
from workflow_scripts.artifacts.word_times import TimedWord, WordTimes
from workflow_scripts.correlation.build_response_table import word_rows
from workflow_scripts.measures.word_reading import NEXT, OWN
from workflow_scripts.speech_lm.protocol import Query

LAYERS, PLANTED, STEP, WORDS = [0, 1, 2, 3], 2, 0.1, 4
PROMPTS = ["ax by cy dz", "ex fy gz he", "ix jy kz le", "mx ny oz pe", "qx ry sz te"]


class Spoken:
    """Questions whose words, each four positions long, begin with letters that no other question has."""

    def __init__(self, subsets="sssss"):
        self.ids = [f"q{number}" for number in range(len(PROMPTS))]
        self.questions = [
            Question(
                id=name, subset=subset, prompt=prompt, spoken=prompt, reference=[], scorer="short_answer", source={}
            )
            for name, subset, prompt in zip(self.ids, subsets, PROMPTS)
        ]
        self.n = 4 * WORDS
        self.source = SimpleNamespace(seconds=dict.fromkeys(self.ids, self.n * STEP))

    def spoken(self, lm, place):
        starts = tuple(k * STEP for k in range(self.n))
        return Query({"place": place}, self.n, (0, self.n), ("",) * self.n, None, None, self.n * STEP, "speech", starts)

    def looked(self):
        found = []
        for place, prompt in enumerate(PROMPTS):
            words = [
                TimedWord(text=word, span=(3 * k, 3 * k + 2), seconds=(4 * k * STEP, 4 * (k + 1) * STEP))
                for k, word in enumerate(prompt.split())
            ]
            found.append(Looked(self, place, WordTimes(id=self.ids[place], words=words)))
        return found


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return write_tiny_study(tmp_path_factory.mktemp("study")).load()


def model(tiny, ahead=0):
    """States of noise, but for layer `PLANTED`: there, each word's row of the output head while the word that stands
    `ahead` words before it is spoken."""
    head = tiny.lm_head.weight.detach().float()

    def states(queries, layers):
        place, n = queries[0].inputs["place"], queries[0].length
        found = torch.randn(4, n, tiny.hidden_size, generator=torch.Generator().manual_seed(place))
        for k, word in enumerate(PROMPTS[place].split()):
            if k >= ahead:
                row = head[word_ids(word, tiny.tokenizer)[0]]
                found[PLANTED, 4 * (k - ahead) : 4 * (k - ahead + 1)] = 50 * row / row.norm()
        return [found[layers]]

    return SimpleNamespace(
        tokenizer=tiny.tokenizer,
        model=tiny.model,
        final_norm=tiny.final_norm,
        device=tiny.device,
        dtype=tiny.dtype,
        states=states,
    )


def rows_of(tiny, looked, **planted):
    _, words = read_lens(model(tiny, **planted), looked, LAYERS)
    rows = list(word_rows(words, draws=99, seed=0))
    return {(row["target"], row["measure"], row["layer"], row["offset"]): row for row in rows}


def test_a_planted_word_is_found_at_its_layer_and_time_and_not_under_the_null(tiny):
    rows = rows_of(tiny, Spoken().looked())
    assert len(rows) == 2 * 2 * len(LAYERS) * len(OFFSETS)
    own = {layer: rows[OWN, "recall", layer, 0.0] for layer in LAYERS}
    assert own[PLANTED]["value"] == 1 and own[PLANTED]["p"] <= 0.03
    assert all(own[layer]["value"] - own[layer]["null"] < 0.3 for layer in LAYERS if layer != PLANTED)
    assert own[PLANTED]["null"] < 0.3 and own[PLANTED]["n"] == 5 and own[PLANTED]["words"] == 20
    assert rows[OWN, "log_rank", PLANTED, 0.0]["value"] == 0 and rows[OWN, "log_rank", PLANTED, 0.0]["p"] <= 0.03
    # Two words away the positions say other words; the first words have no positions so early.
    far = rows[OWN, "recall", PLANTED, -0.8]
    assert far["value"] < 0.3 and far["words"] == 10 and far["n"] == 5
    assert rows[NEXT, "recall", PLANTED, 0.0]["value"] < 0.3


def test_a_word_that_is_written_one_word_ahead_is_the_next_word(tiny):
    rows = rows_of(tiny, Spoken().looked(), ahead=1)
    found = rows[NEXT, "recall", PLANTED, 0.0]
    assert found["value"] == 1 and found["p"] <= 0.03 and found["words"] == 15
    assert rows[OWN, "recall", PLANTED, 0.0]["value"] < 0.3
    assert rows[OWN, "recall", PLANTED, -0.4]["value"] == 1, "a word lasts 0.4 s"


def test_words_of_other_subsets_are_not_exchanged(tiny):
    rows = rows_of(tiny, Spoken(subsets="ssttu").looked())
    row = rows[OWN, "recall", PLANTED, 0.0]
    assert (row["n"], row["skipped"], row["note"]) == (4, 1, "no other question: 1")


def test_questions_without_times_of_positions_or_words_are_skipped_and_counted(tiny):
    asked = Spoken()
    with_times = asked.spoken
    asked.spoken = lambda lm, place: replace(
        with_times(lm, place), starts=None if place == 1 else with_times(lm, place).starts
    )
    looked = asked.looked()
    silent = [word.model_copy(update={"seconds": None}) for word in looked[0].times.words]
    looked[0] = replace(looked[0], times=WordTimes(id="q0", words=silent))
    row = rows_of(tiny, looked)[OWN, "recall", PLANTED, 0.0]
    assert (row["n"], row["skipped"], row["value"]) == (3, 2, 1.0)
    assert row["note"] == f"no timed word of its own: 1; {UNTIMED}: 1"


def test_words_that_questions_share_are_looked_for_in_neither(tiny):
    looked = Spoken().looked()
    words = [looked[0].times.words[0].model_copy(update={"text": "Ey"}), *looked[0].times.words[1:]]
    looked[0] = replace(looked[0], times=WordTimes(id="q0", words=words))
    assert rows_of(tiny, looked)[OWN, "recall", PLANTED, 0.0]["words"] == 18, (
        "Ey as ex: the lower-case token counts too"
    )


def test_word_times_of_another_prompt_are_named():
    looked = Spoken().looked()
    check_times(looked, "t.jsonl")
    other = replace(looked[0], times=looked[1].times)
    with pytest.raises(ArtifactError, match=r"t\.jsonl: question 'q0' has the word 'ex'"):
        check_times([other], "t.jsonl")


def test_without_questions_there_are_no_rows(tiny):
    _, words = read_lens(model(tiny), [], LAYERS)
    assert list(word_rows(words, 9, 0)) == [] == list(word_rows({}, 9, 0))
    assert np.shape(words["own_recall"]) == (0, 0, 4, len(OFFSETS))
