"""Settings of the opt-in scorers: those that need files which the user has."""

from pydantic import Field, model_validator

from workflow_scripts.settings.base import Seed, Settings

SHA256 = r"^[0-9a-f]{64}$"


class PandaSettings(Settings):
    """PEDANT's `panda` score of VoiceBench's SD-QA: package qa_metrics==0.2.17 and its two pickles.

    Unpickling runs code. Name files that you trust; files with another SHA-256 are refused, nothing is downloaded.
    """

    classifier: str = Field(description="Path of the pickled classifier (lr_classifier).")
    vectorizer: str = Field(description="Path of the pickled TF-IDF vectorizer (tf-idf_vectorizer).")
    classifier_sha256: str = Field(pattern=SHA256, description="Its SHA-256, 64 hexadecimal digits.")
    vectorizer_sha256: str = Field(pattern=SHA256, description="Its SHA-256, 64 hexadecimal digits.")


class JudgeSettings(Settings):
    """A language model that rates open-ended answers, behind any OpenAI-compatible address (scorer `judge`).

    Every reply is kept in results/evaluation/judgements and never asked for again.
    """

    address: str = Field(
        pattern=r"^https?://\S+$", description="Up to `/chat/completions`, such as http://127.0.0.1:8000/v1."
    )
    model: str = Field(min_length=1, description="Name of the model at that address; name a dated version.")
    prompt: str | None = Field(
        default=None,
        description="What it is asked, with {prompt} and {response}, to answer with a number from 1 to 5; default: "
        "VoiceBench's.",
    )
    votes: int = Field(default=3, gt=0, le=20, description="Replies per answer, averaged; the seed rises by 1 each.")
    seed: Seed = Field(default=0, description="Seed of the first vote; servers may ignore it.")
    temperature: float = Field(default=0.5, ge=0, le=2, description="VoiceBench: 0.5.")
    top_p: float = Field(default=0.95, gt=0, le=1, description="VoiceBench: 0.95.")
    max_tokens: int = Field(default=1024, gt=0, description="Longest reply.")
    api_key_variable: str | None = Field(
        default=None, pattern=r"^\w+$", description="Environment variable with the key, such as OPENAI_API_KEY."
    )
    timeout_seconds: float = Field(default=120, gt=0, description="Longest wait for one reply.")
    retries: int = Field(default=3, ge=0, description="Further attempts where a server is busy or away.")
    wait_seconds: float = Field(default=2, ge=0, description="Before the first retry; doubled for each further one.")

    @model_validator(mode="after")
    def _asks_both(self) -> "JudgeSettings":
        if self.prompt is not None and (missing := [p for p in ("{prompt}", "{response}") if p not in self.prompt]):
            raise ValueError(f"prompt has no {' and no '.join(missing)}: the judge must see question and answer")
        return self


class ScoringSettings(Settings):
    """Opt-in comparisons with published scorers."""

    official: str | None = Field(
        default=None,
        description="Path of a checkout of VoiceBench; its evaluators then score the same answers (official.csv).",
    )
    panda: PandaSettings | None = Field(
        default=None, description="PEDANT beside the short-answer scores (panda.csv); needs qa_metrics==0.2.17."
    )
    judge: JudgeSettings | None = Field(
        default=None, description="The judge of open-ended subsets (scorer `judge`); without it there can be none."
    )
