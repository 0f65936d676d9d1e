"""`python -m workflow_scripts.audit --text FILE --speech FILE --harness NAME --out FOLDER`: see docs/audit.md."""

import argparse
import logging
import sys
from pathlib import Path

from workflow_scripts.artifacts.files import ArtifactError
from workflow_scripts.audit.given import AuditError
from workflow_scripts.audit.harnesses import HARNESSES
from workflow_scripts.audit.run import Options, audit, write_audit
from workflow_scripts.scoring.official import OfficialError
from workflow_scripts.scoring.registry import SCORERS


def main(arguments: list[str] | None = None) -> int:
    """Run an audit; returns 0, or 2 with one message for input that cannot be audited."""
    parser = argparse.ArgumentParser(
        prog="python -m workflow_scripts.audit",
        description="The modality gap of answers that another program wrote, under every scorer.",
    )
    parser.add_argument("--text", nargs="+", required=True, metavar="FILE", help="answers to the written questions")
    parser.add_argument("--speech", nargs="+", required=True, metavar="FILE", help="answers to the spoken questions")
    parser.add_argument("--asr", nargs="+", metavar="FILE", help="answers to the transcripts (a cascade)")
    parser.add_argument("--harness", default="", choices=["", *HARNESSES], help="what wrote the files; or HARNESS:FILE")
    parser.add_argument("--questions", type=Path, help="JSONL or CSV with prompts, references, options, skills")
    parser.add_argument("--scorer", default="", choices=["", *SCORERS], help="default: what each question looks like")
    parser.add_argument("--subset", default="", help="name of the subset, where rows and file names say none")
    parser.add_argument("--join", default="auto", choices=("auto", "id", "hash", "text", "order"))
    parser.add_argument("--official", type=Path, help="checkout of MatthewCYM/VoiceBench, whose evaluators are run")
    parser.add_argument("--nltk-data", type=Path, help="folder with tokenizers/punkt_tab (IFEval only)")
    parser.add_argument("--seed", type=int, default=0, help="of VoiceBench's language detection")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="for index.html and the tables")
    given = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    forms = {form: paths for form in ("text", "speech", "asr") if (paths := getattr(given, form))}
    names = ("harness", "questions", "scorer", "subset", "join", "official", "nltk_data", "seed")
    try:
        found = audit(forms, Options(**{name: getattr(given, name) for name in names}))
        page = write_audit(found, given.out)
    except (AuditError, ArtifactError, OfficialError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{found.facts['pairs']} pairs, {found.facts['unpaired']} answers without a partner")
    for one in found.conclusions:
        print(f"{one.subset}: {one.verdict}")
    print(page)
    return 0


if __name__ == "__main__":
    sys.exit(main())
