"""Words of tables: titles, captions and column headings, shared by LaTeX and the page."""

from collections.abc import Mapping

JUDGEMENTS: Mapping[str, tuple[str, str]] = {
    "claims": (
        "The paper's claims, judged",
        "Each claim with our estimate, its 95 % interval over training runs, the number of runs, checkpoints and "
        "questions, and a verdict by the rule in its row. Fewer than three runs that a claim is about: underpowered.",
    ),
    "sensitivity": (
        "What each reading changes",
        "The score of a checkpoint under every reading of what the paper leaves open, and how well it then predicts "
        "the gap: the default first, then one switch at a time.",
    ),
}
"""Title and caption of tables that the correlation stage writes, shown on the page before the others."""

TABLES: Mapping[str, tuple[str, str]] = {
    "table2_gap": (
        "Scores and gap",
        "Scores (0-100) by checkpoint and modality. Overall: unweighted mean of the benchmark's subsets; GAP: text "
        "minus speech, with a paired bootstrap interval; n: questions in Overall.",
    ),
    "table3_pipeline": (
        "Pipeline of ASR and untuned backbone",
        "Untuned backbones on ASR transcripts and on reference text (0-100).",
    ),
    "references": (
        "References of the decline",
        "Overall (0-100) of the untuned and the tuned model by form, last checkpoints, with 95 % intervals. Decline = "
        "erosion + ASR loss + modality loss, from base on text to tuned on speech by way of tuned on text and on ASR "
        "text.",
    ),
    "multiple_choice": (
        "Multiple choice",
        "Accuracy counts unparsed answers as wrong; chance-corrected sets a guesser to 0. The probabilities of option "
        "letters and of option texts (per character) need no parser: accuracy of the most likely option, and the lead "
        "of the right letter over the best wrong one. The mass outside the letters is the probability of another "
        "beginning; near 1 the letters mean little. Last checkpoints, 95 % intervals.",
    ),
    "cascade": (
        "Agreement with cascades",
        "Does the tuned model fail on speech where a recogniser and a text model fail? Cohen's kappa of success (0: "
        "as by chance, 1: equal), errors of both over errors of either beside the value of independent errors, and "
        "the share of common errors with the same wrong letter. All subsets pooled, last checkpoints, 95 % intervals.",
    ),
    "table9_alignment": (
        "Alignment statistics",
        "Alignment statistics of the last checkpoints, mean over layers 1..L and questions, beside the shuffled-pair "
        "null.",
    ),
    "alignment_in_time": (
        "Alignment against word times",
        "Distance in ms from the speech position that a path gives a text token to the middle of its word, and share "
        "of tokens whose position holds part of their word; last checkpoints, mean over layers 1..L and questions. "
        "Uniform: positions drawn at random. Proportional: a constant speaking rate, without any model. Timed: share "
        "of text tokens that belong to a word with a known time.",
    ),
    "table1_interventions": (
        "Interventions",
        "Answers under edits of speech tokens, last checkpoints, against unedited speech; strictly right answers in "
        "percent. b and c count questions that an edit turned right and wrong; p by exact McNemar with Holm's "
        "correction over all tests that verdicts rest on. Detectable: smallest effect that n questions show with 80 % "
        "power. Changes: score in points, NLL and KL in nats per token. Text and transcript are ceilings, not edits.",
    ),
    "interventions_controls": (
        "Interventions beside their controls",
        "Each edit against the unedited answers (none) and against its controls: edits of as many positions by as "
        "much, towards something else. Differences in points, NLL in nats per token. b: right under the edit only, c: "
        "right under the other only.",
    ),
    "table4_cases": (
        "Cases",
        "The first questions by id that an edit turned right (the text's answer being right) or wrong. After Tables 4 "
        "to 7 of the paper, which chose by hand.",
    ),
}
"""Title and caption by name of the table's file, in the order of the page."""

