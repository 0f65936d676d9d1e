"""Config files are read before anything else: what is wrong in them is named with file and line, never passed over."""

import shutil
from pathlib import Path

import pytest

from tests.made_checkpoints import write_default_study
from workflow_scripts.settings import ConfigError, ConfigFiles, read_mapping, read_study
from workflow_scripts.settings.study import DEFAULTS

ROOT = Path(__file__).parents[2]


def write(tmp_path, text, name="study.yaml"):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("seed: 1\nmodels:\n\ta: 1\n", r"study\.yaml, line 3: not YAML: .*the line has a tab, YAML wants spaces"),
        (b'seed: 1\ndisplay: {title: "caf\xe9"}\n', r"study\.yaml, line 2: byte 0xe9 is not UTF-8"),
        ("", r"study\.yaml is empty"),
        ("# only a comment\n", r"study\.yaml is empty"),
        ("seed: 1\n---\nseed: 2\n", r"study\.yaml, line 3: a second document starts here"),
        ("- a\n", r"study\.yaml, line 1: keys are expected here"),
        ("just words\n", r"study\.yaml, line 1: keys are expected here"),
        ("models: {a: 1\n", r"study\.yaml, line 2: not YAML"),
        ("models: *nowhere\n", r"study\.yaml, line 1: not YAML: found undefined alias"),
    ],
)
def test_a_file_that_is_no_config_is_named_with_its_line(tmp_path, text, expected):
    with pytest.raises(ConfigError, match=expected):
        read_mapping(write(tmp_path, text))


def test_a_missing_file_and_a_folder_are_named(tmp_path):
    with pytest.raises(ConfigError, match=r"mine\.yaml: no such config file"):
        read_mapping(tmp_path / "mine.yaml")
    with pytest.raises(ConfigError, match="is a folder; name a config file in it"):
        read_mapping(tmp_path)


def test_a_copied_entry_that_was_not_renamed_is_named_with_both_lines(tmp_path):
    path = write(tmp_path, "seed: 1\nmodels:\n  a: {seed: 0}\n  b: {seed: 1}\n  a: {seed: 2}\n")
    with pytest.raises(ConfigError, match=r"study\.yaml is not valid") as error:
        ConfigFiles([path])
    assert "models.a: the key stands in lines 3 and 5; rename or remove one of them" in str(error.value)


def test_every_repeated_key_is_listed_at_any_depth(tmp_path):
    with pytest.raises(ConfigError) as error:
        ConfigFiles([write(tmp_path, "a: 1\na: 2\nb:\n  - c: 1\n    c: 2\n")])
    assert [line.split(":")[0].strip() for line in str(error.value).splitlines()[1:]] == ["a", "b.0.c"]


@pytest.mark.parametrize("text", ["a: {x: 1}\nb: {x: 1}\n", '{"a": 1, "b": [1, 1]}', "? [1, 2]\n: x\n"])
def test_equal_keys_in_different_mappings_are_fine(tmp_path, text):
    ConfigFiles([write(tmp_path, text)])


def test_null_for_an_entry_that_no_file_before_has_is_refused_with_the_nearest_one(tmp_path):
    base = write(tmp_path, "models:\n  smollm2-lora: {seed: 0}\n", "base.yaml")
    overlay = write(tmp_path, "seed: 1\nmodels:\n  smollm2-lor: null\n", "overlay.yaml")
    with pytest.raises(ConfigError, match=r"overlay\.yaml is not valid") as error:
        ConfigFiles([base, overlay])
    assert "line 3: models.smollm2-lor: null removes nothing" in str(error.value)
    assert "did you mean 'smollm2-lora'" in str(error.value)
    ConfigFiles([base, write(tmp_path, "models:\n  smollm2-lora: null\n", "right.yaml")])


def test_the_last_file_that_sets_a_key_is_named_with_its_line(tmp_path):
    base = write(tmp_path, "seed: 1\nspeech:\n  voice: a\n", "base.yaml")
    overlay = write(tmp_path, "# mine\nspeech: {voice: b}\n", "overlay.yaml")
    files = ConfigFiles([base, overlay])
    assert files.where(("speech", "voice")) == f"{overlay}, line 2"
    assert files.where(("seed",)) == f"{base}, line 1"
    assert files.where(("speech", "asr", "asset")) == f"{overlay}, line 2", "the nearest key above"
    assert files.where(("nowhere",)) is None


def test_a_wrong_value_is_named_with_key_file_and_line(tmp_path):
    path = write(tmp_path, "chance:\n  draws: many\n")
    with pytest.raises(ConfigError, match=r"chance\.draws: .*\(found 'many'\) \(.*study\.yaml, line 2\)"):
        read_study(ROOT, [path])


@pytest.mark.parametrize("study", [None, *sorted((ROOT / "studies").glob("*.yaml"))])
def test_the_studies_that_come_along_pass_the_check(study, tmp_path):
    for name in DEFAULTS:
        shutil.copy2(ROOT / name, tmp_path)
    write_default_study(tmp_path)
    read_study(tmp_path, [] if study is None else [study])
