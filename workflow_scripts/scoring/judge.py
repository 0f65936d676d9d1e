"""How good is an open-ended answer, as a language model rates it, from 1 to 5?

The judge is declared in the config (`scoring.judge`); without one no question can have this scorer. Several votes are
taken, as VoiceBench does, and averaged: score = rating / 5, so that 100 times it is 20 times VoiceBench's mean rating,
as its leaderboard shows it. A vote without a number from 1 to 5 does not count; without any the answer is unparsed. An
empty answer scores 0 and is not shown to the judge.

`PROMPT` and `SYSTEM` are those of VoiceBench's `api_judge.py` (MatthewCYM/VoiceBench, Apache-2.0).
"""

import re
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from workflow_scripts.scoring.estimates import mean_estimate
from workflow_scripts.scoring.judge_client import reply
from workflow_scripts.scoring.scorer import Estimates, Score, Scorer, Scores, Task

SYSTEM = "You are a helpful assistant who tries to help answer the user's question."
PROMPT = """
I need your help to evaluate the performance of several models in the speech interaction scenario. The models \
will receive a speech input from the user, which they need to understand and respond to with a speech output.
Your task is to rate the model’s responses based on the provided user input transcription [Instruction] and the \
model’s output transcription [Response].

Please evaluate the response on a scale of 1 to 5:
1 point: The response is largely irrelevant, incorrect, or fails to address the user’s query. It may be \
off-topic or provide incorrect information.
2 points: The response is somewhat relevant but lacks accuracy or completeness. It may only partially answer \
the user’s question or include extraneous information.
3 points: The response is relevant and mostly accurate, but it may lack conciseness or include unnecessary \
details that don’t contribute to the main point.
4 points: The response is relevant, accurate, and concise, providing a clear answer to the user’s question \
without unnecessary elaboration.
5 points: The response is exceptionally relevant, accurate, and to the point. It directly addresses the user’s \
query in a highly effective and efficient manner, providing exactly the information needed.

Below are the transcription of user’s instruction and models’ response:
### [Instruction]: {prompt}
### [Response]: {response}

After evaluating, please output the score only without anything else.
You don’t need to provide any explanations.
"""
_RATING = re.compile(
    r"\[\[\s*([1-5](?:\.\d+)?)\s*\]\]|\A\W*(?:(?:score|rating)\W+)?([1-5](?:\.\d+)?)(?![\d.]*\d)", re.IGNORECASE
)


def rating_of(text: str) -> float | None:
    """The rating of a vote: the number it begins with, or a number in double brackets; None without one of 1 to 5."""
    found = _RATING.search(text)
    value = float(found[1] or found[2]) if found else 0.0
    return value if 1 <= value <= 5 else None


def score_judged(answer: str, task: Task) -> Score:
    """Mean rating of the judge's votes, over 5.

    Raises:
        ValueError: no judge is declared. JudgeError: it gave no reply.
    """
    if not any(map(str.isprintable, answer.strip())):
        return Score(0.0, None, "empty", "empty", True)
    if task.judge is None:
        raise ValueError("scorer 'judge' asks a language model; declare it in scoring.judge")
    votes = [rating_of(text) for text in _votes(answer, task.prompt, task.judge)]
    ratings = [vote for vote in votes if vote is not None]
    details = {"votes": votes}
    if not ratings:
        return Score(0.0, None, "unparsed", "votes", True, details)
    mean = sum(ratings) / len(ratings)
    return Score(mean / 5, f"{mean:.2f}", "judged", "votes", False, details | {"rating": mean})


def _votes(answer: str, prompt: str, judge: Mapping[str, Any]) -> list[str]:
    # One pass: a prompt that holds "{response}" is no place for the answer.
    values = {"prompt": prompt, "response": answer.encode(errors="replace").decode()}
    asked = re.sub(r"\{(prompt|response)\}", lambda name: values[name[1]], judge["prompt"] or PROMPT)
    messages = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": asked}]
    seeds = [judge["seed"] + vote for vote in range(judge["votes"])]
    with ThreadPoolExecutor(len(seeds)) as pool:
        return list(pool.map(lambda seed: reply(messages, judge, seed), seeds))


def _estimates(scores: Scores) -> Estimates:
    ratings = [score.details["rating"] for score in scores if "rating" in score.details]
    return {"rating": mean_estimate(ratings)}


SCORER = Scorer(version="1", score=score_judged, layouts=("voicebench",), estimates=_estimates)
