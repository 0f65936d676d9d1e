"""A study of minutes that needs no network: a random language model, a random Whisper, and a voice of tones.

Its numbers mean nothing; every stage runs on it as on a real one, so what a fault does to it, it does to a real one.
"""

import csv
import shutil
import sys
from pathlib import Path

import yaml

from benchmarks.harness import ROOT

PARTS = ("Snakefile", "rules", "workflow_scripts", "profiles", "envs", "report", "config.yaml", "assets.yaml")
"""What a checkout needs to run."""
NAME = "faults.yaml"
"""The study's config file."""
VOICE = '''"""Speaks a text as tones, one per word: python say.py TEXT OUT.wav"""
import array, math, sys, wave, zlib
samples = array.array("h")
for word in sys.argv[1].split():
    pitch = 120 + zlib.crc32(word.encode()) % 400
    samples.extend(int(9000 * math.sin(6.2832 * pitch * n / 16000)) for n in range(16000 // 6))
with wave.open(sys.argv[2], "wb") as out:
    out.setnchannels(1), out.setsampwidth(2), out.setframerate(16000)
    out.writeframes(samples.tobytes())
'''
THINGS = ("river", "stone", "house", "bread", "night", "horse", "paper", "light", "glass", "storm", "field", "bridge")
OPERATIONS = ("none", "no_op", "angle_bottom3", "angle_bottom3_random_direction")
"""Edits of the default study that are tried here too."""
SPECIALS = ["<|endoftext|>", "<|startoftranscript|>", "<|en|>", "<|transcribe|>", "<|notimestamps|>"]


def write_study(folder: Path) -> Path:
    """A copy of the checkout's sources in `folder` with the study's own files; gives the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for part in PARTS:
        if (source := ROOT / part).is_dir():
            shutil.copytree(source, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, folder / part)
    given = folder / "given"
    given.mkdir()
    (given / "say.py").write_text(VOICE)
    _write_questions(given / "data")
    _write_backbone(given / "backbone")
    _write_whisper(given / "whisper")
    (folder / NAME).write_text(yaml.safe_dump(settings(given.resolve()), sort_keys=False))
    return folder


def settings(given: Path) -> dict:
    """The study's config file, read after the default one, whatever that has; given: the folder of its assets."""
    default = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))
    subset = {"asset": "data", "layout": "questions", "max_new_tokens": 4, "questions": 5}
    return {
        "assets": {
            name: {"format": kind, "licence": "none", "sources": [{"path": str(given / name)}]}
            for name, kind in (("data", "files"), ("backbone", "transformers"), ("whisper", "transformers"))
        }
        | {"punkt-english": {"sources": [{"path": str(given / "data")}]}},
        "benchmark": {
            "subsets": dict.fromkeys(default["benchmark"]["subsets"])
            | {
                "short": subset | {"file": "short.csv", "scorer": "short_answer", "knowledge": True},
                "pick": subset | {"file": "pick.csv", "scorer": "multiple_choice"},
            }
        },
        "speech": {
            "voice": "tones",
            "voices": dict.fromkeys(default["speech"]["voices"])
            | {
                "tones": {
                    "engine": "command",
                    "command": [sys.executable, "-I", "-S", str(given / "say.py"), "{text}", "{out}"],
                },
            },
            "asr": {"asset": "whisper", "batch_size": 8},
            "training_wer_limit": None,
        },
        "training": {
            "instructions": {
                "prompts": 12,
                "heldout": 2,
                "max_new_tokens": 4,
                "sources": [
                    {"asset": "data", "file": "prompts.csv", "layout": "question", "field": "question", "share": 1.0}
                ],
            },
            "recipes": dict.fromkeys(default["training"]["recipes"])
            | {
                "small": {
                    "warmup": "ctc",
                    "adapter": {"stack": 1},
                    "learning_rate": {"lora": 1e-3},
                    "batch_size": 4,
                    "written_share": 0.5,
                    "checkpoint_steps": [0, 2],
                }
            },
        },
        "models": dict.fromkeys(default["models"])
        | {
            "tiny": {
                "family": "composite",
                "backbone": "backbone",
                "encoder": "whisper",
                "strategy": "lora",
                "recipe": "small",
                "seed": 0,
            },
        },
        "activations": {"subsets": ["short", "pick"], "keep": True, "reading_questions": 1},
        "responses": {"questions": 1, "positions": 3, "lens_questions": 1, "lens_layers": 2},
        "chance": {"draws": 5},
        "intervention": {
            "subset": "short",
            "operations": dict.fromkeys(
                name for name in default["intervention"]["operations"] if name not in OPERATIONS
            ),
        },
        "display": {
            name: dict.fromkeys(default["display"][name]) | own
            for name, own in (("models", {"tiny": {"label": "Tiny"}}), ("subsets", {}))
        },
    }


