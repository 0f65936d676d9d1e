"""The table of tables that people read: title, caption, and what each column is called and holds.

Read while the Snakefile is parsed. CSV, LaTeX and the page follow from it: a new table is an entry here, a function in
`build_tables` and its test.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

SUBSETS = "*"
"""Stands for a column of scores per subset."""


@dataclass(frozen=True)
class Column:
    """One column.

    Attributes:
        heading: what people read.
        kind: "number" (fixed decimals), "count" (whole), "truth" (yes or no), "interval" (a text made of numbers),
            "verdict", "text" and "long", which are printed as they are; long ones are broken into lines.
        digits: decimals of numbers.
    """

    heading: str
    kind: str = "number"
    digits: int = 2

    @property
    def numeric(self) -> bool:
        """Whether cells are aligned right."""
        return self.kind in ("number", "count", "interval")


@dataclass(frozen=True)
class Table:
    """One table.

    Attributes:
        columns: by the name in the CSV file.
        label: place in Snakemake's report; tables without one are made by other stages.
    """

    title: str
    caption: str
    columns: Mapping[str, Column]
    label: str = ""

    def with_subsets(self, labels: Mapping[str, str]) -> "Table":
        """The table with `SUBSETS` replaced by a column per subset; `labels`: display names by subset."""
        columns: dict[str, Column] = {}
        for name, column in self.columns.items():
            columns |= {key: Column(label) for key, label in labels.items()} if name == SUBSETS else {name: column}
        return replace(self, columns=columns)


def _of(kind: str, **headings: str) -> dict[str, Column]:
    return {name: Column(heading, kind) for name, heading in headings.items()}


def _with_nulls(**headings: str) -> dict[str, Column]:
    columns: dict[str, Column] = {}
    for name, heading in headings.items():
        columns |= _of("number", **{name: heading, f"{name}_null": "its null"})
    return columns


MODEL = _of("text", model="Model")
N = _of("count", n="n")
P = {"p": Column("p", digits=3)}
HOLM = {"p_holm": Column("p (Holm)", digits=3)}
VERDICT = _of("verdict", verdict="Verdict")
BY_SUBSET = {SUBSETS: Column("")} | _of("number", overall="Overall")
RUNS = _of("count", n_runs="Runs", n_checkpoints="Checkpoints")

JUDGEMENTS: Mapping[str, Table] = {
    "claims": Table(
        title="The paper's claims, judged",
        caption="Each claim with our estimate, its 95 % interval over training runs, the number of runs, checkpoints "
        "and questions, and a verdict by the rule in its row. Fewer than three runs that a claim is about: "
        "underpowered. Training time is the rival of every predictor: it predicts the gap by itself.",
        columns=_of("text", claim="Claim")
        | VERDICT
        | _of("text", outcome="Outcome", measure="Measure", statistic="Statistic")
        | _of("interval", estimate="Estimate, 95 %")
        | RUNS
        | N
        | _of("long", rule="Rule", note="Note"),
    ),
    "regression": Table(
        title="Predictors of the gap",
        caption="R2 of the gap on each measure over all checkpoints, with Fisher's interval over checkpoints "
        "(optimistic: checkpoints of one run are not independent) and the interval over runs; Q2: one run left "
        "out; partial R2: given the models and training time, log(1 + step).",
        columns=_of("text", outcome="Outcome", predictor="Measure")
        | RUNS
        | _of("interval", r2="R2, 95 %")
        | _of("number", partial_r2="Partial R2", q2="Q2")
        | _of("interval", r2_runs="R2 over runs")
        | {"slope": Column("Slope", digits=3)},
    ),
    "sensitivity": Table(
        title="What each variant of a score changes",
        caption="The score of a checkpoint under every reading of what the paper leaves open, and how well it then "
        "predicts the gap: the default first, then one choice at a time.",
        columns=_of("text", score="Score", switch="Choice", reading="Reading")
        | _of("truth", default="Default")
        | _of("number", value="Value", difference="Change", r2="R2", r2_difference="R2, difference", q2="Q2")
        | RUNS
        | N,
    ),
}
"""Tables that the correlation stage writes, as the page shows them."""

TABLES: Mapping[str, Table] = {
    "table2_gap": Table(
        title="Scores and gap",
        caption="Scores (0-100) by checkpoint and modality. Overall: unweighted mean of the benchmark's subsets; GAP: "
        "text minus speech, with a paired interval; n: questions in Overall.",
        columns=MODEL
        | _of("count", step="Step")
        | _of("text", modality="Modality")
        | BY_SUBSET
        | _of("number", gap="GAP")
        | _of("interval", gap_interval="95 %")
        | N,
        label="Scores and gap (paper: Table 2)",
    ),
    "table3_pipeline": Table(
        title="Pipeline of ASR and untuned backbone",
        caption="Untuned backbones on ASR transcripts and on reference text (0-100); n: questions in Overall.",
        columns=_of("text", model="Backbone", input="Input") | BY_SUBSET | N,
        label="Pipeline of ASR and backbone (paper: Table 3)",
    ),
    "references": Table(
        title="References of the decline",
        caption="Overall (0-100) of the untuned and the tuned model by form, last checkpoints, with 95 % intervals. "
        "Decline = erosion + ASR loss + modality loss, from base on text to tuned on speech by way of tuned on text "
        "and on ASR text.",
        columns=MODEL
        | _of(
            "interval",
            base_text="Base, text",
            base_asr="Base, ASR text",
            tuned_text="Tuned, text",
            tuned_asr="Tuned, ASR text",
            tuned_speech="Tuned, speech",
            erosion="Erosion",
            tuned_asr_loss="ASR loss",
            modality_loss="Modality loss",
            decline="Decline",
        )
        | N,
        label="References of the decline",
    ),
    "multiple_choice": Table(
        title="Multiple choice",
        caption="Accuracy counts unparsed answers as wrong; chance-corrected sets a guesser to 0. The probabilities of "
        "option letters and of option texts (per character) need no parser: accuracy of the most likely option, and "
        "the lead of the right letter over the best wrong one. The mass outside the letters is the probability of "
        "another beginning; near 1 the letters mean little. Last checkpoints, 95 % intervals.",
        columns=MODEL
        | _of("text", subset="Subset", form="Form")
        | _of("interval", score="Accuracy")
        | _of("number", unparsed="Unparsed, %")
        | _of(
            "interval",
            corrected="Chance-corrected",
            letter_accuracy="Letter probability, accuracy",
            letter_margin="its margin, nats",
            option_accuracy="Text probability, accuracy",
            outside_mass="Mass outside letters",
        )
        | N,
        label="Multiple choice in full",
    ),
    "floors": Table(
        title="Without listening",
        caption="Spoken scores beside those of the same questions when the model hears silence of the same length, or "
        "the audio of another question: what can be guessed. A spoken score that is not above both is no evidence of "
        "listening. Last checkpoints, subsets in which answers can be guessed, 95 % intervals, differences paired.",
        columns=MODEL
        | _of("text", subset="Subset", measure="Measure")
        | _of(
            "interval",
            speech="Speech",
            silence="Silence",
            other="Another question",
            above_silence="Speech - silence",
            above_other="Speech - another",
        )
        | N,
        label="Without listening",
    ),
    "answers_by_form": Table(
        title="What the answers are",
        caption="Share of answers in percent, by form, that were cut off at the limit of new tokens, are in another "
        "language than English, empty, a refusal, or degenerate (a loop, one character repeated, no words), whatever "
        "was asked. Where a share differs by form, it is part of the gap. Last checkpoints, 95 % intervals.",
        columns=MODEL
        | _of("text", subset="Subset", form="Form")
        | _of(
            "interval",
            truncated="Truncated",
            other_language="Other language",
            empty="Empty",
            refusal="Refusal",
            degenerate="Degenerate",
        )
        | N,
        label="Truncated and other answers",
    ),
    "gap_by_tag": Table(
        title="Gap by kind of question",
        caption="Gap of the questions with a tag, and its difference from the gap of all others: text - speech in "
        "points, speech - text in nats per token of the reference, averaged over questions. Negation, number, several "
        "entities: by words, as docs/scoring.md says; speech: thirds of a subset by length; WER: of the transcript. "
        "p: against as many questions drawn at random, Holm over the tags of a subset. Last checkpoints, 95 % "
        "intervals; fewer than 5 questions on a side: not tested. n of the loss: questions with a reference.",
        columns=MODEL
        | _of("text", subset="Subset", tag="Tag")
        | _of("interval", score_gap="Gap, points", score_difference="difference from the rest")
        | {"score_p_holm": Column("p (Holm)", digits=3)}
        | N
        | _of("interval", loss_gap="Gap, nats", loss_difference="difference from the rest")
        | {"loss_p_holm": Column("p (Holm)", digits=3)}
        | _of("count", loss_n="n (loss)"),
        label="Gap by kind of question",
    ),
    "cascade_agreement": Table(
        title="Agreement with cascades",
        caption="Does the tuned model fail on speech where a recogniser and a text model fail? Cohen's kappa of "
        "success (0: as by chance, 1: equal), errors of both over errors of either beside the value of independent "
        "errors, and the share of common errors with the same wrong letter. All subsets pooled, last checkpoints, "
        "95 % intervals.",
        columns=MODEL
        | _of("text", cascade="Cascade")
        | _of("number", success_speech="Success, speech", success_cascade="Success, cascade")
        | _of("interval", kappa="Cohen's kappa", error_overlap="Error overlap")
        | _of("number", error_overlap_null="by chance")
        | _of("interval", same_wrong="Same wrong letter")
        | N,
        label="Agreement with cascades",
    ),
    "table9_alignment": Table(
        title="Alignment statistics",
        caption="Alignment statistics of the last checkpoints, mean over layers 1..L and questions, beside the "
        "shuffled-pair null.",
        columns=MODEL
        | _with_nulls(
            monotonicity_cosine="Monotonicity, cosine",
            monotonicity_euclidean="Monotonicity, Euclidean distance",
            consistency="Consistency",
            path_score_cosine="APS, cosine",
        )
        | N,
        label="Alignment statistics (paper: Table 9)",
    ),
    "local_and_global": Table(
        title="Local and global similarity",
        caption="Do speech and text order the same questions alike? Last checkpoints, mean over layers 1..L. Local: "
        "neighbours. Global: the whole geometry, which follows a few large directions and looks alike by chance when "
        "questions are few; where the two disagree, go by the local ones. p: against exchanged texts. Above tau: "
        "(value - tau) / (1 - tau), tau being what chance reaches in 5 % of draws (Groeger et al. 2026); 0 where it "
        "does not get so far. Needed: questions at which a CKA of 0.1 would stand above chance.",
        columns=MODEL
        | {"kind": Column("Kind", "text"), "measure": Column("Measure", "text")}
        | _of("number", value="Value", null="null", tau="tau", above_tau="Above tau")
        | P
        | N
        | _of("count", needed="Needed for 0.1"),
        label="Local and global similarity",
    ),
    "alignment_in_time": Table(
        title="Alignment against word times",
        caption="Distance in ms from the speech position that a path gives a text token to the middle of its word, and "
        "share of tokens whose position holds part of their word; last checkpoints, mean over layers 1..L and "
        "questions. Uniform: positions drawn at random. Proportional: a constant speaking rate, without any model. "
        "Timed: share of text tokens that belong to a word with a known time.",
        columns=MODEL
        | _of(
            "number",
            time_error_ms_cosine="Error in ms, cosine",
            time_error_ms_euclidean="Euclidean",
            time_error_ms_uniform="uniform",
            time_error_ms_proportional="proportional",
            hit_rate_cosine="Hit rate, cosine",
            hit_rate_euclidean="Euclidean",
            hit_rate_uniform="uniform",
            hit_rate_proportional="proportional",
            timed_share="Timed",
        )
        | N,
        label="Alignment against word times",
    ),
    "table1_interventions": Table(
        title="Interventions",
        caption="Answers under edits of speech tokens, last checkpoints, against unedited speech; strictly right "
        "answers in percent. b and c count questions that an edit turned right and wrong; p by exact McNemar with "
        "Holm's correction over all tests that verdicts rest on. Detectable: smallest effect that n questions show "
        "with 80 % power. Changes: score in points, loss and KL in nats per token. Text and transcript are ceilings, "
        "not edits.",
        columns=MODEL
        | _of("text", edit="Edit")
        | _of("number", score="Score", difference="Change")
        | _of("interval", interval="95 %")
        | _of("count", b="b (gained)", c="c (lost)")
        | HOLM
        | _of("number", nll_change="Loss change", kl_change="KL change", detectable="Detectable")
        | VERDICT
        | N,
        label="Interventions (paper: Table 1)",
    ),
    "interventions_controls": Table(
        title="Interventions beside their controls",
        caption="Each edit against the unedited answers (none) and against its controls, which edit as many positions "
        "by as much, towards something else. Change of strictly right answers in points; loss and KL in nats per "
        "token. b: right under the edit only, c: right under the other only. An edit helps or hurts only if it does so "
        "against the unedited answers and every control (exact McNemar, p < .05 after Holm's correction over all these "
        "tests); underpowered: the unresolved tests had too few changed answers to decide. An angle edit writes "
        "directions of the written question into the prompt; by itself it is no evidence about alignment.",
        columns=MODEL
        | _of("text", edit="Edit", against="Against")
        | VERDICT
        | _of("interval", difference="Change, 95 %")
        | _of("count", b="b", c="c")
        | P
        | HOLM
        | _of("interval", nll_change="Loss change, 95 %", kl_change="KL change, 95 %")
        | _of("number", shift_mean="Size of change")
        | _of("count", changed_answers="Answers changed")
        | N,
        label="Interventions beside their controls",
    ),
    "erased_words": Table(
        title="Erased words",
        caption="Did the erasure work? R2 of a linear reader of the words' vectors from speech vectors, before and "
        "after, on questions that neither it nor the eraser has seen; 0 or less: no more than the mean. The control "
        "takes away as many dimensions and should leave what it finds. 95 % intervals over questions.",
        columns=MODEL | _of("text", edit="Edit") | _of("interval", before="R2 before", after="R2 after") | N,
        label="Erased words",
    ),
    "table4_cases": Table(
        title="Cases",
        caption="The first questions by id that an edit turned right (the text's answer being right) or wrong. After "
        "Tables 4 to 7 of the paper, which chose by hand.",
        columns=MODEL
        | _of("text", change="Change of outcome")
        | _of("long", question="Question", reference="Reference")
        | _of("text", input="Input")
        | _of("long", answer="Answer")
        | _of("text", right="Right"),
        label="Cases (paper: Tables 4 to 7)",
    ),
}
"""Tables by the name of their files, in the order of the page."""
