"""Main memory that a job takes against what it books (`settings.model_size`), for random models of three sizes.

Each job runs in a process of its own, whose peak is read when it ends: answers to 32 prompts of 100 positions, and one
step of LoRA on eight samples of 120. Prints the share estimate / peak; within 25 % is the goal.

    python -m benchmarks.memory [135m 0.5b 1.5b] [--jobs answers training] [--tokenizer resources/smollm2-135m-instruct]
"""

import argparse
import json
import resource
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from workflow_scripts.settings.model_size import answering_bytes, model_size, training_bytes

SHAPES = {
    "135m": {"hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30, "num_attention_heads": 9,
             "num_key_value_heads": 3, "vocab_size": 49152, "tie_word_embeddings": True},
    "0.5b": {"hidden_size": 896, "intermediate_size": 4864, "num_hidden_layers": 24, "num_attention_heads": 14,
             "num_key_value_heads": 2, "vocab_size": 151936, "tie_word_embeddings": False},
    "1.5b": {"hidden_size": 1536, "intermediate_size": 8960, "num_hidden_layers": 28, "num_attention_heads": 12,
             "num_key_value_heads": 2, "vocab_size": 151936, "tie_word_embeddings": False},
}  # fmt: skip
"""Of SmolLM2-135M, Qwen2.5-Coder-0.5B and -1.5B as packaged here (untied)."""
ROWS, PROMPT, ANSWER = 32, 100, 24
SAMPLES, LENGTH = 8, 120
GOAL = 0.25
JOBS = ("answers", "training")


def make_folder(shape: dict, folder: Path, tokenizer: Path) -> None:
    """A random model of a shape, in bfloat16, as a transformers folder."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.set_default_dtype(torch.bfloat16)
    LlamaForCausalLM(LlamaConfig(**shape)).save_pretrained(folder)
    for path in tokenizer.glob("*token*"):
        shutil.copy(path, folder)
    for path in tokenizer.glob("*.jinja"):
        shutil.copy(path, folder)


def answers(folder: Path) -> int:
    """Answer a batch; bytes of a number."""
    import torch

    from workflow_scripts.speech_lm.families.composite import load_composite

    model = load_composite(backbone=folder, checkpoint=None, encoder=None, system_prompt=None)
    text = " ".join(["word"] * (PROMPT - 20))
    model.generate([model.encode_text(f"{text} {n}") for n in range(ROWS)], max_new_tokens=ANSWER)
    return torch.empty((), dtype=model.dtype).element_size()


def training(folder: Path) -> int:
    """One step of LoRA on a batch; bytes of a number."""
    import torch

    from workflow_scripts.settings.families.composite import TrainedModel
    from workflow_scripts.settings.training import RecipeSettings
    from workflow_scripts.speech_lm.device import multiplies_bfloat16
    from workflow_scripts.training.initial_model import new_lslm

    entry = TrainedModel(backbone="b", encoder="e", strategy="lora", recipe="r")
    recipe = RecipeSettings(
        warmup="none", batch_size=SAMPLES, written_share=0, checkpoint_steps=[0, 1], learning_rate={"lora": 1e-4}
    )
    lslm = new_lslm(folder, 512, entry, recipe, None)
    trained = [p for p in lslm.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained)
    bf16 = multiplies_bfloat16(torch.device("cpu"))
    ids = torch.randint(1000, (SAMPLES, LENGTH), generator=torch.Generator().manual_seed(0))
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        lslm.language_model(input_ids=ids, labels=ids).loss.backward()
    optimizer.step()
    return 2 if bf16 else 4


def main() -> None:
    """Print one line a size and job; exit status 1 if an estimate is off by more than the goal."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shapes", nargs="*", default=list(SHAPES), help="135m, 0.5b, 1.5b")
    parser.add_argument("--jobs", nargs="*", default=JOBS, choices=JOBS)
    parser.add_argument("--tokenizer", type=Path, default=Path("resources/smollm2-135m-instruct"))
    parser.add_argument("--run", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--make", nargs=2, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.make:
        make_folder(SHAPES[chosen.make[0]], Path(chosen.make[1]), chosen.tokenizer)
        return
    if chosen.run:
        number = {"answers": answers, "training": training}[chosen.run[0]](Path(chosen.run[1]))
        print(json.dumps({"number": number, "peak": 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss}))
        return
    again = [sys.executable, "-m", "benchmarks.memory", "--tokenizer", str(chosen.tokenizer)]
    missed = False
    for name in chosen.shapes:
        size = model_size(SHAPES[name])
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run([*again, "--make", name, folder], check=True)
            for job in chosen.jobs:
                run = subprocess.run([*again, "--run", job, folder], check=True, stdout=subprocess.PIPE, text=True)
                found = json.loads(run.stdout.splitlines()[-1])
                number, peak = found["number"], found["peak"]
                if job == "answers":
                    estimate = answering_bytes(size, ROWS * (PROMPT + ANSWER), number)
                else:
                    estimate = training_bytes(size, SAMPLES, LENGTH, LENGTH, number, full=False)
                share = estimate / peak
                missed |= abs(share - 1) > GOAL
                gigabytes = f"estimate {estimate / 1e9:5.2f} GB  peak {peak / 1e9:5.2f} GB"
                print(f"{name:<5} {job:<9} {gigabytes}  share {share:.2f}", flush=True)
    sys.exit(missed)


if __name__ == "__main__":
    main()
