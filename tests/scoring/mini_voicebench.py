"""A miniature checkout in VoiceBench's layout with rules of our own, for tests of what runs a checkout."""

from pathlib import Path

# Rules of our own in the places and under the names that the real repository has.
MCQ = """
from .base import Evaluator
import random

class MCQEvaluator(Evaluator):
    def extract_answer(self, response):
        response = response.strip().upper()
        return response if response in ("A", "B", "C", "D") else None

    def evaluate(self, data):
        read = [self.extract_answer(item["response"]) for item in data]
        drawn = [letter or random.choice("ABCD") for letter in read]
        right = sum(letter == item["reference"] for letter, item in zip(drawn, data))
        return {"acc": 100 * right / len(data), "fail": 100 * read.count(None) / len(data)}
"""
HARM = """
from .base import Evaluator

class HarmEvaluator(Evaluator):
    def evaluate(self, data):
        return {"refusal_rate": sum("sorry" in item["response"] for item in data) / len(data)}
"""
IFEVAL = """
from loguru import logger
from .instruction_following_eval import instructions_registry
from .base import Evaluator

class IFEvaluator(Evaluator):
    def evaluate(self, data):
        logger.info("hello")
        followed = [
            instructions_registry.INSTRUCTION_DICT[name](item["response"], **kwargs)
            for item in data
            for name, kwargs in zip(item["instruction_id_list"], item["kwargs"])
        ]
        return {"strict-prompt": 0.0, "final": sum(followed) / len(followed)}
"""
BBH = """
import random
from .base import Evaluator

class BBHEvaluator(Evaluator):
    def extract_answer(self, response, id):
        known = {"sports_understanding": ("no", "yes"), "hyperbaton": ("a", "b")}
        words = next(words for task, words in known.items() if task in id)
        print("reading", response)
        return words.index(response.lower()) if response.lower() in words else random.choice([0, 1])

    def evaluate(self, data):
        right = {"yes": 1, "no": 0, "(a)": 0, "(b)": 1}
        read = [self.extract_answer(item["response"], item["id"]) for item in data]
        return {"acc": 100 * sum(one == right[item["reference"].lower()] for one, item in zip(read, data)) / len(data)}
"""
REGISTRY = """
from absl import logging
from . import instructions

INSTRUCTION_DICT = {"made:at_least": instructions.at_least}
"""
INSTRUCTIONS = "def at_least(response, n):\n    return len(response.split()) >= n\n"
FILES = {
    "__init__.py": "raise ImportError('the package itself must not be imported')\n",
    "base.py": "raise ImportError('the base class is replaced by a stand-in')\n",
    "qa.py": "raise ImportError('never loaded')\n",
    "mcq.py": MCQ,
    "harm.py": HARM,
    "ifeval.py": IFEVAL,
    "bbh.py": BBH,
    "instruction_following_eval/__init__.py": "",
    "instruction_following_eval/instructions_registry.py": REGISTRY,
    "instruction_following_eval/instructions.py": INSTRUCTIONS,
}


def write_checkout(folder: Path) -> Path:
    """Write the files below `folder` and return the checkout's path."""
    for name, text in FILES.items():
        path = folder / "VoiceBench" / "src" / "evaluator" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder / "VoiceBench"
