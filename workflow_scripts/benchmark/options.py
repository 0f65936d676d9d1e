"""Options of a multiple-choice question: whether they can be asked."""

from collections.abc import Sequence


def unfit_options(options: Sequence[str]) -> str:
    """Why these options cannot be asked, "" if they can; case does not tell two apart."""
    if any("\n" in text for text in options):
        return "option of several lines"
    return "options repeat" if len({text.casefold() for text in options}) < len(options) else ""
