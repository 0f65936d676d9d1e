"""A language model as judge: what it is asked, how its votes are read, what is kept, and what is said when it fails."""

import json

import pytest

from tests.scoring.judge_server import Server
from workflow_scripts.scoring import judge as judging
from workflow_scripts.scoring.judge_client import JudgeError
from workflow_scripts.scoring.registry import aggregate, score_answer
from workflow_scripts.settings.scoring import JudgeSettings


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    made = Server()
    yield made
    made.http.shutdown()
    made.http.server_close()


@pytest.fixture
def ask(server, tmp_path):
    def asked(answer="It is blue.", **changes):
        settings = {"address": server.address, "model": "judge-1", "votes": 1, "wait_seconds": 0} | changes
        plain = JudgeSettings.model_validate(settings).model_dump(mode="json")
        context = {"prompt": "Why is the sky blue?", "judge": plain | {"cache": tmp_path / "judgements"}}
        return score_answer("judge", answer, [], context=context)

    return asked


def test_the_judge_sees_question_and_answer_under_the_declared_sampling(server, ask):
    ask(seed=7, temperature=0.1)
    (request,) = server.requests
    assert request["path"] == "/v1/chat/completions"
    assert (request["model"], request["seed"], request["temperature"], request["top_p"]) == ("judge-1", 7, 0.1, 0.95)
    assert [message["role"] for message in request["messages"]] == ["system", "user"]
    shown = request["messages"][1]["content"]
    assert "[Instruction]: Why is the sky blue?\n" in shown and "[Response]: It is blue.\n" in shown


def test_an_own_prompt_is_filled_in_once(server, ask):
    ask("{prompt} {response}", prompt="Q {prompt} A {response}")
    assert server.requests[0]["messages"][1]["content"] == "Q Why is the sky blue? A {prompt} {response}"


def test_votes_are_averaged_over_seeds_and_unreadable_ones_do_not_count(server, ask):
    server.replies = ["5", "I would rather not say.", "2"]
    found = ask(votes=3, seed=10)
    assert sorted(request["seed"] for request in server.requests) == [10, 11, 12]
    assert (found.score, found.parsed, found.details["rating"]) == (pytest.approx(3.5 / 5), "3.50", 3.5)


def test_an_answer_without_a_readable_vote_is_unparsed(server, ask):
    server.replies = ["It is 4 or so"]
    found = ask(votes=2)
    assert (found.score, found.unparsed, found.outcome) == (0, True, "unparsed")


def test_a_reply_is_kept_and_asked_for_again_only_if_something_of_the_request_differs(server, ask, tmp_path):
    first = ask()
    server.replies = ["1"]
    assert ask() == first and len(server.requests) == 1
    assert ask(model="judge-2").score != first.score and len(server.requests) == 2
    kept = [json.loads(path.read_text()) for path in (tmp_path / "judgements").glob("*.json")]
    assert {one["request"]["model"] for one in kept} == {"judge-1", "judge-2"} and {one["reply"] for one in kept} == {
        "3",
        "1",
    }


def test_kept_replies_need_no_server(server, ask):
    first = ask()
    server.http.shutdown()
    server.http.server_close()
    assert ask() == first


def test_a_busy_server_is_asked_again(server, ask):
    server.replies = [429, 503, "4"]
    assert ask(retries=2).score == pytest.approx(0.8) and len(server.requests) == 3


@pytest.mark.parametrize(
    "replies, times, message",
    [
        ([503], 3, r"http://127\.0\.0\.1:\d+/v1/chat/completions: HTTP 503.*scoring\.judge"),
        ([401], 1, r"HTTP 401"),
        ([b"<html>"], 1, r"no chat completion: b'<html>'; see scoring\.judge\.address"),
    ],
)
def test_an_error_names_the_address_and_the_cause(server, ask, replies, times, message):
    server.replies = replies
    with pytest.raises(JudgeError, match=message):
        ask(retries=2)
    assert len(server.requests) == times


def test_a_server_that_is_not_there_is_named(server, ask):
    server.http.shutdown()
    server.http.server_close()
    with pytest.raises(JudgeError, match=rf"{server.address}/chat/completions: no reply after 2 attempt.*refused"):
        ask(retries=1)


def test_the_key_comes_from_the_environment(server, ask, monkeypatch):
    with pytest.raises(JudgeError, match="the environment has no JUDGE_KEY"):
        ask(api_key_variable="JUDGE_KEY")
    monkeypatch.setenv("JUDGE_KEY", "secret")
    ask(api_key_variable="JUDGE_KEY")
    assert server.headers[0]["Authorization"] == "Bearer secret"


def test_empty_answers_are_not_shown_to_the_judge(server, ask):
    assert ask(" \n").outcome == "empty" and not server.requests


@pytest.mark.parametrize(
    "text, rating",
    [
        *(("4", 4), ("4.", 4), (" **5**\n", 5), ("Score: 3", 3), ("Rating 2.5", 2.5), ("4/5", 4), ("ok [[2]]", 2)),
        *(("", None), ("10", None), ("0", None), ("6", None), ("four", None), ("I give 4", None), ("45.1", None)),
    ],
)
def test_ratings_are_read_at_the_beginning_or_in_brackets(text, rating):
    assert judging.rating_of(text) == rating


def test_a_subset_has_the_mean_rating_beside_its_score(server, ask):
    server.replies = ["5", "2"]
    found = aggregate("judge", [ask("one"), ask("two")])
    assert found.mean == pytest.approx(70) and found.estimates["rating"].value == pytest.approx(3.5)
