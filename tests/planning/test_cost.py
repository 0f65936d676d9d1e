"""What a study costs: by stage, against a measured run, and in seconds for the paper's."""

import time
from pathlib import Path

import pytest

from workflow_scripts import cost
from workflow_scripts.cost import MACHINES, costs, main, read_rates, table, this_machine
from workflow_scripts.planning.books import Books
from workflow_scripts.planning.study import Study
from workflow_scripts.settings import ConfigError, read_study

ROOT = Path(__file__).parents[2]
RATES = ROOT / "profiles/rates.yaml"


def study(name, features="cached"):
    found = read_study(ROOT, [ROOT / "studies" / f"{name}.yaml"])
    return found.model_copy(update={"training": found.training.model_copy(update={"features": features})})


@pytest.fixture(autouse=True)
def _nothing_fetched(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)


def test_the_cost_of_the_papers_study_is_told_in_seconds(capsys):
    started = time.process_time()
    main([str(ROOT / "studies/paper.yaml"), "--on", "gpu"])
    assert time.process_time() - started < 10
    printed = capsys.readouterr().out
    assert "encode (whisper-large-v3)" in printed and printed.count("\n") == 13
    assert [line.split(":")[0] for line in printed.splitlines()[-3:-1]] == ["disk", "rates"]


@pytest.mark.parametrize(("gpu", "bytes_of_a_number", "machine"), [("/bin/nvidia-smi", 2, "gpu"), (None, 2, "cpu"),
                                                                   (None, 4, "cpu_float32")])  # fmt: skip
def test_rates_are_those_of_this_machine(monkeypatch, gpu, bytes_of_a_number, machine):
    monkeypatch.setattr(cost.shutil, "which", lambda _: gpu)
    monkeypatch.setattr(Books, "number", bytes_of_a_number)
    assert this_machine(study("quick")) == machine


def test_without_bfloat16_everything_of_a_model_costs_more():
    rates = {on: read_rates(RATES, on) for on in MACHINES}
    seconds = {on: sum(one.seconds for one in costs(study("quick"), rates[on])) for on in ("cpu", "cpu_float32")}
    assert seconds["cpu_float32"] > 1.5 * seconds["cpu"]


def test_jobs_are_those_of_the_study():
    config = study("paper")
    jobs = {one.stage: one.jobs for one in costs(config, read_rates(RATES, "gpu"))}
    found = Study(config)
    assert jobs["train"] == 8 and jobs["answer the training prompts"] == 4 * len(found.prompt_shards) == 128
    assert jobs["states and alignment"] == len(
        found.files("{model}{checkpoint}{subset}{shard}", subsets=found.analysed_subsets)
    )
    shards = len(found.files("{subset}{shard}"))
    assert jobs["answer"] == shards * (8 * 5 + 8 + 4), "checkpoints, floors of the last, untuned backbones"


def test_core_seconds_of_the_quick_study_are_near_what_it_took():
    """Processor seconds that Snakemake measured on two cores (0.8.0), by stage."""
    measured = {"speak": 25, "encode (whisper-base)": 85, "transcribe": 130, "answer the training prompts": 16,
                "train": 162, "answer": 250, "states and alignment": 50, "edit": 15}  # fmt: skip
    found = {one.stage: one.seconds for one in costs(study("quick"), read_rates(RATES, "cpu"))}
    assert found.keys() == measured.keys()
    assert sum(found.values()) == pytest.approx(sum(measured.values()), rel=0.5)


def test_exchanged_states_and_probes_are_counted_where_they_are_asked_for():
    """More layers and classes cost more; the job counts are the plan's."""
    rates, asked, plain = read_rates(RATES, "cpu"), study("where"), study("interventions")
    found, without = ({one.stage: one for one in costs(of, rates)} for of in (asked, plain))
    assert set(found) - set(without) == {"exchange states", "probe"}
    planned = Study(asked)
    assert found["exchange states"].jobs == len(planned.patches()) + len(planned.patches("attention")) == 4
    assert found["probe"].jobs == len(planned.probe_tables()) == 2
    whole = asked.model_copy(update={"patching": asked.patching.model_copy(update={"layers": None})})
    every = {one.stage: one.seconds for one in costs(whole, rates)}
    assert every["exchange states"] > 2 * found["exchange states"].seconds > 0


def test_more_prompts_cost_in_proportion_and_only_where_prompts_are_used():
    config = study("paper")
    instructions = config.training.instructions.model_copy(update={"prompts": 2 * config.training.instructions.prompts})
    double = config.model_copy(update={"training": config.training.model_copy(update={"instructions": instructions})})
    rates = read_rates(RATES, "gpu")
    one, two = ({c.stage: c for c in costs(of, rates)} for of in (config, double))
    for stage in ("speak", "answer the training prompts", "encode (whisper-large-v3)"):
        assert two[stage].kept == pytest.approx(2 * one[stage].kept, rel=0.02)
    for stage in ("train", "answer", "edit"):
        assert two[stage] == one[stage]


