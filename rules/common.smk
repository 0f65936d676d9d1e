# Bindings to what knows which files a config asks for. Nothing is computed here.
from workflow_scripts.figures.table import FIGURES
from workflow_scripts.plan import (
    ALIGNMENT,
    ANSWERS,
    FLOORS,
    READINGS,
    SCORES,
    SIMILARITY,
    Plan,
)
from workflow_scripts.planning.record import FOLDER as CODE_FOLDER
from workflow_scripts.planning.results import (
    JUDGEMENTS,
    checkpoint_indices,
    result_files,
    table_files,
    table_outputs,
    used_assets,
)
from workflow_scripts.settings import DEFAULTS, ConfigError, ConfigFiles, parse_config

try:
    # In the order in which they are merged; Snakemake lists those of the command line first.
    overlays = [path for path in workflow.configfiles if str(path) not in DEFAULTS]
    parsed = parse_config(config, ConfigFiles([*DEFAULTS, *overlays]), Path.cwd())
except ConfigError as error:
    sys.exit(str(error))

# With every default filled in, `lookup` finds each key and params hold complete sections.
config = parsed.model_dump(mode="json")
# With `jobs` and no `cores`, jobs go to other machines: models run on GPUs there (profiles/slurm).
plan = Plan(
    parsed, Path(workflow.basedir), CODE_FOLDER, on_gpu=workflow.nodes is not None
)
study = plan.study


def any_of(names):
    """A wildcard constraint that matches these names and, if there is none, nothing."""
    return "|".join(map(re.escape, sorted(names))) or "(?!)"


wildcard_constraints:
    asset="|".join(map(re.escape, config["assets"])),
    model="|".join(map(re.escape, [*config["models"], *study.backbones])),
    checkpoint=r"step-\d\d\d\d\d\d|base|final",
    subset="|".join(map(re.escape, [*config["benchmark"]["subsets"], "instructions"])),
    voice="|".join(map(re.escape, config["speech"]["voices"])),
    encoder="|".join(map(re.escape, config["assets"])),
    backbone="|".join(map(re.escape, config["assets"])),
    recipe="|".join(map(re.escape, config["training"]["recipes"])),
    train_seed=r"\d+",
    form="text|speech|asr",
    shard=r"\d\d+-of-\d\d+",
