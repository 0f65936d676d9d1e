"""For notebooks: open a model, take hidden states, measure and draw them, by the functions that the steps call.

    from workflow_scripts import api

    lm = api.open_model("smollm2-lora", checkpoint="step-000030")     # an entry of `models`; or api.open_folder(...)
    text = [api.states(lm, text=prompt) for prompt in prompts]        # (L+1, T_t, d) each
    speech = [api.states(lm, speech=path) for path in clips]          # (L+1, T_s, d) each
    api.compare(speech, text, draws=200, seed=1)                      # every measure by layer, beside its chance level
    api.figure("layers", speech, text)

`compare` and `figure` also take arrays from elsewhere: NumPy, torch, paths of .npy, or a .safetensors file.
`examples/notebook.ipynb` shows all of it.
"""

from workflow_scripts.api.arrays import States
from workflow_scripts.api.comparing import FIGURES, compare, figure
from workflow_scripts.api.models import open_folder, open_model, read_audio, states

__all__ = ["FIGURES", "States", "compare", "figure", "open_folder", "open_model", "read_audio", "states"]
