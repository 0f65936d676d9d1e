"""What happens to speech on its way: another speed, a telephone line, noise of a given level. Pure array functions.

Method: speed by polyphase resampling, so that pitch rises with it, as on a tape; telephone band 300 to 3,400 Hz by a
Butterworth filter of order 4, forwards and backwards; noise scaled so that the mean power of speech over that of noise
is the SNR.
"""

from collections.abc import Sequence
from fractions import Fraction

import numpy as np
from scipy.signal import butter, resample_poly, sosfiltfilt

TELEPHONE_HZ = (300.0, 3400.0)
FILTER_ORDER = 4


def change_speed(samples: np.ndarray, speed: float) -> np.ndarray:
    """The signal (n,) played `speed` times as fast: (n / speed,) samples, pitch times `speed`."""
    ratio = Fraction(speed).limit_denominator(100)
    return resample_poly(samples, ratio.denominator, ratio.numerator)


def telephone_band(samples: np.ndarray, rate: int) -> np.ndarray:
    """The signal (n,) between 300 and 3,400 Hz.

    Raises:
        ValueError: the rate cannot hold 3,400 Hz.
    """
    low, high = TELEPHONE_HZ
    if rate <= 2 * high:
        raise ValueError(f"{rate} Hz cannot hold a telephone band up to {high:g} Hz; use audio at 8,000 Hz or more")
    sections = butter(FILTER_ORDER, (low, high), btype="bandpass", fs=rate, output="sos")
    padding = min(3 * (2 * len(sections) + 1), len(samples) - 1)
    return sosfiltfilt(sections, samples, padlen=padding)


def add_noise(samples: np.ndarray, noise: np.ndarray, snr_db: float) -> np.ndarray:
    """Speech and noise (n,), the noise scaled to `snr_db` decibels below the speech.

    Raises:
        ValueError: lengths differ, or one of the two is silent.
    """
    if samples.shape != noise.shape:
        raise ValueError(f"speech has shape {samples.shape}, noise {noise.shape}")
    speech_power, noise_power = float(np.mean(samples**2)), float(np.mean(noise**2))
    if speech_power == 0 or noise_power == 0:
        raise ValueError("speech or noise is silent: no SNR is defined")
    return samples + noise * np.sqrt(speech_power / noise_power / 10 ** (snr_db / 10))


def white_noise(n: int, rng: np.random.Generator) -> np.ndarray:
    """Gaussian noise (n,) of unit power."""
    return rng.standard_normal(n)


def babble(n: int, talkers: Sequence[np.ndarray], rng: np.random.Generator) -> np.ndarray:
    """The sum (n,) of all talkers, each of equal power, repeated and shifted by a random start.

    Raises:
        ValueError: there is no talker, or one is silent.
    """
    if not talkers:
        raise ValueError("babble needs at least one talker")
    total = np.zeros(n)
    for talker in talkers:
        power = float(np.mean(np.square(talker)))
        if power == 0:
            raise ValueError("a talker of the babble is silent")
        start = int(rng.integers(len(talker)))
        total += np.resize(np.roll(talker, -start), n) / np.sqrt(power)
    return total
