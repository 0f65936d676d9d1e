"""Silence behind the audio, as the recogniser hears it."""

from workflow_scripts.speech.audio import SAMPLE_RATE

WINDOW_SECONDS = 5.0
"""Audio is padded to a multiple of this. On 30 questions of about 3 s (266 words) and 10 of about 20 s, Whisper base in
bfloat16 made 6.0 and 6.1 % word errors so, 7.1 and 6.7 % at its own 30 s: three words apart on the short ones,
too few to rank the two. Shorter windows save most of the encoder's time on short audio."""
SILENCE_SECONDS = 1.0
"""Least silence after the audio, up to the model's 30 s. At windows of 2 s one of those 30 short questions made the
decoder loop without it (71 % word errors in all) and none with it (6.0 %): a small sample, so a precaution."""
LIMIT_SECONDS = 30.0


def padded_length(n_samples: int) -> int:
    """Samples after padding: at least SILENCE_SECONDS more, a multiple of WINDOW_SECONDS, at most 30 s."""
    window, limit = round(WINDOW_SECONDS * SAMPLE_RATE), round(LIMIT_SECONDS * SAMPLE_RATE)
    wanted = n_samples + round(SILENCE_SECONDS * SAMPLE_RATE)
    return max(n_samples, min(-(-wanted // window) * window, limit))
