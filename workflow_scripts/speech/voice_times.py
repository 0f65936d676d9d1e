"""Word times from a voice's own durations: hibari decides how many frames each phoneme lasts before it makes a sound.

Its network rounds predicted durations to whole frames of 25 ms and repeats each phoneme's state that often; the
package returns the audio only. The durations are read from inside the network: a graph output is appended to its file.
In protobuf, two messages of one type written one behind the other are their union, so this needs no ONNX library.
"""

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from workflow_scripts.artifacts.files import ArtifactError
from workflow_scripts.settings.speech import HibariVoice
from workflow_scripts.speech.word_matching import SpokenWord

DURATIONS = "/Cast_32_output_0"
"""The tensor (1, phonemes) of frames per phoneme in hibari 0.2.1, behind rounding and before the running sum."""
HOP = 600
"""Samples of one frame, at 24 kHz."""
LEAD = 0.05
"""Seconds by which the sound of a word comes before its phonemes' turn: two frames. Measured at speed 1 on words spoken
alone, whose sound is known: medians 55 (90 words) and 50 ms (60 others, 18 to 78 ms in four of five); 34 and 41 ms at
speeds 1.5 and 2. At 0.6 it is 168 ms, so that words after a silence are found 118 ms late."""
PAUSES = frozenset(';:,.!?—…"“”() ')
"""Symbols of the voice's alphabet that are no sound; what they last belongs to no word."""


@dataclass(frozen=True)
class SpokenText:
    """Words in order, and the length of the audio in seconds."""

    words: list[SpokenWord]
    seconds: float


class HibariTimes:
    """When hibari says each word of a text, at the voice's speed.

    Raises ArtifactError if the installed hibari has another network.
    """

    def __init__(self, voice: HibariVoice) -> None:
        import onnxruntime
        from hibari import Hibari

        self._hibari = Hibari(threads=1)
        self._speed = voice.speed
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        network = Path(self._hibari.model_path).read_bytes() + _graph_output(DURATIONS)
        try:
            self._session = onnxruntime.InferenceSession(network, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's own errors share no base class
            raise ArtifactError(
                f"{self._hibari.model_path}: no durations {DURATIONS!r} inside ({error}); install the hibari-tts of "
                "requirements.txt"
            ) from None

    def of(self, text: str) -> SpokenText:
        """Times of `text`; a word of the text may appear as several, as numbers do.

        Raises:
            ValueError: the phonemes of the text cannot be traced to its words.
        """
        words: list[SpokenWord] = []
        begin = 0.0
        for sentence in self._hibari.split_sentences(text):
            names, phonemes, owners = self._phonemes(sentence)
            for piece, own in self._pieces(sentence, phonemes, owners):
                edges = begin + self._edges(piece)
                said = _words(names, piece, own, edges, self._hibari.vocab)
                words += [SpokenWord(word.text, max(word.start - LEAD, begin), word.end - LEAD) for word in said]
                begin = float(edges[-1])
        return SpokenText(words, begin)

    def _phonemes(self, sentence: str) -> tuple[list[str], str, list[int]]:
        """Words as the voice reads them, the sentence's phonemes, and the word that each belongs to (-1: a space)."""
        from hibari.g2p.normalize import normalize

        g2p = self._hibari.g2p
        names, symbols, owners = [""], [], []
        for token in g2p.phonemize_tokens(g2p.tokenize(normalize(sentence))):
            sounds = g2p.unk if token.phonemes is None else token.phonemes
            names[-1] += token.text
            symbols += sounds
            owners += [len(names) - 1] * len(sounds)
            if token.whitespace:
                names.append("")
                symbols.append(" ")
                owners.append(-1)
        phonemes = "".join(symbols)
        left = len(phonemes) - len(phonemes.lstrip())
        return names, phonemes.strip(), owners[left : left + len(phonemes.strip())]

    def _pieces(self, sentence: str, phonemes: str, owners: list[int]) -> list[tuple[str, list[int]]]:
        """What the voice says in one go: the sentence, or parts of a long one, cut at spaces."""
        found, place = [], 0
        for piece in self._hibari.phonemize(sentence):
            place += len(phonemes[place:]) - len(phonemes[place:].lstrip())
            if phonemes[place : place + len(piece)] != piece:
                raise ValueError(f"the voice says {piece!r} where its words give {phonemes[place:]!r}")
            found.append((piece, owners[place : place + len(piece)]))
            place += len(piece)
        return found

    def _edges(self, piece: str) -> np.ndarray:
        """Seconds at which each symbol of the piece starts, the two silent ends included, and the end of all."""
        ids = self._hibari.ids(piece)
        if len(ids) < 3:  # nothing but the silent ends: the voice says nothing
            return np.zeros(len(ids) + 1)
        feed = {"ids": np.asarray([ids], np.int64), "speed": np.asarray([self._speed], np.float32)}
        frames = self._session.run([DURATIONS], feed)[0].ravel()
        if len(frames) != len(ids):
            raise ValueError(f"{len(frames)} durations for {len(ids)} phonemes; the voice is another than expected")
        return np.concatenate([[0], np.cumsum(frames)]) * HOP / self._hibari.sample_rate


def _words(
    names: list[str], piece: str, owners: list[int], edges: np.ndarray, vocabulary: dict[str, int]
) -> list[SpokenWord]:
    """From its first to its last sound, each word of a piece."""
    said = [(symbol, word) for symbol, word in zip(piece, owners) if symbol in vocabulary]
    times: dict[int, tuple[float, float]] = {}
    for (symbol, word), (start, end) in zip(said, pairwise(edges[1:-1].tolist())):
        if word >= 0 and symbol not in PAUSES:
            times[word] = (times.get(word, (start, end))[0], end)
    return [SpokenWord(names[word], start, end) for word, (start, end) in times.items()]


def _graph_output(name: str) -> bytes:
    """ModelProto(graph=GraphProto(output=[ValueInfoProto(name=name)])), serialised."""
    content = name.encode()
    for field in (1, 12, 7):
        content = bytes([field << 3 | 2, len(content)]) + content
    return content