HEADINGS: Mapping[str, str] = {
    "model": "Model",
    "step": "Step",
    "modality": "Modality",
    "overall": "Overall",
    "gap": "GAP",
    "gap_interval": "GAP, 95 %",
    "n": "n",
    "subset": "Subset",
    "accuracy": "Accuracy",
    "cascade": "Cascade",
    "erosion": "Erosion",
    "modality_loss": "Modality loss",
    "decline": "Decline",
    "error_overlap": "Error overlap",
    "outcome": "Outcome",
    "time_error_ms_cosine": "Error in ms, cosine",
    "time_error_ms_euclidean": "Error in ms, Euclid",
    "time_error_ms_uniform": "Error in ms, uniform",
    "time_error_ms_proportional": "Error in ms, proportional",
    "hit_rate_cosine": "Hit rate, cosine",
    "hit_rate_euclidean": "Hit rate, Euclid",
    "hit_rate_uniform": "Hit rate, uniform",
    "hit_rate_proportional": "Hit rate, proportional",
    "timed_share": "Timed",
    "timed_n": "n",
    "input": "Input",
    "form": "Form",
    "base_text": "Base, text",
    "base_asr": "Base, ASR text",
    "tuned_text": "Tuned, text",
    "tuned_asr": "Tuned, ASR text",
    "tuned_speech": "Tuned, speech",
    "tuned_asr_loss": "ASR loss",
    "unparsed": "Unparsed, %",
    "corrected": "Chance-corrected",
    "letter_accuracy": "Letter probability, accuracy",
    "letter_margin": "its margin, nats",
    "option_accuracy": "Text probability, accuracy",
    "outside_mass": "Mass outside letters",
    "success_speech": "Success, speech",
    "success_cascade": "Success, cascade",
    "kappa": "Cohen's kappa",
    "error_overlap_chance": "by chance",
    "same_wrong": "Same wrong letter",
    "edit": "Edit",
    "score": "Score",
    "difference": "Change",
    "b": "b (gained)",
    "c": "c (lost)",
    "against": "Against",
    "interval": "95 %",
    "p": "p",
    "p_holm": "p (Holm)",
    "nll_change": "NLL change",
    "nll_interval": "NLL change, 95 %",
    "kl_change": "KL change",
    "detectable": "Detectable",
    "shift_mean": "Size of change",
    "change": "Change of outcome",
    "question": "Question",
    "reference": "Reference",
    "answer": "Answer",
    "right": "Right",
    "verdict": "Verdict",
    "monotonicity_cosine": "Monotonicity, cosine",
    "monotonicity_cosine_null": "its null",
    "monotonicity_euclidean": "Monotonicity, Euclid",
    "monotonicity_euclidean_null": "its null",
    "consistency": "Consistency",
    "consistency_null": "its null",
    "aps_cosine": "APS, cosine",
    "aps_cosine_null": "its null",
    "claim": "Claim",
    "measure": "Measure",
    "estimate": "Estimate",
    "low": "95 % from",
    "high": "to",
    "n_runs": "Runs",
    "n_checkpoints": "Checkpoints",
    "rule": "Rule",
    "note": "Note",
    "switch": "Switch",
    "reading": "Reading",
    "default": "Default",
    "value": "Value",
    "r2": "R2",
    "r2_difference": "R2, difference",
    "q2": "Q2",
}
"""Heading by column of the tables' CSV files; subsets have their display names."""

COUNTS = frozenset({"n", "timed_n", "step", "b", "c", "n_runs", "n_checkpoints"})
"""Columns with whole numbers; all other numbers are printed with the same decimals, whole or not."""

STAND_INS: Mapping[str, str] = {
    "mmlu": "MMLU stands in for MMSU",
    "nq": "NQ-open stands in for SD-QA",
    "ifeval541": "IFEval is drawn from all 541 prompts instead of VoiceBench's 345",
    "repeat": "the repeat task is not in the paper and not in Overall",
}
"""Where a subset is not the one that the paper used."""
