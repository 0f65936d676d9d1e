"""What training lowers: by the recipe's `objective`, which batches are made and which trainer reads them; by the
model's `distill.loss`, what is taught beside it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from workflow_scripts.artifacts.questions import Question
from workflow_scripts.settings.training import RecipeSettings
from workflow_scripts.training.alignment_loss import AlignmentLoss
from workflow_scripts.training.collator import Collator
from workflow_scripts.training.ctc import CtcVocabulary
from workflow_scripts.training.ctc_objective import CtcCollator, CtcTrainer
from workflow_scripts.training.distill import Distillation
from workflow_scripts.training.response_loss import ResponseLoss
from workflow_scripts.training.trainer import LSLMTrainer


@dataclass(frozen=True)
class Objective:
    """Trainer and collator of a run; `heard_tokens`: the token ids that a new posterior adapter is over."""

    trainer: type[LSLMTrainer]
    collator: Collator | CtcCollator
    heard_tokens: Sequence[int] = ()


def _answers(collator: Collator, tokenizer: Any, prompts: Sequence[Question], recipe: RecipeSettings) -> Objective:
    return Objective(LSLMTrainer, collator)


def _ctc(collator: Collator, tokenizer: Any, prompts: Sequence[Question], recipe: RecipeSettings) -> Objective:
    texts = {question.id: question.spoken for question in prompts}
    heard = CtcCollator(CtcVocabulary(tokenizer, list(texts.values())), texts, recipe.sampled_tokens)
    return Objective(CtcTrainer, heard, heard.vocabulary.token_ids)


OBJECTIVES: Mapping[str, Callable[[Collator, Any, Sequence[Question], RecipeSettings], Objective]] = {
    "answers": _answers,
    "ctc": _ctc,
}
"""By `objective`, each from the collator of answers, the tokenizer, the training prompts and the recipe: a run on
answers does not depend on the code of CTC."""

DISTILLATIONS: Mapping[str, type[Distillation]] = {
    "cosine": AlignmentLoss,
    "forward_kl": ResponseLoss,
    "reverse_kl": ResponseLoss,
}
"""By `distill.loss`."""
