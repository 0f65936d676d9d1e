"""Settings of the opt-in scorers: those that need files which the user has."""

from pydantic import Field

from workflow_scripts.settings.base import Settings

SHA256 = r"^[0-9a-f]{64}$"


class PandaSettings(Settings):
    """PEDANT's `panda` score of VoiceBench's SD-QA: package qa_metrics==0.2.17 and its two pickles.

    Unpickling runs code. Name files that you trust; files with another SHA-256 are refused, nothing is downloaded.
    """

    classifier: str = Field(description="Path of the pickled classifier (lr_classifier).")
    vectorizer: str = Field(description="Path of the pickled TF-IDF vectorizer (tf-idf_vectorizer).")
    classifier_sha256: str = Field(pattern=SHA256, description="Its SHA-256, 64 hexadecimal digits.")
    vectorizer_sha256: str = Field(pattern=SHA256, description="Its SHA-256, 64 hexadecimal digits.")


class ScoringSettings(Settings):
    """Opt-in comparisons with published scorers."""

    official: str | None = Field(
        default=None,
        description="Path of a checkout of VoiceBench; its evaluators then score the same answers (official.csv).",
    )
    panda: PandaSettings | None = Field(
        default=None, description="PEDANT beside the short-answer scores (panda.csv); needs qa_metrics==0.2.17."
    )
