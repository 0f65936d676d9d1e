"""How quantities are called in figures and tables: measures of states by their registry, all others here, once."""

import textwrap

from workflow_scripts.measures.registry import MEASURES
from workflow_scripts.measures.registry import label as label_of_states

OTHERS = {
    "gap": ("GAP", "points"),
    "loss_gap": ("loss gap", "nats per token"),
    "log_step": ("log(1 + step)", ""),
    "kl_forward_text": ("KL(text || speech)", "nats per token"),
    "kl_reverse_text": ("KL(speech || text)", "nats per token"),
    "kl_forgetting": ("KL(untuned || tuned) on text", "nats per token"),
    "response_cosine": ("response states, cosine", ""),
}
"""Label and unit of outcomes and predictors that are no measures of states."""


def label(name: str) -> str:
    """Label of a quantity in points.csv, calibrated values included; an unknown name is its own label."""
    return OTHERS[name][0] if name in OTHERS else label_of_states(name)


def axis_label(name: str, letters: int = 24) -> str:
    """Label with the unit in parentheses, in lines of about as many letters; calibrated values have no unit."""
    unit = OTHERS[name][1] if name in OTHERS else MEASURES[name].unit if name in MEASURES else ""
    return textwrap.fill(f"{label(name)} ({unit})" if unit else label(name), letters)
