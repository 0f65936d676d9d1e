"""docs/development.md does what it says: its examples, applied to a copy as they stand there, work."""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.workflow.workflow_copy import ROOT, Workflow

GUIDE = (ROOT / "docs/development.md").read_text()
BLOCK = re.compile(
    r"^(?:In )?`([^`\n]+)`, (?:new|after `([^`\n]+)`):\n\n```(?:python|text)\n(.*?)^```$", re.MULTILINE | re.DOTALL
)


def sections() -> Iterator[tuple[str, str]]:
    """Title and text of every section that adds something."""
    for part in GUIDE.split("\n## ")[1:]:
        title, _, text = part.partition("\n")
        if title.startswith("Add a "):
            yield title.removeprefix("Add a "), text


SECTIONS = dict(sections())


def follow(text: str, folder: Path) -> list[Path]:
    """Write the new files and insert the lines of a section; gives the files."""
    done = []
    for name, line, code in BLOCK.findall(text):
        path = folder / name
        if line:
            lines = path.read_text().splitlines(keepends=True)
            places = [number for number, one in enumerate(lines) if one.strip() == line.strip()]
            assert len(places) == 1, f"{name}: the line {line!r} stands there {len(places)} times"
            path.write_text("".join([*lines[: places[0] + 1], code, *lines[places[0] + 1 :]]))
        else:
            assert not path.exists(), f"{name} is not new"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(code)
        done.append(path)
    return done


@pytest.fixture(scope="module")
def guided(tmp_path_factory) -> Workflow:
    """A copy of the workflow and its tests in which everything was added that the guide adds."""
    workflow = Workflow(tmp_path_factory.mktemp("guided"))
    for name in ("docs", "tests"):
        shutil.copytree(
            ROOT / name, workflow.folder / name, ignore=shutil.ignore_patterns("__pycache__", "reference-*")
        )
    shutil.copy2(ROOT / "pyproject.toml", workflow.folder)
    for text in SECTIONS.values():
        assert follow(text, workflow.folder)
    return workflow


def _python(workflow: Workflow, *arguments: str) -> str:
    run = subprocess.run([sys.executable, *arguments], cwd=workflow.folder, capture_output=True, text=True)
    assert run.returncode == 0, f"{run.stdout[-3000:]}\n{run.stderr[-3000:]}"
    return run.stdout


def test_the_guide_adds_one_of_each():
    assert set(SECTIONS) == {"measure", "scorer", "family of models", "figure", "stage"}


def test_a_measure_is_measured_by_layer_with_its_chance_level_and_documented(guided):
    program = (
        "import numpy as np\nfrom workflow_scripts import api\n"
        "from workflow_scripts.measures.registry import label, table\n"
        "text = [np.random.default_rng(k).normal(size=(3, 4 + k % 3, 64)) for k in range(12)]\n"
        "found = api.compare([2 * one for one in text], text, draws=20)\n"
        "mean = found[(found.measure == 'sign_agreement') & found.layer.isna()].iloc[0]\n"
        "assert mean.value == 1 and mean.n == 12 and mean.p < 0.05 and abs(mean.null - 0.5) < 0.1, mean\n"
        "assert label('sign_agreement') == 'sign agreement' and 'sign_agreement' in table()\n"
    )
    _python(guided, "-c", program)


def test_a_scorer_is_accepted_by_the_config_and_meets_the_contract_of_all_scorers(guided):
    program = (
        "from workflow_scripts.scoring.registry import score_answer\n"
        "found = [score_answer('number', text, ['42']).score for text in ('It is 42.', '41, no 42', 'no')]\n"
        "assert found == [1, 0, 0]\n"
        "import yaml\nfrom workflow_scripts.settings import parse_config\n"
        "values = {**yaml.safe_load(open('assets.yaml')), **yaml.safe_load(open('config.yaml'))}\n"
        "values['benchmark']['subsets']['nq'] |= {'layout': 'questions', 'scorer': 'number'}\n"
        "parse_config(values)\n"
    )
    _python(guided, "-c", program)
    _python(guided, "-m", "workflow_scripts.settings.write_schema")
    assert '"number"' in (guided.folder / "workflow_scripts/settings/config.schema.json").read_text()
    _python(guided, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/scoring/test_registry.py", "-k", "number")


def test_a_family_is_opened_by_its_name_and_goes_through_the_conformance_suite(guided):
    suite = ("tests/speech_lm/test_conformance.py", "-k", "loudness")
    passed = re.search(r"(\d+) passed", _python(guided, "-m", "pytest", "-q", "-p", "no:cacheprovider", *suite))
    assert int(passed[1]) > 15


def test_a_figure_is_drawn_from_its_table_and_planned(guided):
    program = (
        "import pandas as pd\nfrom workflow_scripts.figures.plot import draw\n"
        "from workflow_scripts.figures.table import FIGURES\n"
        "rows = [('m', 'final', 's', form, 'score', value) for form, value in (('text', 60.0), ('speech', 40.0))]\n"
        "gap = pd.DataFrame(rows, columns=['model', 'checkpoint', 'subset', 'form', 'measure', 'value'])\n"
        "(line,) = draw(FIGURES['scores'].function, gap=gap, display={}).axes[0].lines\n"
        "assert (line.get_xdata(), line.get_ydata()) == (60, 40)\n"
    )
    _python(guided, "-c", program)
    assert "plot" in guided.run("results/figures/scores.svg", "--dry-run", "--cores", "1").stdout


def test_a_stage_runs_by_its_rule(guided):
    program = (
        "from pathlib import Path\nfrom workflow_scripts.artifacts.questions import QUESTIONS, Question\n"
        "from workflow_scripts.step import job_of\n"
        "job = job_of('results/lengths/words.csv')\n"
        "for path in map(Path, job.snakemake.input):\n"
        "    facts = {'subset': path.parent.name, 'spoken': 'a', 'reference': [], 'scorer': 'refusal', 'source': {}}\n"
        "    path.parent.mkdir(parents=True)\n"
        "    QUESTIONS.write(path, [Question(id='q', prompt='three words here', **facts)], {})\n"
        "job.run()\n"
        "assert Path('results/lengths/words.csv').read_text().splitlines()[1].endswith(',3,1')\n"
    )
    _python(guided, "-c", program)
    _python(guided, "-m", "snakemake", "--lint")
