"""How differently does a model go on after the spoken and after the written question? KL by response position (ours).

On one shared prefix y_1 .. y_{k-1}, p_k being the distribution of the next token over the full vocabulary:

    forward   KL(p_text || p_speech)      reverse   KL(p_speech || p_text)      forgetting   KL(p_base || p_tuned)

both of the last on text. In nats; 0 if and only if the distributions are equal.
"""

import numpy as np


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """Log probabilities (K, V) float64 of logits (K, V). Raises ValueError for logits that are not finite."""
    logits = np.asarray(logits, dtype=np.float64)
    if not np.isfinite(logits).all():
        position = int(np.argwhere(~np.isfinite(logits))[0, 0])
        raise ValueError(f"logits of response position {position} are not finite; no divergence is defined")
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def kl_divergence(log_p: np.ndarray, log_q: np.ndarray) -> np.ndarray:
    """KL(p || q) of each row in nats, (K,) float64, from log probabilities (K, V). Rounding below 0 becomes 0.

    Raises ValueError for shapes that differ: two models must share their vocabulary.
    """
    if log_p.shape != log_q.shape:
        raise ValueError(f"log probabilities have shapes {log_p.shape} and {log_q.shape}; the vocabularies differ")
    return np.maximum((np.exp(log_p) * (log_p - log_q)).sum(axis=-1), 0.0)
