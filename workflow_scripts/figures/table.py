"""The table of figures: what each is drawn by and from, and the words beside it.

Read while the Snakefile is parsed, so functions are named, not imported. The rule `plot`, Snakemake's own report, the
report page and the reference studies follow from this table: a new figure is a function, an entry here and its test.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """One figure.

    Attributes:
        function: `module:function` in this package. It takes the inputs by name and, unless `display` is "none",
            the settings of the display, and returns a matplotlib figure.
        inputs: path of each input by name, or the method of `Plan` that knows it. An input that is called as in
            `artifacts.tables` arrives as its DataFrame, any other file as its path.
        columns: columns that are read of each table.
        title, caption: as on the page and in Snakemake's report. The caption says what n is.
        category, label: place in Snakemake's report.
        display: settings of the display that are read: "all" models, so that each keeps its colour where others are
            missing; "labels" of models that have one; "none".
    """

    function: str
    inputs: Mapping[str, str]
    columns: Mapping[str, str]
    title: str
    caption: str
    category: str
    label: str
    display: str = "all"

    def is_drawn(self, tables: Collection[str]) -> bool:
        """Whether a study that makes these tables has the figure: some, as patching and probes, are opt-in."""
        return all(source in tables for source in self.inputs.values() if "/" in source)


LAYERS = "model checkpoint step subset layer measure value null null_sd n"
AGAINST_GAP = {
    "points": "model checkpoint step start measure value",
    "checkpoints": "model subset measure null",
    "regression": "outcome predictor pool n_checkpoints n_runs slope intercept r2 r2_low r2_high partial_r2",
}
CHANGES = "difference difference_low difference_high nll_change nll_change_low nll_change_high"
ALIKE = "operation weight selection k path metric"

FIGURES: Mapping[str, Figure] = {
    "decline": Figure(
        function="plot_decline:plot_decline",
        inputs={"decline": "results/evaluation/decline.csv"},
        columns={"decline": "model checkpoint step subset measure value low high n"},
        title="From written to spoken questions",
        caption="Scores (0-100) of each model's last checkpoint under five conditions: untuned backbone on text and on "
        "ASR transcripts, tuned model on text, on ASR transcripts and on speech. Overall is the unweighted mean of the "
        "benchmark's subsets. Whiskers: 95 % intervals of the scores; a line at the foot is a score of 0, nothing is "
        "no score. Right: the modality gap (text minus speech) with its paired 95 % interval; an interval that "
        "contains 0 shows no gap, and a gap near 0 may only mean that both forms fail. n: questions. After Figure 2 "
        "of the paper.",
        category="Gap",
        label="Decline by reference (paper: Figure 2)",
    ),
    "learning": Figure(
        function="plot_learning:plot_learning",
        inputs={"training_log": "training_logs", "gap": "results/evaluation/gap.csv"},
        columns={"training_log": "step split form loss_per_token n_samples", "gap": "model step form measure value n"},
        title="Learning curves",
        caption="Left: loss per answer token on held-out prompts, spoken (solid) and written (dashed). Right: word "
        "error rate when asked to repeat a held-out sentence; the written request is the floor, and 100 % is the rate "
        "of an empty answer. Both say whether speech is understood at all: without that, no other number on this page "
        "says much. n: prompts, sentences.",
        category="Gap",
        label="Learning curves",
    ),
    "conditions": Figure(
        function="plot_conditions:plot_conditions",
        inputs={"conditions": "results/evaluation/conditions.csv"},
        columns={"conditions": "model checkpoint step subset condition form measure value low high n"},
        title="Gap by condition",
        caption="The same questions in other voices, in noise, over a telephone: each model's last checkpoint, the "
        "reference condition first, on the questions that all conditions kept. Top: score in speech, and in text as a "
        "dashed line. Below: the gap in points and in the loss of the reference answer, which differs where all scores "
        "are near 0; above 0 speech is worse. Behind the line, the mean over conditions: its interval is for other "
        "questions and other conditions (crossed effects), all others are for other questions. n: questions.",
        category="Gap",
        label="By condition",
    ),
    "layers": Figure(
        function="plot_layers:plot_layers",
        inputs={"layers": "results/correlation/layers.csv"},
        columns={"layers": LAYERS},
        title="Similarity by layer",
        caption="Cosine similarity and Euclidean distance between the mean states of the spoken and the written "
        "question, one curve per checkpoint; distances on a log scale. Grey: the shuffled-pair null of the last "
        "checkpoint (mean and two standard deviations), that is speech of one question against the text of another of "
        "similar length. A curve on its null says nothing about the question asked. n: questions. After Figure 4 of "
        "the paper.",
        category="Similarity",
        label="By layer (paper: Figure 4)",
    ),
    "layers_controlled": Figure(
        function="plot_layers:plot_layers_controlled",
        inputs={"layers": "results/correlation/layers.csv"},
        columns={"layers": LAYERS},
        title="Similarity by layer, controlled",
        caption="Left: cosine similarity after the mean of each form over the other half of the questions is "
        "subtracted. Middle: Euclidean distance divided by the geometric mean of the two norms. Right: log of the "
        "ratio of the norms of speech and text, 0 for equal ones. Grey: the shuffled-pair null of the last "
        "checkpoint (mean and two standard deviations). n: questions.",
        category="Similarity",
        label="By layer, centred and length-free",
    ),
    "layers_local": Figure(
        function="plot_layers:plot_layers_local",
        inputs={"layers": "results/correlation/layers.csv"},
        columns={"layers": LAYERS},
        title="Local similarity by layer, beside CKA",
        caption="Left: share of the ten nearest questions that both forms have in common. Middle: share of spoken "
        "questions whose most similar text is their own. Right: CKA of equal layers, which follows the largest "
        "directions; where it disagrees with the neighbours, go by them. Grey: the shuffled-pair null of the last "
        "checkpoint (mean and two standard deviations). n: questions.",
        category="Similarity",
        label="By layer, neighbours",
    ),
    "cka": Figure(
        function="plot_cka:plot_cka",
        inputs={"cka": "results/correlation/cka.csv"},
        columns={"cka": "model checkpoint step speech_layer text_layer n cka null null_sd"},
        title="CKA, layer by layer",
        caption="Debiased linear CKA over questions between every speech layer and every text layer, first and last "
        "checkpoint, all on one scale, and the diagonals; grey: the shuffled-pair null of the last checkpoint (mean "
        "and two standard deviations). n: questions.",
        category="Similarity",
        label="CKA, layer by layer",
    ),
    "lens": Figure(
        function="plot_lens:plot_lens",
        inputs={"lens": "results/correlation/lens.csv"},
        columns={"lens": "model checkpoint layer n recall control difference difference_low difference_high"},
        title="Logit lens at speech positions",
        caption="Recall of the question's content words (first sub-tokens of words of five letters or more) among the "
        "ten most likely tokens at any speech position, with the final norm and the output head applied to the states "
        "of a layer; control: the content words of another question. Right: their difference at the last checkpoint, "
        "with its 95 % interval over n questions.",
        category="Similarity",
        label="Logit lens by depth",
    ),
    "word_reading": Figure(
        function="plot_word_reading:plot_word_reading",
        inputs={"word_reading": "results/correlation/word_reading.csv"},
        columns={"word_reading": "model checkpoint step target layer offset measure value null null_sd n"},
        title="Words under the lens while they are spoken",
        caption="Share of words whose first token is among the ten most likely ones of the logit lens at the speech "
        "positions where the word is spoken, last checkpoint: the word itself, and the word that follows it. Grey: the "
        "words of other questions at the same relative times (mean and two standard deviations). Words that questions "
        "share are left out. Left: by layer. Right: at the layer where the word itself stands highest above grey, by "
        "how much later than the word the lens is read. n: questions.",
        category="Similarity",
        label="Logit lens in time",
    ),
    "response_kl": Figure(
        function="plot_response_kl:plot_response_kl",
        inputs={
            "response_positions": "results/correlation/response_positions.csv",
            "responses": "results/correlation/responses.csv",
        },
        columns={
            "response_positions": "model checkpoint step measure prefix position n mean",
            "responses": "model step kl_forward_text kl_reverse_text kl_forgetting",
        },
        title="KL between forms by response position",
        caption="Divergence of the next-token distributions after the spoken and the written question, on the model's "
        "own answer to the text as shared prefix; position 0 is the first answer token; 0 nats: both forms predict "
        "the same answer. n: answers, fewer at late positions. Right: means over training, with the divergence of the "
        "untuned from the tuned model on text (forgetting).",
        category="Similarity",
        label="KL by response position",
        display="labels",
    ),
    "similarity_gap": Figure(
        function="plot_against_gap:plot_similarity_gap",
        inputs={
            "points": "results/correlation/points.csv",
            "checkpoints": "results/correlation/checkpoints.csv",
            "regression": "results/correlation/regression.csv",
        },
        columns=AGAINST_GAP,
        title="Similarity against the gap",
        caption="Sequence-level similarity (mean over layers 1 to L), one point per checkpoint, lines join the "
        "checkpoints of a run, the last one is filled; ticks on the x axis: the shuffled-pair nulls. Dashed: the "
        "pooled fit, with R2, its interval over checkpoints, and the partial R2 given models and training time. The "
        "right-most panels are the baseline to beat: training time alone. After Figure 5 of the paper.",
        category="Similarity",
        label="Against the gap (paper: Figure 5)",
    ),
    "token_matrix": Figure(
        function="plot_token_matrix:plot_token_matrix",
        inputs={"alignment": "example_alignment"},
        columns={},
        title="Token similarity matrices",
        caption="One spoken question (rows: speech positions) against its text (columns: tokens) in one layer, with "
        "the alignment path: the best speech position of each text token. Bars: when the token's word is spoken. "
        "After Figure 6 of the paper.",
        category="Alignment",
        label="Token matrices (paper: Figure 6)",
        display="labels",
    ),
    "aps_gap": Figure(
        function="plot_against_gap:plot_aps_gap",
        inputs={
            "points": "results/correlation/points.csv",
            "checkpoints": "results/correlation/checkpoints.csv",
            "regression": "results/correlation/regression.csv",
        },
        columns=AGAINST_GAP,
        title="Alignment Path Score against the gap",
        caption="Like the figure of similarity against the gap, for the Alignment Path Score: the mean similarity "
        "along the alignment path, over layers 1 to L. After Figure 7 of the paper.",
        category="Alignment",
        label="APS against the gap (paper: Figure 7)",
    ),
    "monotonicity": Figure(
        function="plot_monotonicity:plot_monotonicity",
        inputs={"checkpoints": "results/correlation/checkpoints.csv"},
        columns={"checkpoints": "model step subset measure value null n"},
        title="Monotonicity and consistency",
        caption="Monotonicity: Spearman correlation of text position and path position. Consistency: share of text "
        "tokens for which cosine similarity and Euclidean distance choose the same speech position. Dashed: the "
        "shuffled-pair null in the curve's colour: only what lies above it is alignment. n: questions. After Figure 8 "
        "of the paper.",
        category="Alignment",
        label="Monotonicity and consistency (paper: Figure 8)",
    ),
    "interventions": Figure(
        function="plot_interventions:plot_interventions",
        inputs={"tests": "results/intervention/tests.csv"},
        columns={"tests": "model edit against kind control of swept n " + CHANGES},
        title="Edits of speech vectors beside their controls",
        caption="Left: change of strictly right answers against unedited speech, in points, with its 95 % interval. "
        "Right: change of the loss of the reference answer (below 0 is better). Coloured: edits; grey, below each: "
        "its controls, which edit as many positions by as much (with many models: a box over the controls' intervals "
        "in the edit's row); open: ceilings. An edit is evidence only where it differs from its controls as well. n: "
        "questions.",
        category="Interventions",
        label="Edits beside their controls",
    ),
    "edited_layers": Figure(
        function="plot_edited_layers:plot_edited_layers",
        inputs={"tests": "results/intervention/tests.csv"},
        columns={"tests": "model edit against kind name layer of swept n " + ALIKE + " " + CHANGES},
        title="Effect by layer edited",
        caption="The same edit at a single layer: change of strictly right answers and of the reference's loss against "
        "unedited speech (below 0 is better), with 95 % intervals. Grey: the range of the controls' intervals at the "
        "layer. n: questions.",
        category="Interventions",
        label="By layer edited",
    ),
    "patching": Figure(
        function="plot_patching:plot_patching",
        inputs={
            "patching": "results/patching/patching.csv",
            "patching_profiles": "results/patching/patching_profiles.csv",
        },
        columns={
            "patching": "model kind direction positions window layer n share p_holm",
            "patching_profiles": "model kind direction positions window n depth first_half first_low first_high",
        },
        title="Exchanged states by layer and position",
        caption="States of the written question put into the run of the spoken one (left) and the reverse (right), one "
        "layer at a time: share of the difference between both runs that the patch brings about (0: as before, 1: as "
        "the run that the states come from; colours end at -1 and 1, the table has the values). Dots: beyond both "
        "nulls, the states of another question and a random shift as long (Holm over all cells, p < .05). Line: first "
        "layer at which the last position alone restores half, with its 95 % interval over questions. Questions that "
        "are answered rightly in writing only, unless the study patches all. n: questions.",
        category="Interventions",
        label="Exchanged states",
    ),
    "attention": Figure(
        function="plot_attention:plot_attention",
        inputs={
            "attention": "results/patching/attention.csv",
            "knockout": "results/patching/knockout.csv",
        },
        columns={
            "attention": "model kind form positions layer n share share_low share_high uniform",
            "knockout": "model kind form window layer depth n change change_low change_high control p_holm",
        },
        title="Where answers look",
        caption="Left: share of the attention of the answer (the prompt's last position and the answer's tokens) that "
        "goes to the query, by layer, mean over heads, with its 95 % interval over questions; thin: the share of the "
        "positions in sight that are the query's, what attention without preference would give. Right: change of the "
        "outcome (margin of the right letter, or log-probability of the reference per token, in nats) when the answer "
        "cannot attend to the query in the layers that a bar spans, with its 95 % interval; grey: with as many random "
        "other positions hidden, or all there are; dots: beyond both, nothing and the control (Holm, p < .05); dotted "
        "line: all layers. What the template has read of the query still arrives. Solid: spoken; dashed: written. "
        "Questions that are answered rightly in writing only, unless the study patches all. n: questions.",
        category="Interventions",
        label="Where answers look",
    ),
    "probes": Figure(
        function="plot_probes:plot_probes",
        inputs={"probes": "results/probes/probes.csv"},
        columns={
            "probes": """model target fitted asked layer n accuracy accuracy_low accuracy_high chance control
            selectivity selectivity_low selectivity_high note"""
        },
        title="What linear probes read",
        caption="Linear probes of the mean states of words, fitted to one form and asked in one, on other questions. "
        "Left: share of content words told right; grey: from chance to the control tasks. Then selectivity, the "
        "accuracy minus that of a control task with random labels, for content words, number words, and words of names "
        "against others. Dashed: across forms. Bands: 95 % intervals over questions, the words being as they are; p "
        "against renamed words is in the table. n: questions.",
        category="Similarity",
        label="Linear probes",
        display="labels",
    ),
    "partial_residuals": Figure(
        function="plot_partial_residuals:plot_partial_residuals",
        inputs={"points": "results/correlation/points.csv"},
        columns={"points": "model checkpoint step start measure value"},
        title="Beyond training time",
        caption="Gap against measures after model and log(1 + step) are regressed out of both: the squared correlation "
        "is the partial R2. Points without slope: the measure adds nothing to training time. n: checkpoints, "
        "an untrained start that several runs share once.",
        category="Gap",
        label="Beyond training time",
    ),
    "predictors": Figure(
        function="plot_predictors:plot_predictors",
        inputs={"regression": "results/correlation/regression.csv"},
        columns={
            "regression": """outcome predictor pool n_checkpoints n_runs r2 r2_low r2_high partial_r2 q2 r2_runs_low
            r2_runs_high"""
        },
        title="Predictors side by side",
        caption="R2 of the gap on each measure over all checkpoints: thin, Fisher's interval over checkpoints "
        "(optimistic); thick, the interval over runs; diamond, Q2 with one run left out; dashed, training time "
        "alone. Right: partial R2 given models and training time. Runs, not checkpoints, are the independent units. "
        "n: checkpoints, an untrained start that several runs share once.",
        category="Gap",
        label="Predictors side by side",
        display="none",
    ),
}
"""Figures by the name of their files, in the order of the page."""
