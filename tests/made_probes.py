"""Made-up table of probes, for `made_results`."""

from collections.abc import Iterator, Sequence
from typing import Any

from workflow_scripts.measures.probes import EVERY_PAIR, SPEECH

CHANCE = {"word": 0.1, "number": 0.5, "entity": 0.5}


def probe_rows(models: Sequence[str], step: int) -> Iterator[dict[str, Any]]:
    """probes.csv: within a form words are read at every layer, across forms from layer 15 on; one voice only."""
    for model in models:
        run = {"model": model, "checkpoint": f"step-{step:06d}", "step": step}
        for target, chance in CHANCE.items():
            for layer in range(0, 31, 5):
                for fitted, asked in EVERY_PAIR:
                    read = 0.4 if fitted == asked else 0.3 * (layer >= 15)
                    read += 0.02 * (fitted == SPEECH)
                    row = run | {"target": target, "layer": layer, "fitted": fitted, "asked": asked, "skipped": 3}
                    row |= {
                        "n": 40,
                        "items": 120,
                        "classes": round(1 / chance),
                        "chance": chance,
                        "control": chance + 0.05,
                    }
                    for name, value in (("accuracy", chance + 0.05 + read), ("selectivity", read)):
                        row |= {name: value, f"{name}_low": value - 0.06, f"{name}_high": value + 0.06}
                    yield row | {"p": 0.001 if read > 0.1 else 0.6, "note": "words without a time: 3"}
        yield run | {"target": "voice", "n": 0, "skipped": 3, "note": "only voice heart"}
