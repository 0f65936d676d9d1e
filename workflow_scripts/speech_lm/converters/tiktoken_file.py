"""A tokenizer out of a file of byte sequences and their ranks, as tiktoken reads it: one `base64 rank` per line."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers.convert_slow_tokenizer import TikTokenConverter

from workflow_scripts.speech_lm.protocol import SpeechLMError

SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
    r"|\s+(?!\S)|\s+"
)
"""Where GLM-4 cuts text before merging."""


def read_ranks(path: Path) -> dict[bytes, int]:
    """Byte sequence -> rank. Raises SpeechLMError for a line of another form."""
    ranks: dict[bytes, int] = {}
    for number, line in enumerate(Path(path).read_bytes().splitlines(), start=1):
        if not line.strip():
            continue
        try:
            token, rank = line.split()
            ranks[base64.b64decode(token, validate=True)] = int(rank)
        except (ValueError, binascii.Error) as error:
            raise SpeechLMError(f"{path}, line {number}: not `base64 rank`; it is no tiktoken file") from error
    return ranks


class _RanksConverter(TikTokenConverter):
    """transformers' conversion of ranks that are in memory already; its own reader needs the package tiktoken."""

    @staticmethod
    def load_tiktoken_bpe(ranks: dict[bytes, int]) -> dict[bytes, int]:
        """What is given in the place of the file."""
        return ranks


def tokenizer_of_ranks(
    ranks: Mapping[bytes, int], added: Mapping[int, str], split: str = SPLIT, *, first: int = 0, source: Path
) -> Tokenizer:
    """A fast tokenizer with byte sequences and `added` tokens, all at their own numbers.

    Args:
        ranks: the number of a sequence is `first` + its rank. source: file that errors name.

    Raises:
        SpeechLMError: a number is taken twice.
    """
    numbers, merges = _RanksConverter().extract_vocab_merges_from_model(dict(ranks))
    vocabulary = {token: first + rank for token, rank in numbers.items()}
    taken = [*vocabulary.values(), *added]
    if len(set(taken)) < len(taken):
        raise SpeechLMError(f"{source}: an added token has the number of another token")
    # In the vocabulary too: a token that is only added gets the next free number. A word that is a token is never cut.
    tokenizer = Tokenizer(
        models.BPE(vocab=vocabulary | {text: n for n, text in added.items()}, merges=merges, ignore_merges=True)
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(split), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(
        [AddedToken(text, special=True, normalized=False) for _, text in sorted(added.items())]
    )
    if wrong := [text for number, text in added.items() if tokenizer.token_to_id(text) != number]:
        raise SpeechLMError(f"{source}: token {wrong[0]!r} did not keep its number")
    return tokenizer