def test_features_computed_online_are_not_written_but_cost_the_encoder_in_every_step():
    rates = read_rates(RATES, "gpu")
    cached, online = ({c.stage: c for c in costs(study("paper", kind), rates)} for kind in ("cached", "online"))
    encode = "encode (whisper-large-v3)"
    assert online[encode].jobs == cached[encode].jobs - 1 and online[encode].kept < cached[encode].kept / 50
    assert online["train"].seconds > cached["train"].seconds and online["train"].read < cached["train"].read


def test_gpus_take_the_models_and_cores_the_voice():
    found = list(costs(study("paper"), read_rates(RATES, "gpu")))
    total = table(found, True).splitlines()[-2].split()
    gpu, core = float(total[2].replace(",", "")), float(total[3].replace(",", ""))
    assert core * 3600 == pytest.approx(found[0].seconds, rel=0.01) and gpu > core
    assert table(found, False).splitlines()[-2].split()[2] == "0.0"


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("cpu: {reading: 1}", "start_seconds"),
        ("cpu: {reading: fast}", "reading"),
        ("[", "not readable"),
        ("", "reading"),
    ],
)
def test_rates_that_are_missing_or_no_numbers_are_named(tmp_path, text, named):
    path = tmp_path / "rates.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=named):
        read_rates(path, "cpu")


def test_a_model_of_unknown_size_is_named_with_the_key_that_tells_it():
    config = study("paper")
    config.assets["qwen2.5-7b-instruct"] = config.assets["qwen2.5-7b-instruct"].model_copy(update={"config": None})
    with pytest.raises(ConfigError, match=r"size of qwen2\.5-7b-instruct .* assets\.qwen2\.5-7b-instruct\.config"):
        list(costs(config, read_rates(RATES, "gpu")))


def test_a_public_model_of_unknown_size_is_told_how_to_leave_it_out():
    with pytest.raises(ConfigError, match=r"the size of models\.[a-z0-9.-]+ is not known .* set it to null"):
        list(costs(study("public_models"), read_rates(RATES, "cpu")))


def test_an_ear_costs_no_passes_of_the_language_model_and_a_frozen_one_answers_spoken_questions_only():
    rates = read_rates(RATES, "cpu")
    whole = read_study(ROOT, [])
    kinds = {name: whole.model_copy(update={"models": {name: model}}) for name, model in whole.models.items()}
    ear, lora = ({one.stage: one for one in costs(kinds[name], rates)} for name in ("coder-adapter", "coder-lora"))
    steps = [whole.training.recipes[name].checkpoint_steps for name in ("ear", "answers")]
    assert ear["train"].seconds / steps[0][-1] < lora["train"].seconds / steps[1][-1] / 10
    assert ear["answer"].seconds / len(steps[0]) < 0.7 * lora["answer"].seconds / len(steps[1])


def test_prompts_whose_answers_come_with_the_data_cost_no_answering_and_unfiltered_ones_no_transcribing():
    rates = read_rates(RATES, "cpu")
    default = read_study(ROOT, [])
    prompts = default.training.instructions

    def found(**changes):
        sources = [source.model_copy(update=changes) for source in prompts.sources]
        training = default.training.model_copy(update={"instructions": prompts.model_copy(update={"sources": sources})})
        return {one.stage: one for one in costs(default.model_copy(update={"training": training}), rates)}

    given, own = found(), found(response=None, layout="question")
    answering = "answer the training prompts"
    assert given[answering].jobs == own[answering].jobs == 1
    assert given[answering].seconds == pytest.approx(rates["start_seconds"]), "no model is run"
    assert own[answering].seconds > 3600
    filtered = found(wer_filter=True)
    assert filtered["transcribe"].seconds > 3 * given["transcribe"].seconds
    assert filtered["transcribe"].jobs == given["transcribe"].jobs, "the job writes the manifest all the same"


def test_a_source_with_answers_costs_as_much_less_as_its_share():
    rates = read_rates(RATES, "cpu")
    quick = study("quick")
    prompts = quick.training.instructions
    source = prompts.sources[0].model_copy(update={"response": None, "layout": "question", "share": 1})

    def answering(*sources):
        training = quick.training.model_copy(
            update={"instructions": prompts.model_copy(update={"sources": list(sources)})}
        )
        found = {one.stage: one for one in costs(quick.model_copy(update={"training": training}), rates)}
        return found["answer the training prompts"].seconds - rates["start_seconds"]

    given = source.model_copy(update={"response": "answer", "share": 3})
    assert answering(source, given) == pytest.approx(answering(source) / 4)
