"""The ceiling: what a model answers when the transcript stands behind the speech (ours)."""

import torch

from workflow_scripts.speech_lm.anatomy import causal_lm
from workflow_scripts.speech_lm.families.base import DecoderSpeechLM
from workflow_scripts.speech_lm.protocol import Query


@torch.no_grad()
def with_transcript(lm: DecoderSpeechLM, spoken: Query, written: Query) -> Query:
    """The spoken query with a line break and the tokens of the same question's text behind its speech positions."""
    start, end = spoken.span
    line_break = lm.tokenizer("\n", add_special_tokens=False)["input_ids"]
    ids = torch.tensor([*line_break, *(written.token_ids or ())], device=lm.device)
    embeds = lm.embed(spoken)
    words = causal_lm(lm.model).get_input_embeddings()(ids).to(embeds.dtype)
    whole = torch.cat([embeds[:end], words, embeds[end:]])
    return Query(
        inputs={"inputs_embeds": whole[None]},
        length=len(whole),
        span=(start, end + len(ids)),
        tokens=(*spoken.tokens, *("\n" for _ in line_break), *written.tokens),
        token_ids=None,
        char_spans=None,
        seconds=spoken.seconds,
        form="speech",
    )
