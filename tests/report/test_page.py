"""The page: nothing foreign survives unescaped, nothing is fetched, and the numbers of the tables are on it."""

import base64
import hashlib
import io
import json
import re
from html.parser import HTMLParser

import pytest
import soundfile

from tests.report.conftest import build_page
from workflow_scripts.artifacts.files import ArtifactError
from workflow_scripts.artifacts.tables import read_table, select
from workflow_scripts.report.numbers import with_interval
from workflow_scripts.report.shown_tables import read_shown_table
from workflow_scripts.report.table import TABLES

EVIL = """</script><script>alert("x")</script><img src=x onerror='alert(1)'>"&'<!--{{ 7*7 }}\u2028"""
ALLOWED_LINK = re.compile(r"#[\w-]+|https://arxiv\.org/abs/\d{4}\.\d{5}")


class Parsed(HTMLParser):
    """Tags with their attributes, texts of scripts, and visible text."""

    def __init__(self, text: str):
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.scripts: list[str] = []
        self.words: list[str] = []
        self.comments: list[str] = []
        self._inside = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._inside = tag
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag):
        self._inside = ""

    def handle_data(self, data):
        if self._inside == "script":
            self.scripts[-1] += data
        elif self._inside != "style":
            self.words.append(data)

    def handle_comment(self, data):
        self.comments.append(data)

    def all(self, tag: str) -> list[dict[str, str]]:
        """Attributes of every such tag."""
        return [attributes for name, attributes in self.tags if name == tag]

    @property
    def visible(self) -> str:
        """Text outside scripts and styles."""
        return " ".join(" ".join(self.words).split())


@pytest.fixture(scope="module")
def parsed(page):
    return Parsed(page.text)


def samples_of(parsed: Parsed) -> dict:
    return json.loads(parsed.scripts[0])


@pytest.fixture(scope="module")
def evil(tmp_path_factory):
    texts = dict.fromkeys(("prompt", "reference", "answer", "transcript"), EVIL)
    display = {"title": EVIL, "models": {"lora": {"label": EVIL}}, "subsets": {"nq": EVIL, "mmlu": EVIL}}
    return Parsed(build_page(tmp_path_factory.mktemp("evil"), texts=texts, display=display).text)


def test_planted_markup_becomes_no_tag_attribute_or_comment(evil, parsed):
    assert len(evil.scripts) == len(parsed.scripts) == 2
    assert [tag for tag, _ in evil.tags] == [tag for tag, _ in parsed.tags]
    assert not any(name.startswith("on") for _, attributes in evil.tags for name in attributes)
    assert not evil.comments
    assert all(image["src"].startswith("data:image/svg+xml;base64,") for image in evil.all("img"))


def test_planted_texts_arrive_whole(evil):
    assert EVIL.replace("\u2028", " ") in evil.visible
    sample = samples_of(evil)["subsets"][0]["samples"][0]
    assert sample["prompt"] == sample["reference"] == sample["transcript"] == EVIL
    assert sample["models"]["lora"]["speech"]["answer"] == EVIL


def test_sample_data_holds_no_character_that_could_end_its_element(evil):
    assert "<" not in evil.scripts[0]
    assert "\\u003c/script" in evil.scripts[0]


