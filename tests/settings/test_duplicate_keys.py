"""A key that stands twice is refused: YAML readers would keep the last entry and drop the first without a word."""

from pathlib import Path

import pytest

from workflow_scripts.settings import ConfigError, refuse_duplicate_keys

ROOT = Path(__file__).parents[2]


def write(tmp_path, text):
    (tmp_path / "study.yaml").write_text(text)
    return tmp_path / "study.yaml"


def test_a_copied_entry_that_was_not_renamed_is_named_with_both_lines(tmp_path):
    path = write(tmp_path, "seed: 1\nmodels:\n  a: {seed: 0}\n  b: {seed: 1}\n  a: {seed: 2}\n")
    with pytest.raises(ConfigError, match=r"study\.yaml is not valid") as error:
        refuse_duplicate_keys(path)
    assert "models.a: the key stands in lines 3 and 5; rename or remove one of them" in str(error.value)


def test_all_of_them_are_listed_at_any_depth(tmp_path):
    path = write(tmp_path, "a: 1\na: 2\nb:\n  - c: 1\n    c: 2\n")
    with pytest.raises(ConfigError) as error:
        refuse_duplicate_keys(path)
    assert [line.split(":")[0].strip() for line in str(error.value).splitlines()[1:]] == ["a", "b.0.c"]


@pytest.mark.parametrize("text", ["", "a: {x: 1}\nb: {x: 1}\n", '{"a": 1, "b": [1, 1]}', "? [1, 2]\n: x\n"])
def test_equal_keys_in_different_mappings_are_fine(tmp_path, text):
    refuse_duplicate_keys(write(tmp_path, text))


@pytest.mark.parametrize("path", [ROOT / "config.yaml", ROOT / "assets.yaml", *(ROOT / "studies").glob("*.yaml")])
def test_the_files_that_come_along_have_none(path):
    refuse_duplicate_keys(path)
