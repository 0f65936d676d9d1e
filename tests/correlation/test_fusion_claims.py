"""Claims on where speech becomes text: planted profiles and readings of runs are read as they were planted."""

import pandas as pd

from workflow_scripts.artifacts.patches import ALL, SPEECH_ONLY, TEXT_ONLY, TO_SPEECH, TO_TEXT
from workflow_scripts.artifacts.tables import TABLES, typed
from workflow_scripts.correlation.judge_claims import fusion_claims, knockout_claims, probe_claims, reading_claims

CLAIMS = ["speech becomes text late", "speech becomes text abruptly", "the last position is the bottleneck"]


def profiles(first, width, last, template, kind=TEXT_ONLY, direction=TO_SPEECH):
    rows = []
    for run, shift in (("a", -0.5), ("b", 0.0), ("c", 0.5)):
        one = {"model": run, "kind": kind, "direction": direction, "window": 1, "n": 10, "depth": 30}
        one |= {"first_half": int(first + 2 * shift), "width": width + 0.01 * shift}
        for positions, share in (("last", last), ("template", template)):
            rows.append(one | {"positions": positions, "mean_share": share + 0.02 * shift * (positions == "last")})
    return rows


def verdicts(rows):
    table = typed(pd.DataFrame(rows), TABLES["patching_profiles"])
    found = {row["claim"]: row for row in fusion_claims(table)}
    assert list(found) == CLAIMS and all(row["rule"] for row in found.values())
    return [found[claim]["verdict"] for claim in CLAIMS]


def test_late_abrupt_fusion_at_the_last_position_is_found():
    assert verdicts(profiles(22, 0.1, 0.3, 0.02)) == ["supported"] * 3


def test_early_gradual_fusion_through_the_template_is_not():
    assert verdicts(profiles(6, 0.6, 0.3, 0.5)) == ["not supported"] * 3


def test_other_kinds_and_directions_do_not_count_and_all_questions_do():
    others = profiles(6, 0.6, 0.3, 0.5, kind=SPEECH_ONLY) + profiles(6, 0.6, 0.3, 0.5, direction=TO_TEXT)
    assert verdicts(profiles(22, 0.1, 0.3, 0.02, kind=ALL) + others) == ["supported"] * 3


def test_two_runs_are_too_few_and_a_run_without_questions_is_none():
    rows = [row for row in profiles(22, 0.1, 0.3, 0.02) if row["model"] != "c"]
    assert verdicts(rows) == ["underpowered"] * 3
    assert verdicts([{"model": "a", "n": 0, "note": "no question right in one form only"}]) == ["underpowered"] * 3


def knocked_out(whole, single, form="speech", p_holm=0.01, runs=("a", "b", "c")):
    """Three runs: all layers at once, and a window of two of eight layers."""
    rows = []
    for shift, run in enumerate(runs):
        one = {"model": run, "kind": TEXT_ONLY, "form": form, "depth": 8, "n": 10, "p_holm": p_holm}
        for layer, window, difference in ((0, 8, whole), (4, 2, single)):
            rows.append(one | {"layer": layer, "window": window, "difference": difference + 0.01 * shift})
    return rows


def judged(rows):
    [row] = knockout_claims(typed(pd.DataFrame(rows), TABLES["knockout"]))
    return row


def test_answers_that_lose_by_the_knockout_beyond_the_control_read_the_speech():
    row = judged(knocked_out(-1.0, -0.5))
    assert (row["verdict"], row["n_runs"], row["n"]) == ("supported", 3, 30) and row["high"] < 0
    assert "a: layers 4 to 5; b: layers 4 to 5" in row["note"]


def test_a_knockout_that_costs_what_the_control_costs_is_no_reading_whatever_a_single_window_shows():
    row = judged(knocked_out(0.0, -0.5))
    assert row["verdict"] == "not supported"
    assert judged(knocked_out(0.0, -0.5, p_holm=0.2))["note"].endswith("none")


