"""`python -m rumorlib check-data <folder>`: what a folder of data holds, what is wrong with it, and what is usable."""

from __future__ import annotations

import json
import sys
import traceback
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from rumorlib import config
from rumorlib.commands import parameters
from rumorlib.data import files
from rumorlib.data.inspection import VERDICTS, Inspection, inspect_folder
from rumorlib.data.keys import guard_cell, printable
from rumorlib.data.posts import PostsError
from rumorlib.data.readers import layouts

FOLDER = "check-data"  # where the list of posts left out goes, below the working folder; git ignores it
EXIT_CODES = (
    "exit code: 0 usable; 1 usable, but posts are lost or would leak, as printed; 2 not usable; 3 check-data failed"
)


def main(arguments: Sequence[str]) -> int:
    """Print what was found and write the posts left out; return 0 (usable), 1 (with problems), 2 (not usable) or 3
    (a fault of this command; its traceback is on standard error)."""
    options = _parser().parse_args(arguments)
    try:
        found = inspect_folder(
            options.folder, options.layout, options.on_missing_image, not options.no_images, not options.json
        )
        path = write_left_out(found, options.out)
    except (PostsError, OSError) as error:
        reason = printable(str(error))
        print(
            json.dumps({"code": 2, "verdict": VERDICTS[2], "reason": reason})
            if options.json
            else f"not usable: {reason}"
        )
        return 2
    except Exception:
        traceback.print_exc()
        print("check-data failed; this says nothing about the data", file=sys.stderr)
        return 3
    if options.json:
        print(json.dumps(summary(found, path), ensure_ascii=False, indent=1, allow_nan=False))
    else:
        print(render(found, path))
    return found.code


def write_left_out(found: Inspection, path: Path | None = None) -> Path:
    """Write every post left out and why as CSV, formulas disarmed; default ./check-data/<corpus>-dropped.csv.

    The file names posts of real people by their ids: it is for the one who holds the data, not for publishing.
    """
    path = path or Path(FOLDER) / f"{found.name}-dropped.csv"
    files.write_csv(path, found.left_out.map(guard_cell))
    return path


def summary(found: Inspection, path: Path | None = None) -> dict[str, object]:
    """The findings as plain JSON types; path: where the posts left out were written."""
    return files.plain(
        {
            "folder": str(found.folder),
            "layout": found.layout,
            "corpus": found.name,
            "label_means": found.label_means,
            "splits": found.splits.to_dict("records"),
            "languages": found.languages.to_dict("records"),
            "crossings": found.crossings.to_dict("records"),
            "left_out": dict(_reasons(found)),
            "left_out_file": str(path) if path else None,
            "problems": list(found.problems),
            "notes": list(found.notes),
            "usable": [*found.usable, *_readers(found.name)],
            "code": found.code,
            "verdict": found.verdict,
        }
    )


def render(found: Inspection, path: Path) -> str:
    """The findings as text; of posts only counts."""
    languages = ", ".join(f"{row.language} {row.share:.1%}" for row in found.languages.head(8).itertuples())
    more = len(found.languages) - 8
    basis = found.languages["basis"].iloc[0] if len(found.languages) else ""
    reasons = [f"{count:,} {reason}" for reason, count in _reasons(found).most_common(12)]
    blocks = [
        ("corpus", [f"{found.name}, layout {found.layout}, in {found.folder}"]),
        ("label 1", [found.label_means] if found.label_means else []),
        ("counts", found.splits.set_index("split").rename_axis(None).T.fillna("-").to_string().split("\n")),
        ("languages", [f"{languages}{f' and {more} more' if more > 0 else ''} ({basis})"]),
        ("crossings", found.crossings.to_string(index=False).split("\n") if len(found.splits) > 2 else []),
        ("problems", list(found.problems)),
        ("notes", list(found.notes)),
        ("left out", [*reasons, f"listed in {path}"] if reasons else []),
        ("usable", [*found.usable, *_readers(found.name)]),
        ("verdict", [f"{found.verdict} (exit code {found.code})"]),
    ]
    lines = [(name if not i else "", line) for name, block in blocks for i, line in enumerate(block)]
    return "\n".join(printable(f"{name:10} {line}") for name, line in lines)


def _readers(name: str) -> list[str]:
    """Who reads a corpus of this name."""
    own = "as posts of your own: python -m rumorlib run 01 --profile laptop --corpus NAME=FOLDER"
    known = config.CORPORA.get(name)
    profiles = [profile for profile, datasets in config.DATASETS.items() if name in datasets]
    if profiles:
        return [f"profile {profile} trains on it as dataset {name}" for profile in profiles]
    captions = [one.name for one in config.CORPORA.values() if one.kind == "captions" and one.name[:-3] == name]
    if captions:
        return [f"captions for stage 1: corpora.load_captions, as {' or '.join(captions)}"]
    if known and name != "manifest":
        return [f"profiles laptop and paper take it as dataset {name}", own]
    return [own]


# In the words of missing.py, images.py and the readers: what names one picture or post, and what stands for it.
_NAMES = (
    (r"^image key .* (?=is no file name)", "image key "),
    (r"^image key .* is not a path below .*?;", "image key leads out of the folder;"),
    (r"^image .* (?=does not exist|is no picture|is no file that)", "image "),
    (r"^.*?(?= cannot be (?:decoded|read)| is a link| has \d+x\d+ pixels| has [\d,]+ bytes)", "image"),
    (r"(?<=has )[\dx,]+(?= pixels| bytes)", "too many"),
    (r"(?<=repeats that of )post \d+", "an earlier post"),
    (r" \(.*\)", ""),
)


def _reasons(found: Inspection) -> Counter[str]:
    """How often each reason was given, without the names of pictures and posts."""
    words = found.left_out["reason"]
    for pattern, instead in _NAMES:
        words = words.str.replace(pattern, instead, regex=True)
    return Counter(found.left_out["status"] + ": " + words)


def _parser() -> parameters.Parser:
    parser = parameters.Parser(
        prog="python -m rumorlib check-data", description=__doc__.split(": ", 1)[1], epilog=EXIT_CODES
    )
    parser.add_argument("folder", type=Path, help="folder of one corpus, as downloaded, or a manifest file")
    parser.add_argument("--layout", choices=list(layouts.LAYOUTS), help="the layout, if detection should not decide")
    parser.add_argument("--on-missing-image", choices=config.ON_MISSING, default="drop", help="default: drop")
    parser.add_argument("--out", type=Path, help=f"CSV of posts left out; default {FOLDER}/<corpus>-dropped.csv")
    parser.add_argument("--no-images", action="store_true", help="look for pictures without decoding them")
    parser.add_argument("--json", action="store_true", help="print the findings as JSON, nothing else")
    return parser
