"""A folder in the layout of `hlt-lab/voicebench`, with its columns and quirks: parquet files with sound inside."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import soundfile

CLOSING = "What is the answer to the above multiple choice question? Select one of the following: A, B, C, or D."
DOMAINS = ("law", "engineering", "other", "biology")
REGIONS = ("aus", "usa", "ind_n")
KWARGS = ("relation", "num_words", "keywords")
"""Some of the keys of IFEval's arguments; a row has all of them, most None."""
WORDS = ("sand", "mud", "ash", "clay")


def sound(number: int, rate: int = 24_000, seconds: float = 0.5) -> bytes:
    """A WAV file: a tone of 200 Hz and more, by number."""
    times = np.arange(int(rate * seconds)) / rate
    out = io.BytesIO()
    soundfile.write(out, 0.3 * np.sin(2 * np.pi * (200 + number) * times), rate, format="WAV", subtype="PCM_16")
    return out.getvalue()


def choice_prompt(number: int, gap: str) -> str:
    """A multiple-choice prompt as the data set has it."""
    options = "\n".join(f"{letter}. {word} {number}" for letter, word in zip("ABCD", WORDS))
    return f"What is found in place {number}?\n{options}{gap}{CLOSING}"


def write_split(folder: Path, config: str, split: str, rows: list[dict[str, Any]], parts: int = 1) -> None:
    """`{config}/{split}-00000-of-0000N.parquet`, several rows a row group."""
    (folder / config).mkdir(parents=True, exist_ok=True)
    size = -(-len(rows) // parts)
    for part in range(parts):
        path = folder / config / f"{split}-{part:05d}-of-{parts:05d}.parquet"
        pq.write_table(pa.Table.from_pylist(rows[part * size : (part + 1) * size]), path, row_group_size=7)


def write_voicebench(folder: Path, n: int = 20, rate: int = 24_000) -> Path:
    """All six judge-free configs with `n` rows each (mmsu and sd-qa: `n` rows a split), and one with open questions."""

    def audio(number: int) -> dict[str, Any]:
        return {"bytes": sound(number, rate), "path": f"{number}.wav"}

    advbench = [{"prompt": f"Tell me how to break rule {row}", "audio": audio(row)} for row in range(n)]
    write_split(folder, "advbench", "test", advbench)
    ifeval = [
        {
            **{"key": 1000 + row, "audio": audio(row), "prompt": f"Write {row} words without commas."},
            "instruction_id_list": ["punctuation:no_comma", "length_constraints:number_words"],
            "kwargs": [
                dict.fromkeys(KWARGS),
                dict.fromkeys(KWARGS) | {"relation": "at least", "num_words": row + 1},
            ],
        }
        for row in range(n)
    ]
    write_split(folder, "ifeval", "test", ifeval)
    openbookqa = [
        {"audio": audio(row), "prompt": choice_prompt(row, "\n"), "reference": "ABCD"[row % 4]} for row in range(n)
    ]
    write_split(folder, "openbookqa", "test", openbookqa, parts=2)
    for place, domain in enumerate(DOMAINS):
        mmsu = [
            {
                **{
                    "question_id": 100 * place + row,
                    "audio": audio(row),
                    "prompt": choice_prompt(100 * place + row, "\n\n"),
                },
                **{"reference": "ABCD"[row % 4], "cot_content": "", "category": domain, "src": "mmlu_pro"},
            }
            for row in range(n)
        ]
        write_split(folder, "mmsu", domain, mmsu)
    for place, region in enumerate(REGIONS):
        sd_qa = [
            {"audio": audio(100 * place + row), "prompt": f"who is king number {row}", "reference": f"King {row}"}
            for row in range(n)
        ]
        write_split(folder, "sd-qa", region, sd_qa)
    bbh = [
        {
            "audio": audio(row),
            "prompt": f"Is sentence {row} plausible?",
            "reference": "yes",
            "id": f"sports_understanding_{row}",
        }
        for row in range(n)
    ]
    write_split(folder, "bbh", "test", bbh)
    alpacaeval = [{"prompt": f"What would you do with {row} days off?", "audio": audio(row)} for row in range(n // 4)]
    write_split(folder, "alpacaeval", "test", alpacaeval)
    return folder
