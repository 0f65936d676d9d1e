"""Training of speech LLMs: answers as targets, CTC warm-up of the adapter; adapter alone, LoRA or full fine-tuning."""
