"""What jobs book, and that a run whose jobs cannot fit is refused."""

import json
import os
from pathlib import Path

import pytest
import yaml
import yte

from workflow_scripts.planning.books import ALL_CORES, UNKNOWN_MB, Books
from workflow_scripts.settings import ConfigError, read_study

ROOT = Path(__file__).parents[2]


class Wildcards(dict):
    """As Snakemake's: names are attributes."""

    def __getattr__(self, name):
        if name in self:
            return self[name]
        raise AttributeError(name)


def books(study="quick.yaml", on_gpu=False):
    found = Books(read_study(ROOT, [ROOT / "studies" / study]), on_gpu=on_gpu)
    found.number = 2  # whatever this machine multiplies
    return found


@pytest.fixture(autouse=True)
def _nothing_fetched(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("shutil.which", lambda name: None)


def with_backbone(found, asset):
    models = found.config.models
    models["smollm2-lora"] = models["smollm2-lora"].model_copy(update={"backbone": asset})
    return found


def test_small_models_take_one_core_and_large_or_unknown_ones_all():
    found = books()
    wildcards = Wildcards(model="smollm2-lora")
    assert found.threads(wildcards) == 1
    assert with_backbone(found, "qwen2.5-coder-1.5b-instruct").threads(wildcards) == ALL_CORES
    found._sizes["qwen2.5-coder-1.5b-instruct"] = None
    assert found.threads(wildcards) == ALL_CORES and found.answers(Wildcards(wildcards, subset="nq")) == UNKNOWN_MB


def test_a_job_books_more_for_a_larger_model_a_longer_batch_and_longer_answers():
    wildcards = Wildcards(model="smollm2-lora", subset="nq")
    small = books().answers(wildcards)
    assert small < 1500
    assert 4 * small < with_backbone(books(), "qwen2.5-coder-1.5b-instruct").answers(wildcards) < 9000
    longer = books()
    subsets = longer.config.benchmark.subsets
    subsets["nq"] = subsets["nq"].model_copy(update={"max_new_tokens": 1024})
    assert longer.answers(wildcards) > small + 500


def test_the_fetched_config_counts_before_the_recorded_one():
    found = books()
    assert found.size("smollm2-135m-instruct").layers == 30
    folder = Path("resources/smollm2-135m-instruct")
    folder.mkdir(parents=True)
    shape = found.config.assets["smollm2-135m-instruct"].config | {"num_hidden_layers": 2}
    (folder / "config.json").write_text(json.dumps(shape))
    assert books().size("smollm2-135m-instruct").layers == 2
    (folder / "config.json").write_text("half a fi")
    assert books().size("smollm2-135m-instruct").layers == 30, "a damaged file is the asset's to report"


def test_eight_cores_and_16_gb_are_not_overbooked_by_the_default_study():
    """Jobs start as Snakemake starts them: while cores and megabytes are left, in the worst order."""
    found = books()
    peaks = {found.answers: 1120, found.states: 820, found.training: 3450}  # measured, with one model of each
    wildcards = Wildcards(model="smollm2-lora", subset="nq")
    for job, peak in peaks.items():
        threads = ALL_CORES if job == found.training else found.threads(wildcards)
        together = min(8 // threads, 16_000 * 9 // 10 // job(wildcards))
        assert together * peak < 16_000, job.__name__
    large = with_backbone(books(), "qwen2.5-coder-1.5b-instruct")
    assert 8 // large.threads(wildcards) == 1 and large.answers(wildcards) > 7400 * 0.9


def test_a_sources_own_longest_prompt_counts_and_answers_that_come_with_the_data_need_no_model():
    found, wildcards = books(), Wildcards(backbone="smollm2-135m-instruct")
    prompts = found.config.training.instructions

    def with_sources(**changes):
        sources = [one.model_copy(update=changes) for one in prompts.sources]
        instructions = prompts.model_copy(update={"sources": sources})
        training = found.config.training.model_copy(update={"instructions": instructions})
        other = Books(found.config.model_copy(update={"training": training}))
        other.number = 2
        return other

    assert with_sources(max_words=60).training(Wildcards(model="smollm2-lora")) > 1.5 * found.training(
        Wildcards(model="smollm2-lora")
    )
    given = with_sources(layout="question", response="answer")
    assert given.instructions(wildcards) == 900 < found.instructions(wildcards)


def test_an_ear_books_no_passes_of_the_language_model_and_collapsed_speech_fewer_positions():
    default = Books(read_study(ROOT, []))
    default.number = 2
    ear, lora = (default.training(Wildcards(model=name)) for name in ("coder-adapter", "coder-lora"))
    assert ear == pytest.approx(5011, rel=0.25), "measured, in MB"
    recipes = default.config.training.recipes
    adapter = recipes["answers"].adapter.model_copy(update={"collapse": False})
    recipes["answers"] = recipes["answers"].model_copy(update={"adapter": adapter})
    assert default.training(Wildcards(model="coder-lora")) > 1.5 * lora > 3 * ear / 2


def test_memory_of_jobs_on_a_gpu_is_what_passes_through_it():
    on_gpu = books("paper.yaml", on_gpu=True)
    assert on_gpu.training(Wildcards(model="llama-8b-lora")) == pytest.approx(2450 + 2 * 8030, rel=0.01)
    one = on_gpu.training(Wildcards(model="qwen-7b-full")) / 16
    assert one == pytest.approx(2450 + 4 * 7615, rel=0.01), "each process loads it in float32"


def test_what_cannot_fit_is_refused_with_the_numbers_and_nothing_on_a_cluster():
    found = books("paper.yaml")
    found.training(Wildcards(model="llama-8b-lora"))
    found.answers(Wildcards(model="qwen-1.5b-lora", subset="mmsu"))
    found.require_fit(None)
    with pytest.raises(
        ConfigError, match=r"training \(llama-8b-lora: 8,030 million parameters\) needs 8\d\.\d GB.*24\.0 GB"
    ):
        found.require_fit(24_000)


def test_a_public_model_books_what_its_entry_says():
    found = books("public_models.yaml")
    name = next(name for name, entry in found.config.models.items() if hasattr(entry, "memory_gb"))
    found.config.models[name] = found.config.models[name].model_copy(update={"memory_gb": 20})
    assert found.states(Wildcards(model=name, subset="nq")) == 20_000


def test_the_default_profile_books_at_most_nine_tenths_of_this_machine():
    profile = yte.process_yaml((ROOT / "profiles/default/profile.yaml").read_text(), require_use_yte=True)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e6
    assert profile["resources"]["mem_mb"] == pytest.approx(0.9 * memory, rel=1e-3)
    assert "mem_mb" not in yaml.safe_load((ROOT / "profiles/slurm/profile.yaml").read_text())["resources"]
