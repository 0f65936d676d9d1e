# The speech-text modality gap: from questions to figures (see README.md and docs/).
from pathlib import Path

from snakemake.utils import min_version

min_version("9.25")


configfile: "assets.yaml"
configfile: "config.yaml"


report: "report/workflow.rst"


include: "rules/common.smk"
include: "rules/assets.smk"
include: "rules/benchmark.smk"
include: "rules/speech.smk"
include: "rules/training.smk"
include: "rules/evaluation.smk"
include: "rules/activations.smk"
include: "rules/similarity.smk"
include: "rules/alignment.smk"
include: "rules/correlation.smk"
include: "rules/intervention.smk"
include: "rules/figures.smk"
include: "rules/report.smk"


rule all:
    default_target: True
    input:
        "results/report/index.html",
        "results/report/manifest.json",
    localrule: True