def test_the_written_form_and_runs_without_a_question_do_not_count_as_reading_speech():
    rows = knocked_out(0.0, 0.0) + knocked_out(-1.0, -1.0, form="text")
    assert judged(rows)["verdict"] == "not supported"
    left_out = [{"model": "d", "n": 0, "note": "it only runs as a whole"}]
    assert judged(knocked_out(-1.0, -1.0, runs=("a", "b")) + left_out)["verdict"] == "underpowered"
    assert judged(left_out)["n_runs"] == 0


def read(own, following, **changed):
    rows = []
    for run, shift in (("a", -0.02), ("b", 0.0), ("c", 0.02)):
        for target, excess in (("own", own), ("next", following)):
            for step, layer in ((0, 5), (0, 10), (9, 0), (9, 5), (9, 10)):
                late = step and layer
                one = {"model": run, "checkpoint": f"step-{step}", "step": step, "layer": layer, "target": target}
                one |= {"measure": "recall", "offset": 0.0, "n": 8, "null": 0.2, "value": 0.2 + late / 7.5 * excess}
                rows.append(one | {"value": one["value"] + shift * bool(late)} | changed)
    found = {row["claim"]: row for row in reading_claims(typed(pd.DataFrame(rows), TABLES["word_reading"]))}
    return list(found.values())


def test_words_written_down_in_time_are_judged_at_the_last_checkpoint_over_the_layers_above_0():
    own, following = read(0.3, 0.0)
    assert (own["verdict"], following["verdict"]) == ("supported", "not supported")
    assert (own["n_runs"], own["n"]) == (3, 24) and abs(own["estimate"] - 0.3 * (5 + 10) / 15) < 1e-9


def test_other_offsets_and_ranks_are_no_evidence_that_words_are_written_down():
    for changed in ({"offset": 0.4}, {"measure": "log_rank"}):
        assert [row["verdict"] for row in read(0.3, 0.3, **changed)] == ["underpowered"] * 2


def probed(*layers, low=0.1, p=0.01, **changed):
    """Both claims on three runs of layers 0, 5, 10, 15 whose probes read speech at `layers` only."""
    rows = []
    for run, shift in (("a", -0.02), ("b", 0.0), ("c", 0.02)):
        for layer in (0, 5, 10, 15):
            value = 0.3 + shift if layer in layers else shift
            one = {
                "model": run,
                "checkpoint": "step-9",
                "step": 9,
                "target": "word",
                "fitted": "text",
                "asked": "speech",
            }
            one |= {"layer": layer, "n": 20, "selectivity": value, "selectivity_low": low if layer in layers else -0.1}
            rows.append(one | {"p": p if layer in layers else 0.5} | changed)
    return list(probe_claims(typed(pd.DataFrame(rows), TABLES["probes"])))


def test_a_probe_of_text_that_reads_speech_from_a_layer_on_is_found_with_the_layer():
    read, on = probed(10, 15)
    assert (read["verdict"], on["verdict"]) == ("supported", "supported") and (on["n_runs"], on["n"]) == (3, 60)
    assert abs(read["estimate"] - 0.2) < 1e-9 and abs(on["estimate"] - 2 / 3) < 1e-9
    assert on["note"].endswith("a from layer 10; b from layer 10; c from layer 10")


def test_layers_below_a_gap_and_lucky_or_unsure_ones_do_not_count():
    for rows in (probed(5, 10), probed(10, 15, p=0.2), probed(10, 15, low=-0.01)):
        assert rows[1]["estimate"] == 0 and rows[1]["verdict"] == "not supported"
        assert rows[1]["note"].endswith("a nowhere; b nowhere; c nowhere")


def test_probes_within_speech_or_of_other_targets_are_no_evidence_across_forms():
    for changed in ({"fitted": "speech"}, {"target": "number"}, {"layer": None}):
        assert [row["verdict"] for row in probed(10, 15, **changed)] == ["underpowered"] * 2
