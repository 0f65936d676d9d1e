"""A tokenizer out of a file of byte sequences and their ranks, as tiktoken reads it: one `base64 rank` per line.

Such a file holds no merges: a sequence is joined from those two parts that joining by lowest rank leaves last, so each
merge is found by running that rule on the sequence itself.
"""

from __future__ import annotations

import base64
import binascii
import itertools
from collections.abc import Mapping
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers

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


def merges_of(ranks: Mapping[bytes, int]) -> list[tuple[bytes, bytes]]:
    """The two parts of every sequence of more than one byte, in order of rank."""
    found = []
    for token, rank in sorted(ranks.items(), key=lambda item: item[1]):
        if len(token) > 1:
            parts = _joined(token, ranks, rank)
            if len(parts) == 2:
                found.append((parts[0], parts[1]))
    return found


def _joined(token: bytes, ranks: Mapping[bytes, int], below: int) -> list[bytes]:
    """Parts of a sequence after joining neighbours, lowest rank first, as long as the result ranks below `below`."""
    parts = [token[place : place + 1] for place in range(len(token))]
    while len(parts) > 1:
        joined = [ranks.get(first + second, below) for first, second in itertools.pairwise(parts)]
        lowest = min(joined)
        if lowest >= below:
            break
        place = joined.index(lowest)
        parts[place : place + 2] = [parts[place] + parts[place + 1]]
    return parts


def tokenizer_of_ranks(
    ranks: Mapping[bytes, int], added: Mapping[int, str], split: str = SPLIT, *, first: int = 0, source: Path
) -> Tokenizer:
    """A fast tokenizer with byte sequences and `added` tokens, all at their own numbers.

    Args:
        ranks: the number of a sequence is `first` + its rank. source: file that errors name.

    Raises:
        SpeechLMError: a number is taken twice.
    """
    letters = _byte_letters()
    vocabulary = {"".join(letters[byte] for byte in token): first + rank for token, rank in ranks.items()}
    numbers = [*vocabulary.values(), *added]
    if len(set(numbers)) < len(numbers):
        raise SpeechLMError(f"{source}: an added token has the number of another token")
    merges = [tuple("".join(letters[byte] for byte in part) for part in pair) for pair in merges_of(ranks)]
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


def _byte_letters() -> dict[int, str]:
    """The printable letter that stands for each byte in byte-level BPE (Radford et al. 2019)."""
    plain = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    letters = {byte: chr(byte) for byte in plain}
    others = (byte for byte in range(256) if byte not in letters)
    return letters | {byte: chr(256 + place) for place, byte in enumerate(others)}
