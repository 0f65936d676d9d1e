"""What the voice reads: known readings, refusals, and that nothing unspeakable comes through."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workflow_scripts.benchmark.spoken_text import UnspeakableText, spoken_text
from workflow_scripts.scoring.text_normalisation import normalise_words


@pytest.mark.parametrize(
    ("prompt", "spoken"),
    [
        ("who wrote hamlet", "who wrote hamlet?"),
        ("in which year did it end", "in which year did it end?"),
        ("Explain how rain forms", "Explain how rain forms."),
        ("Is it so?", "Is it so?"),
        ('Say "yes".', 'Say "yes".'),
        ("It costs $5,000 or 20% more", "It costs 5,000 dollars or 20 percent more."),
        ("He lost $3 million", "He lost 3 million dollars."),
        ("salt & pepper", "salt and pepper."),
        ("at -5°C", "at minus 5 degrees Celsius."),
        ("from 1914–1918", "from 1914 to 1918."),
        ("wait — what", "wait, what."),
        ("red/blue", "red slash blue."),
        ("add 1/2 cup", "add 1/2 cup."),
        ("G is a/an group", "G is a or an group."),
        ("one of\nI. DNA", "one of, I. DNA."),
        ("It is likely a(n)", "It is likely a or an."),
        ("the factor(s)", "the factor or factors."),
        ("a café in Zürich", "a cafe in Zurich."),
        ("it’s “fine”…", 'it\'s "fine"...'),
        ("a\u200b b\u00a0c", "a b c."),
        ("player #7", "player number 7."),
        ("one\ntwo\n\nthree", "one, two, three."),
        ("What?\nA. a cave\nB. Rome.\nC. x,\nLast line", "What? A: a cave. B: Rome. C: x. Last line."),
    ],
)
def test_known_readings(prompt: str, spoken: str) -> None:
    assert spoken_text(prompt) == spoken


@pytest.mark.parametrize(
    ("prompt", "reason"),
    [
        ("The capital is ____", "blank to fill in"),
        ("see https://example.org/x", "web address"),
        ("visit example.com now", "web address"),
        ("| a | b |", "table"),
        ("call f() twice", "code or markup"),
        ("use *stars* here", "code or markup"),
        ("set {1, 2}", "code or markup"),
        (r"solve \frac{1}{2}", "code or markup"),
        ("find x^2", "formula"),
        ("if x < y", "formula"),
        ("what is f(x)", "formula"),
        ("∀ x", "formula"),
        ("1+1=2, 2+2=4, 3+3=6, 4+4=8", "many symbols"),
        ("translate 今天", "letters of another script"),
        ("the β chain", "letters of another script"),
        ("C6D6•", "symbol without a reading"),
        ("costs 5$", "symbol without a reading"),
        ("?!", "no words"),
    ],
)
def test_refusals_name_their_reason(prompt: str, reason: str) -> None:
    with pytest.raises(UnspeakableText, match=re.escape(reason)):
        spoken_text(prompt)


@given(st.text(min_size=1, max_size=80))
def test_output_is_one_speakable_line_or_a_refusal(text: str) -> None:
    try:
        spoken = spoken_text(text)
    except UnspeakableText:
        return
    assert re.fullmatch(r"[A-Za-z0-9 .,?!:;'\"()/-]+", spoken)
    assert spoken == " ".join(spoken.split())
    assert spoken.rstrip("\"')")[-1] in ".?!,;:"


@given(st.lists(st.text("abcdefgh", min_size=1, max_size=8), min_size=1, max_size=12))
def test_plain_words_are_read_unchanged(words: list[str]) -> None:
    text = " ".join(words)
    assert normalise_words(spoken_text(text)) == normalise_words(text)
