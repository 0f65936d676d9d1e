"""Asks a language model behind an OpenAI-compatible address, and keeps every reply on disk.

A request (address, model, messages, sampling, seed) has one file in the cache, named by its SHA-256 and holding request
and reply; what is there is never asked again, so scoring again needs no server and gives the same scores.
"""

import hashlib
import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

PASSING = (408, 409, 429, 500, 502, 503, 504)
"""HTTP codes after which the same request may succeed."""


class JudgeError(ValueError):
    """The judge gave no reply; the message names the address, the cause and the key of the config."""


def reply(messages: list[dict[str, str]], judge: Mapping[str, Any], seed: int) -> str:
    """The text of the judge's reply, from the cache if it is there.

    Args:
        messages: role and content each.
        judge: `JudgeSettings` as plain values, with `cache`, the folder of the replies.
        seed: of the judge's sampling.

    Raises:
        JudgeError: no reply after all retries, or one that is not a chat completion.
    """
    body = {"model": judge["model"], "messages": messages, "seed": seed, "max_tokens": judge["max_tokens"]}
    body |= {"temperature": judge["temperature"], "top_p": judge["top_p"]}
    request = {"address": judge["address"], **body}
    name = hashlib.sha256(json.dumps(request, sort_keys=True).encode()).hexdigest()
    path = Path(judge["cache"]) / f"{name}.json"
    if path.is_file():
        return json.loads(path.read_text(encoding="utf-8"))["reply"]
    text = _asked(body, judge)
    from workflow_scripts.artifacts.files import atomic_path  # imports numpy, which reading a config must not

    with atomic_path(path) as part:
        part.write_text(json.dumps({"request": request, "reply": text}, ensure_ascii=False), encoding="utf-8")
    return text


def _asked(body: Mapping[str, Any], judge: Mapping[str, Any]) -> str:
    url = f"{judge['address'].rstrip('/')}/chat/completions"
    headers = {"Content-Type": "application/json"}
    if judge["api_key_variable"] is not None:
        if not (key := os.environ.get(judge["api_key_variable"])):
            raise JudgeError(
                f"{url}: the environment has no {judge['api_key_variable']} (scoring.judge.api_key_variable)"
            )
        headers["Authorization"] = f"Bearer {key}"
    request = urllib.request.Request(url, json.dumps(body).encode(), headers)
    for attempt in range(judge["retries"] + 1):
        try:
            with urllib.request.urlopen(request, timeout=judge["timeout_seconds"]) as response:
                answered = response.read()
            break
        except urllib.error.HTTPError as error:
            cause = f"HTTP {error.code}: {error.read(300).decode(errors='replace')}"
            if error.code not in PASSING or attempt == judge["retries"]:
                raise JudgeError(f"{url}: {cause}; see scoring.judge") from None
        except OSError as error:  # URLError, timeouts, closed connections
            cause = str(getattr(error, "reason", error))
            if attempt == judge["retries"]:
                raise JudgeError(
                    f"{url}: no reply after {attempt + 1} attempt(s) ({cause}); see scoring.judge"
                ) from None
        time.sleep(judge["wait_seconds"] * 2**attempt)
    try:
        text = json.loads(answered)["choices"][0]["message"]["content"]
    except (ValueError, LookupError, TypeError):
        raise JudgeError(f"{url}: no chat completion: {answered[:200]!r}; see scoring.judge.address") from None
    return text or ""