def _write_questions(folder: Path) -> None:
    folder.mkdir()
    short = [(f"s{n}", f"what is near the {name} {n}", name) for n, name in enumerate(THINGS)]
    pick = [
        (f"p{n}", f"which is a {name}", "|".join((name, *THINGS[(n + 5) % 9 :][:3])), "A")
        for n, name in enumerate(THINGS)
    ]
    prompts = [
        (f"tell me about the {one} and the {two}",) for n, one in enumerate(THINGS) for two in THINGS[n + 1 : n + 4]
    ]
    tables = {
        "short": (("id", "prompt", "reference"), short),
        "pick": (("id", "prompt", "options", "reference"), pick),
        "prompts": (("question",), prompts),
    }
    for name, (heading, rows) in tables.items():
        with open(folder / f"{name}.csv", "w", encoding="utf-8", newline="") as out:
            csv.writer(out).writerows([heading, *rows])


def _tokenizer(specials: list[str]):
    """One token per byte and the special ones."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({letter: number for number, letter in enumerate(alphabet)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(specials)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=specials[0])


def _write_backbone(folder: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, LlamaConfig

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=300,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        initializer_range=0.4,  # large enough for answers that depend on the question
        tie_word_embeddings=True,
        eos_token_id=256,
        bos_token_id=None,
        pad_token_id=None,
    )
    AutoModelForCausalLM.from_config(config).eval().save_pretrained(folder)
    tokenizer = _tokenizer(["<|end|>", "<|start|>"])
    tokenizer.chat_template = (
        "{% for m in messages %}<|start|>{{ m['role'] }}\n{{ m['content'] }}<|end|>\n{% endfor %}<|start|>assistant\n"
    )
    tokenizer.save_pretrained(folder)


def _write_whisper(folder: Path) -> None:
    import torch
    from transformers import GenerationConfig, WhisperConfig, WhisperFeatureExtractor, WhisperForConditionalGeneration

    torch.manual_seed(0)
    end, start, english, transcribe, no_times = range(256, 261)
    config = WhisperConfig(
        vocab_size=261,
        d_model=32,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=32,
        decoder_ffn_dim=32,
        max_target_positions=60,
        init_std=0.35,
        pad_token_id=end,
        bos_token_id=end,
        eos_token_id=end,
        decoder_start_token_id=start,
    )
    model = WhisperForConditionalGeneration(config)
    model.generation_config = GenerationConfig(
        eos_token_id=end,
        pad_token_id=end,
        decoder_start_token_id=start,
        is_multilingual=True,
        lang_to_id={"<|en|>": english},
        task_to_id={"transcribe": transcribe},
        no_timestamps_token_id=no_times,
        suppress_tokens=[0],
        begin_suppress_tokens=[end],
    )
    model.save_pretrained(folder)
    WhisperFeatureExtractor(feature_size=80).save_pretrained(folder)
    _tokenizer(SPECIALS).save_pretrained(folder)
