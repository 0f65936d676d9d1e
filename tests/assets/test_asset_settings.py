"""The config entry of an asset: what is accepted, and that nothing can point outside the asset's folder."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from workflow_scripts.settings.assets import (
    AssetSettings,
    HubSource,
    PackageSource,
    PathSource,
    checked_target,
)

SHA = "0" * 64


def package_source(**changes):
    values = {
        "package": "some-package==1.0",
        "files": {"a.txt": {"members": ["some_package/a.txt"], "sha256": SHA}},
    }
    return PackageSource.model_validate(values | changes)


@pytest.mark.parametrize(
    "name",
    [
        "../a",
        "a/../b",
        "/etc/passwd",
        "a//b",
        "./a",
        "",
        "a\\b",
        "C:a",
        "a\0b",
        "asset.json",
        ".converting/a",
        ".fetching/a",
    ],
)
def test_target_outside_its_folder_or_reserved_is_refused(name):
    with pytest.raises(ValueError, match="target file"):
        checked_target(name)
    with pytest.raises(ValidationError, match="target file"):
        package_source(files={name: {"members": ["a"], "sha256": SHA}})


@given(st.text(alphabet="ab./\\:~ \n", max_size=12))
def test_every_accepted_target_stays_inside_the_folder(name):
    folder = Path("/root/of/asset")
    try:
        accepted = checked_target(name)
    except ValueError:
        return
    resolved = Path("/root/of/asset", accepted).resolve()
    assert folder in resolved.parents and accepted == name


def test_nested_target_is_accepted():
    assert checked_target("nltk_data/tokenizers/english/a.tab") == "nltk_data/tokenizers/english/a.tab"


@pytest.mark.parametrize(
    "package", ["some-package", "some-package>=1", "--index-url==1", "a==1 b==2", "a==../x", "==1"]
)
def test_package_must_be_pinned_and_cannot_be_an_option(package):
    with pytest.raises(ValidationError, match="not of the form 'name==version'"):
        package_source(package=package)


def test_short_form_means_the_same_as_the_long_form():
    short = package_source(package="some-package", version="1.0")
    assert short.requirements == package_source().requirements == {"some-package": "1.0"}


def test_version_beside_several_packages_is_refused():
    with pytest.raises(ValidationError, match="one package only"):
        package_source(package=["a==1", "b==1"], version="1.0")


def test_members_of_several_packages_must_say_which():
    files = {"a.txt": {"members": ["a/part1", "b:b/part2"], "sha256": SHA}}
    with pytest.raises(ValidationError, match="must be 'name:path'"):
        package_source(package=["a==1", "b==1"], files=files)
    files = {"a.txt": {"members": ["c:a/part1"], "sha256": SHA}}
    with pytest.raises(ValidationError, match="names no package"):
        package_source(package=["a==1", "b==1"], files=files)


def test_members_are_located_in_their_packages():
    files = {"a.txt": {"members": ["a:x/part1", "b:y/part2"], "sha256": SHA}}
    source = package_source(package=["a==1", "b==2"], files=files)
    assert [source.locate(member) for member in files["a.txt"]["members"]] == [
        ("a", "x/part1"),
        ("b", "y/part2"),
    ]


def test_wheel_hash_is_found_under_any_spelling_of_the_name_and_unknown_names_are_refused():
    assert package_source(wheel_sha256={"Some_Package": SHA}).wheel_hash("some-package") == SHA
    with pytest.raises(ValidationError, match=r"wheel_sha256 has \['other'\]"):
        package_source(wheel_sha256={"other": SHA})


@pytest.mark.parametrize("sha256", ["", "0" * 63, "G" * 64, "A" * 64])
def test_malformed_hash_is_refused(sha256):
    with pytest.raises(ValidationError, match="sha256"):
        package_source(files={"a": {"members": ["a"], "sha256": sha256}})


def asset(source, **changes):
    return AssetSettings.model_validate({"format": "files", "licence": "MIT", "sources": [source]} | changes)


def test_each_source_is_recognised_by_its_key():
    package = package_source().model_dump(exclude_none=True)
    assert isinstance(asset(package).sources[0], PackageSource)
    assert isinstance(asset({"hub": "a/b", "revision": "main"}).sources[0], HubSource)
    assert isinstance(asset({"path": "x"}).sources[0], PathSource)
    with pytest.raises(ValidationError, match="one of the keys `package`, `hub` and `path`"):
        asset({"url": "https://example.org"})


def test_unknown_keys_are_refused_everywhere():
    for wrong in (asset, lambda s, **k: asset(s | k)):
        with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
            wrong({"path": "x"}, license="MIT")


def test_settings_survive_a_round_trip_through_plain_values():
    settings = asset(package_source().model_dump())
    assert AssetSettings.model_validate(settings.model_dump(mode="json")) == settings


def test_an_asset_needs_a_source():
    with pytest.raises(ValidationError, match="sources"):
        AssetSettings.model_validate({"format": "files", "licence": "MIT", "sources": []})
