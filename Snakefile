# The speech-text modality gap: from questions to figures (see README.md and docs/).
import sys
from pathlib import Path

from snakemake.utils import min_version

from workflow_scripts.planning.snakemake_dag import state_resources
from workflow_scripts.settings import ConfigError, read_mapping

min_version("9.25")

if any(map(str.isspace, sys.executable)):
    sys.exit(
        f"Snakemake starts {sys.executable!r} without quotes, so its jobs would fail: put the environment into a "
        "folder without spaces, make VENV=/path/without/spaces, or move this checkout"
    )
# Snakemake's own message on a file that is not YAML names neither file nor line.
try:
    for name in ("assets.yaml", "config.yaml"):
        read_mapping(Path(name))
except ConfigError as error:
    sys.exit(str(error))


configfile: "assets.yaml"
configfile: "config.yaml"


report: "report/workflow.rst"


include: "rules/common.smk"
include: "rules/assets.smk"
include: "rules/benchmark.smk"
include: "rules/speech.smk"
include: "rules/training.smk"
include: "rules/shards.smk"
include: "rules/evaluation.smk"
include: "rules/floors.smk"
include: "rules/activations.smk"
include: "rules/similarity.smk"
include: "rules/alignment.smk"
include: "rules/correlation.smk"
include: "rules/intervention.smk"
include: "rules/patching.smk"
include: "rules/probes.smk"
include: "rules/figures.smk"
include: "rules/report.smk"
include: "rules/export.smk"
include: "rules/audit.smk"


onstart:
    # Before anything starts; without a limit (--resources, or a cluster) Snakemake books what jobs ask for.
    limit = workflow.global_resources.get("mem_mb")
    state_resources(workflow)
    try:
        plan.books.require_fit(None if limit is None else limit.value)
    except ConfigError as error:
        sys.exit(str(error))


rule all:
    default_target: True
    input:
        "results/report/index.html",
        "results/report/manifest.json",
        # Not an input of training: an edited layer would then hide what else it changes, or train again.
        expand("results/training/{model}/checked.json", model=study.trained_models),
    localrule: True
