"""Alignment files hold errors in time: planted alignments hit, unrelated ones do not, undefined cases are counted."""

import json

import numpy as np
import pytest

from tests.planted_states import plant_text, random_states, write_planted
from workflow_scripts.alignment.align_tokens import align_tokens
from workflow_scripts.artifacts.files import ArtifactError
from workflow_scripts.artifacts.measurements import ALIGNMENT, read_measurements
from workflow_scripts.artifacts.word_times import WORD_TIMES, TimedWord, WordTimes
from workflow_scripts.measures.pair_alignment import METRICS
from workflow_scripts.measures.time_truth import OUTSIDE, UNTIMED, TimedTokens, time_scores
from workflow_scripts.measures.token_alignment import alignment_path, token_similarity

BASELINES = ("uniform", "proportional")
PARTS = {"time_error_ms": "error", "time_error_median_ms": "median", "hit_rate": "hit"}
TIMED_SHARE = "timed_share"
TIME_MEASURES = (*(f"{name}_{of}" for name in PARTS for of in (*METRICS, *BASELINES)), TIMED_SHARE)
STEP = 0.1  # of planted states: seconds = T_s / 10
LENGTHS_S, LENGTHS_T = [20, 31, 25, 44], [6, 9, 7, 12]


def one_word_a_token(path, times, ids=None):
    """Word times in which token j is the word of characters [j, j + 1); None leaves a word untimed."""
    records = [
        WordTimes(
            id=f"q{number}" if ids is None else ids[number],
            words=[TimedWord(text=f"t{j}", span=(j, j + 1), seconds=one) for j, one in enumerate(spoken)],
        )
        for number, spoken in enumerate(times)
    ]
    WORD_TIMES.write(path, records, {})
    return path


def at_frames(paths):
    """Each token is spoken during its planted frame."""
    return [[(i * STEP, (i + 1) * STEP) for i in path.tolist()] for path in paths]


def measured(tmp_path, speech, text, times, examples=1):
    states = write_planted(tmp_path / "states.h5", speech, text)
    words = None if times is None else one_word_a_token(tmp_path / "times.jsonl", times)
    align_tokens(states, tmp_path / "alignment.h5", draws=2, seed=0, examples=examples, words=words)
    return read_measurements(tmp_path / "alignment.h5", ALIGNMENT)


@pytest.fixture
def planted():
    text = random_states(LENGTHS_T, 1)
    return text, *plant_text(text, LENGTHS_S, 2)


def test_a_planted_alignment_hits_every_word_and_beats_both_baselines(tmp_path, planted):
    text, speech, paths = planted
    found = measured(tmp_path, speech, text, at_frames(paths))
    for metric in METRICS:
        np.testing.assert_array_equal(found.measures[f"hit_rate_{metric}"].raw, 1)
        # The length of a position is estimated from four questions, to within 1 %.
        assert found.measures[f"time_error_ms_{metric}"].raw.max() < 0.5 * 1000 * STEP
    for other in BASELINES:
        assert found.measures[f"hit_rate_{other}"].raw.max() < 0.7
        assert found.measures[f"time_error_ms_{other}"].raw.min() > 1000 * STEP
    assert (found.measures[TIMED_SHARE].raw == 1).all()
    for number, path in enumerate(paths):
        np.testing.assert_array_equal(found.words["frame"][number], path)


def test_unrelated_states_are_as_far_off_as_the_uniform_path(tmp_path):
    lengths = [40] * 30
    speech, text = random_states(lengths, 3), random_states([12] * 30, 4)
    rng = np.random.default_rng(5)
    spoken = at_frames([np.sort(rng.choice(40, 12, replace=False)) for _ in lengths])
    found = measured(tmp_path, speech, text, spoken).measures
    for name in ("time_error_ms", "hit_rate"):
        raw = found[f"{name}_cosine"].raw
        spread = raw.mean(axis=1).std(ddof=1) / np.sqrt(len(raw))
        assert abs(raw.mean() - found[f"{name}_uniform"].raw.mean()) < 4 * spread


def test_reversed_speech_is_aligned_but_at_the_wrong_times(tmp_path, planted):
    text, speech, paths = planted
    found = measured(tmp_path, [one[:, ::-1] for one in speech], text, at_frames(paths)).measures
    assert found["path_score_cosine"].raw.min() > 0.999
    assert found["hit_rate_cosine"].raw.mean() < 0.3


def test_scores_can_be_had_again_from_the_file_and_its_token_matrices(tmp_path, planted):
    text, speech, paths = planted
    noisy = [one + 1.2 * other for one, other in zip(speech, random_states(LENGTHS_S, 6))]
    found = measured(tmp_path, noisy, text, at_frames(paths), examples=4)
    for number, name in enumerate(found.ids):
        tokens = TimedTokens(**{part: found.words[part][number] for part in ("frame", "first", "last", "centre")})
        bounds = found.position_bounds[number]
        for metric in METRICS:
            again = time_scores(found.paths[metric][number], tokens, bounds)
            for measure, part in PARTS.items():
                raw = found.measures[f"{measure}_{metric}"].raw[number]
                np.testing.assert_allclose(raw, getattr(again, part), rtol=1e-6)
        matrix = token_similarity(noisy[number], text[number]).cosine
        from_matrix = time_scores(alignment_path(matrix, "cosine")[0], tokens, bounds)
        stored = time_scores(
            alignment_path(found.examples[name]["cosine"].astype(np.float32), "cosine")[0], tokens, bounds
        )
        np.testing.assert_allclose(from_matrix.hit, found.measures["hit_rate_cosine"].raw[number], atol=0.2)
        np.testing.assert_allclose(stored.hit, found.measures["hit_rate_cosine"].raw[number], atol=0.2)


