"""CTC against the language model's own token embeddings, not in the paper.

Classes are the tokens that occur in the training texts, and a blank (class 0). The logit of a token is the adapter's
output times the *unit-length* embedding of that token in the language model, which stays frozen; the blank has a
learned vector and bias. So the adapter learns to point, at each position, at the embedding of what is said there. This
imposes alignment at the embedding layer: runs with it cannot show that alignment arises by itself.
"""

import itertools
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

BLANK = 0
"""Class of "no token here"."""


def spoken_text(text: str) -> str:
    """The form in which texts are aligned: lower case, one leading space, no final punctuation.

    A leading space makes the first word the same token as inside a sentence. Words of one letter keep their case: "A"
    names an option, "a" is an article, and a language model that is shown "a:" answers "a".
    """
    words = (word if sum(map(str.isalpha, word)) == 1 else word.lower() for word in text.split())
    return " " + " ".join(words).rstrip(".!?,;: ")


class CtcVocabulary:
    """The classes: class `c` > 0 is token `token_ids[c - 1]`."""

    def __init__(self, tokenizer: Any, texts: Sequence[str]) -> None:
        self.tokenizer = tokenizer
        used = {token for text in texts for token in self._tokens(text)}
        if not used:
            raise ValueError(f"no tokens in {len(texts)} texts; CTC needs the texts of the utterances")
        self.token_ids = sorted(used)
        self._classes = {token: number for number, token in enumerate(self.token_ids, start=1)}

    def __len__(self) -> int:
        """Number of classes, the blank included."""
        return len(self.token_ids) + 1

    def encode(self, text: str) -> list[int]:
        """Classes of a text; tokens that are not in the vocabulary (held-out texts) are left out."""
        return [self._classes[token] for token in self._tokens(text) if token in self._classes]

    def decode(self, classes: Sequence[int]) -> str:
        """Text of classes, blanks dropped, without the leading space."""
        return self.tokenizer.decode([self.token_ids[c - 1] for c in classes if c != BLANK]).strip()

    def _tokens(self, text: str) -> list[int]:
        return self.tokenizer(spoken_text(text), add_special_tokens=False)["input_ids"]


def positions_needed(classes: Sequence[int]) -> int:
    """Fewest positions CTC can put these labels on: one each, and a blank between equal neighbours."""
    return len(classes) + sum(first == second for first, second in itertools.pairwise(classes))


def ctc_nll(logits: Tensor, lengths: Tensor, labels: Sequence[Sequence[int]]) -> tuple[Tensor, int]:
    """Sum over utterances of -ln p(labels), in nats, float32, and the number of labels.

    logits: (B, T_s, classes); lengths: (B,) real positions; labels: classes per row. The log-softmax is taken in
    float32. Rows that need more positions than they have (`positions_needed`) count as zero.
    """
    log_p = logits.float().log_softmax(dim=-1).transpose(0, 1)
    targets = torch.tensor([label for row in labels for label in row], device=logits.device)
    counts = torch.tensor([len(row) for row in labels])
    nll = nn.functional.ctc_loss(
        log_p, targets, lengths.cpu(), counts, blank=BLANK, reduction="sum", zero_infinity=True
    )
    return nll, int(counts.sum())


def sampled_classes(
    labels: Sequence[Sequence[int]], n_classes: int, n_sampled: int, generator: torch.Generator
) -> tuple[Tensor, Tensor, list[list[int]]]:
    """The classes of a batch and `n_sampled` of the others, drawn without replacement: a softmax over fewer classes.

    CTC needs the logits of its labels and of the blank, and of all others only the sum of their exponentials. A sample
    of these that counts (number of others) / `n_sampled` times estimates that sum without bias (sampled softmax, Bengio
    and Senecal 2008). If all are sampled, the loss is the exact one.

    Returns:
        (n,) classes, the blank first; (n,) to be added to their logits, 0 for the batch's own; the labels as places
        among the n.
    """
    own = sorted({BLANK, *(label for row in labels for label in row)})
    others = torch.ones(n_classes, dtype=torch.bool)
    others[own] = False
    others = others.nonzero()[:, 0]
    drawn = others[torch.randperm(len(others), generator=generator)[:n_sampled]]
    weight = torch.zeros(len(own) + len(drawn))
    if len(drawn):
        weight[len(own) :] = math.log(len(others) / len(drawn))
    places = {label: place for place, label in enumerate(own)}
    return torch.cat([torch.tensor(own), drawn]), weight, [[places[label] for label in row] for row in labels]


def greedy_classes(logits: Tensor, lengths: Tensor) -> list[list[int]]:
    """Best class per position, repeats merged, blanks dropped: one list of classes per row of (B, T_s, classes)."""
    best = logits.argmax(dim=-1).cpu()
    decoded = []
    for row, length in zip(best, lengths.tolist()):
        merged = torch.unique_consecutive(row[:length]).tolist()
        decoded.append([label for label in merged if label != BLANK])
    return decoded
