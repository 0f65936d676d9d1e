"""Training of speech LLMs: base-model answers as targets, CTC warm-up of the adapter, LoRA or full fine-tuning."""
