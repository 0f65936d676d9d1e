"""For notebooks: open a model and take hidden states, by the functions that the steps call.

from workflow_scripts import api

lm = api.open_model("smollm2-lora", checkpoint="step-000030")     # an entry of `models`; or api.open_folder(...)
text = [api.states(lm, text=prompt) for prompt in prompts]        # (L+1, T_t, d) each
speech = [api.states(lm, speech=path) for path in clips]          # (L+1, T_s, d) each
"""

from workflow_scripts.api.arrays import States
from workflow_scripts.api.models import open_folder, open_model, read_audio, states

__all__ = ["States", "open_folder", "open_model", "read_audio", "states"]