def test_untimed_words_tokens_outside_words_and_questions_without_times_are_counted(tmp_path, planted):
    text, speech, paths = planted
    spoken = at_frames(paths)
    spoken[0][2] = None  # not heard
    spoken[1] = spoken[1][:-1]  # the last token is outside words
    spoken[2] = [None] * LENGTHS_T[2]
    found = measured(tmp_path, speech, text, spoken)
    facts = found.attributes
    assert (facts["text_tokens"], facts["tokens_of_untimed_words"]) == (sum(LENGTHS_T), 1 + LENGTHS_T[2])
    assert (facts["tokens_outside_words"], facts["questions_without_times"]) == (1, 1)
    assert found.words["frame"][0][2] == UNTIMED and found.words["frame"][1][-1] == OUTSIDE
    for name in TIME_MEASURES:
        raw = found.measures[name].raw
        assert (raw[2] == 0).all() if name == TIMED_SHARE else np.isnan(raw[2]).all()
        assert np.isfinite(raw[[0, 1, 3]]).all()
    assert found.measures[TIMED_SHARE].raw[0, 0] == pytest.approx(1 - 1 / LENGTHS_T[0])
    assert (found.measures["hit_rate_cosine"].raw[[0, 1]] == 1).all()


def test_one_text_token_and_one_frame_are_scored(tmp_path):
    found = measured(tmp_path, random_states([1, 9], 7), random_states([1, 1], 8), [[(0.0, 0.1)], [(0.2, 0.4)]])
    assert np.isfinite(found.measures["time_error_ms_cosine"].raw).all()
    assert (found.measures["hit_rate_uniform"].raw[0] == 1).all()


def test_tokens_of_a_model_that_gives_no_characters_are_all_outside_words(tmp_path, planted):
    text, speech, paths = planted
    states = write_planted(tmp_path / "states.h5", speech, text, spans=False)
    words = one_word_a_token(tmp_path / "times.jsonl", at_frames(paths))
    align_tokens(states, tmp_path / "alignment.h5", draws=2, seed=0, examples=0, words=words)
    found = read_measurements(tmp_path / "alignment.h5", ALIGNMENT)
    assert found.attributes["tokens_outside_words"] == found.attributes["text_tokens"] == sum(LENGTHS_T)
    assert np.isnan(found.measures["hit_rate_cosine"].raw).all()


def test_without_word_times_the_file_says_undefined_everywhere(tmp_path, planted):
    text, speech, _ = planted
    found = measured(tmp_path, speech, text, None)
    assert all(np.isnan(found.measures[name].raw).all() for name in TIME_MEASURES)
    assert found.words == {} and found.position_bounds == []
    assert json.loads(found.attributes["undefined"])["path_score_cosine"] == 0


def test_times_of_unequal_positions_are_those_that_the_model_gives(tmp_path, planted):
    text, speech, paths = planted
    rng = np.random.default_rng(9)
    starts = [np.sort(rng.uniform(0, T / 10, T)) for T in LENGTHS_S]
    ends = [np.append(one[1:], T / 10) for one, T in zip(starts, LENGTHS_S)]
    spoken = [list(zip(one[path].tolist(), end[path].tolist())) for one, end, path in zip(starts, ends, paths)]
    states = write_planted(tmp_path / "states.h5", speech, text, starts=starts)
    words = one_word_a_token(tmp_path / "times.jsonl", spoken)
    align_tokens(states, tmp_path / "alignment.h5", draws=2, seed=0, examples=0, words=words)
    found = read_measurements(tmp_path / "alignment.h5", ALIGNMENT)
    np.testing.assert_array_equal(found.measures["hit_rate_cosine"].raw, 1)
    np.testing.assert_allclose(found.measures["time_error_ms_cosine"].raw, 0, atol=1e-3)
    for number, own in enumerate(starts):
        np.testing.assert_array_equal(found.position_bounds[number][:-1], own)


def test_a_file_of_other_questions_or_of_a_longer_prompt_is_refused(tmp_path, planted):
    text, speech, paths = planted
    states = write_planted(tmp_path / "states.h5", speech, text)
    spoken = at_frames(paths)
    options = {"draws": 2, "seed": 0, "examples": 0}
    other = one_word_a_token(tmp_path / "other.jsonl", spoken, ids=["q0", "q1", "q2", "x"])
    with pytest.raises(ArtifactError, match=r"other\.jsonl: no word times of question\(s\) \['q3'\]"):
        align_tokens(states, tmp_path / "a.h5", words=other, **options)
    longer = one_word_a_token(tmp_path / "longer.jsonl", [[*spoken[0], (0.0, 0.1)], *spoken[1:]])
    with pytest.raises(
        ArtifactError, match=r"longer\.jsonl: question 'q0' has the word 't6' at characters .*ends at 6"
    ):
        align_tokens(states, tmp_path / "a.h5", words=longer, **options)
