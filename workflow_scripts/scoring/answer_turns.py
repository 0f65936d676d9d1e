"""Where an answer ends: at the first marker of another turn, which the model wrote by itself (ours).

"B. library", a new line and "Human: which is bigger?" is the answer B; what follows is no part of it, whatever the
scorer. A turn label at the very beginning ("Assistant: B") is not part of it either.
"""

import re

_LABEL = r"(?:### ?)?(?:human|user|assistant|instruction|system)\b ?:"
_TOKEN = (
    r"<\|(?:im_start|im_end|user|assistant|eot_id|end|endoftext|start_header_id)\|>|<(?:start|end)_of_turn>|\[/?INST\]"
)
_OPENING = re.compile(rf"\A\s*(?:{_TOKEN}\s*)?(?:assistant\s*:|<\|assistant\|>)\s*", re.IGNORECASE)
_TURN = re.compile(rf"\n[ \t*]*{_LABEL}|{_TOKEN}", re.IGNORECASE)


def own_turn(answer: str) -> str:
    """The answer up to the first turn marker after some text, without a label of its own turn."""
    start = opening.end() if (opening := _OPENING.match(answer)) else 0
    for marker in _TURN.finditer(answer, start):
        if answer[start : marker.start()].strip():
            return answer[start : marker.start()]
    return answer[start:]


def runs_on(answer: str) -> bool:
    """Whether the model went on into another turn."""
    return len(own_turn(answer).strip()) < len(_OPENING.sub("", answer).strip())