def test_the_script_writes_text_never_html(parsed):
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|Function\(", parsed.scripts[1])


def test_nothing_is_fetched(page, parsed):
    for tag, attributes in parsed.tags:
        if tag == "a":
            assert ALLOWED_LINK.fullmatch(attributes["href"])
            continue
        assert tag not in ("link", "iframe", "object", "embed", "base")
        for name in ("src", "href", "srcset", "data", "poster", "action"):
            assert attributes.get(name, "data:").startswith("data:"), (tag, name)
    style = page.text.partition("<style>")[2].partition("</style>")[0]
    assert not re.search(r"url\(|@import|@font-face", style)


def test_the_policy_allows_the_page_s_own_script_and_style_only(page, parsed):
    policy = next(meta["content"] for meta in parsed.all("meta") if meta.get("http-equiv") == "Content-Security-Policy")
    rules = {rule.split()[0]: rule.split()[1:] for rule in policy.split(";")}
    style = page.text.partition("<style>")[2].partition("</style>")[0]
    assert rules["default-src"] == ["'none'"]
    for name, text in (("script-src", parsed.scripts[1]), ("style-src", style)):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert rules[name] == [f"'sha256-{digest}'"]


def test_no_tag_carries_a_style_that_the_policy_would_block(parsed):
    assert not any("style" in attributes for _, attributes in parsed.tags)


def test_anchors_lead_somewhere_and_ids_are_unique(parsed):
    ids = [attributes["id"] for _, attributes in parsed.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    targets = {link["href"][1:] for link in parsed.all("a") if link["href"].startswith("#")}
    # The made page has one of the seven figures.
    assert {target for target in targets - set(ids)} <= {
        f"figure-{name}" for name in ("decline", "learning", "layers", "aps_gap")
    }


def test_images_have_alternative_texts_and_tables_can_be_scrolled_by_keyboard(parsed):
    assert all(image["alt"] for image in parsed.all("img"))
    regions = [region for region in parsed.all("div") if region.get("class", "").startswith("scroll")]
    assert len(regions) == len(parsed.all("table"))
    assert all(region["tabindex"] == "0" and region["aria-label"] for region in regions)


def test_headline_numbers_are_those_of_the_last_checkpoint(page, parsed):
    last = select(read_table(page.made.table("gap"), "gap"), step=200, subset="overall", form="gap")
    for row in select(last, measure="score").itertuples():
        assert f"{with_interval(row.value, row.low, row.high)}, n = 156" in parsed.visible
    for row in select(last, measure="loss").itertuples():
        assert f"{with_interval(row.value, row.low, row.high, 2)}, n = 81" in parsed.visible
    assert "120.0 → 30.0 % (written: 4.0 %), n = 24" in parsed.visible
    assert "0.70 (null 0.12)" in parsed.visible


def test_every_cell_of_every_table_is_on_the_page(page, parsed):
    for name in TABLES:
        table = read_shown_table(page.made.folder / "tables" / f"{name}.csv", dict.fromkeys(page.made.subsets, ""))
        for row in table.rows:
            assert all(" ".join(cell.split()) in parsed.visible for cell in row), (name, row)


def test_a_new_figure_is_on_the_page_with_its_words(tmp_path):
    svg = tmp_path / "planted.svg"
    svg.write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
    texts = {"planted": {"title": "A planted figure", "caption": "Its caption; n: none."}}
    visible = Parsed(build_page(tmp_path, figures=[svg], figure_texts=texts).text).visible
    assert "A planted figure" in visible and "Its caption; n: none." in visible


def test_samples_can_be_searched_and_the_search_box_has_a_name(parsed):
    (search,) = [attributes for tag, attributes in parsed.tags if tag == "input"]
    assert (search["type"], search["id"]) == ("search", "search")


def test_every_subset_has_its_samples_with_right_and_wrong_answers(parsed, page):
    data = samples_of(parsed)
    assert [entry["subset"] for entry in data["subsets"]] == list(page.made.subsets)
    for entry in data["subsets"]:
        assert len(entry["samples"]) == 4
        assert entry["n"] == 5  # one of six was dropped
        marks = {sample["models"]["lora"]["speech"]["right"] for sample in entry["samples"]}
        assert marks == {True, False}
        for sample in entry["samples"]:
            assert set(sample["models"]) == set(page.made.models)
            assert set(sample["models"]["full"]) == {"text", "speech", "asr"}
            assert sample["wer"] == 12.5
            assert sample["id"] in sample["models"]["full"]["asr"]["answer"]


def test_audio_is_mono_mp3_of_the_questions_length(parsed):
    uri = samples_of(parsed)["subsets"][0]["samples"][0]["audio"]
    kind, _, encoded = uri.partition(",")
    assert kind == "data:audio/mpeg;base64"
    samples, rate = soundfile.read(io.BytesIO(base64.b64decode(encoded)))
    assert (rate, samples.ndim) == (16_000, 1)
    assert len(samples) / rate == pytest.approx(1.5, abs=0.15)


def test_long_texts_are_cut_and_recordings_beyond_the_budget_left_out(tmp_path, monkeypatch):
    one = len(samples_of(Parsed(build_page(tmp_path / "all").text))["subsets"][0]["samples"][0]["audio"])
    monkeypatch.setattr("workflow_scripts.report.samples.MAX_AUDIO", 6 * 2 * one)
    data = samples_of(Parsed(build_page(tmp_path / "few", texts={"answer": "x" * 5000}).text))
    for entry in data["subsets"]:
        assert [bool(sample["audio"]) for sample in entry["samples"]] == [True, True, False, False]
    answer = data["subsets"][0]["samples"][0]["models"]["lora"]["speech"]["answer"]
    assert answer.startswith("x" * 2000) and answer.endswith("characters more]") and len(answer) < 2100


def test_the_page_does_not_grow_with_the_number_of_questions(tmp_path):
    few, many = (len(build_page(tmp_path / str(n), n_questions=n).text) for n in (12, 120))
    assert many < 1.02 * few


def test_the_page_says_what_the_models_and_the_voice_are(parsed):
    assert "one synthetic voice (heart, engine hibari)" in parsed.visible
    assert parsed.visible.count("must not be read as spontaneous") == 2
    assert "NQ-open stands in for SD-QA" in parsed.visible
    assert "0123456789abcdef" in parsed.visible
    assert "feedc0ffee123456" in parsed.visible
    assert "1234.5" in parsed.visible


def test_equal_inputs_give_an_equal_page(page, tmp_path):
    again = build_page(tmp_path)
    assert again.text == page.text


def test_missing_audio_names_the_file_and_the_remedy(tmp_path, monkeypatch):
    monkeypatch.setattr("tests.made_samples.soundfile.write", lambda *_: None)
    with pytest.raises(
        ArtifactError, match=r"audio/advbench-0000\.flac: cannot be read as audio .* run the speech stage"
    ):
        build_page(tmp_path)
