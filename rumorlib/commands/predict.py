"""`python -m rumorlib predict DETECTOR`: what a saved detector says of one post, or of a file of posts.

A file is read row by row and may be of any length; stopped, the same command goes on where it was.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rumorlib.commands import parameters
from rumorlib.commands.posts_stream import Progress, Row, StreamError, rows_of

if TYPE_CHECKING:
    from rumorlib.results.saved.detector import Detector

AT_ONCE = 256  # posts between two savings
OURS = ("probability", "calibrated", "label", "unlike_training", "missing", "problem")
EXIT_CODES = "exit code: 0 every post has an answer; 1 some have none, as written; 2 refused; 130 stopped"


def main(arguments: Sequence[str]) -> int:
    """Answer; return 0, 1 (posts without an answer), 2 (refused) or 130 (stopped)."""
    options = _parser().parse_intermixed_args(arguments)
    single = options.text is not None or options.image is not None
    if single == bool(options.posts) or bool(options.posts) != bool(options.out):
        print("give --text and --image of one post, or a file of posts and -o FILE")
        return 2
    from rumorlib.results.saved.detector import Detector, SavedDetectorError

    try:
        detector = Detector.from_pretrained(options.detector, options.data, options.own_code)
        if options.threshold is not None:
            detector = detector.with_threshold(options.threshold)
        return _one(detector, options) if single else _many(detector, options)
    except KeyboardInterrupt:
        print("stopped; the same command goes on from here", file=sys.stderr)
        return 130
    except (SavedDetectorError, StreamError, ValueError, OSError) as error:
        return refuse(error, options.json)


def refuse(error: Exception, as_json: bool) -> int:
    """Say why nothing was done; returns the exit code."""
    reason = "".join(c if c.isprintable() else "?" for c in str(error))
    print(json.dumps({"code": 2, "reason": reason}) if as_json else f"refused: {reason}")
    return 2


def _one(detector: Detector, options: Any) -> int:
    said = detector.predict({"text": options.text, "image": options.image}).iloc[0]
    answer = plain_answer(said) | {"label_means": detector.about["label_means"], "threshold": detector.threshold}
    if options.json:
        print(json.dumps(answer, ensure_ascii=False))
    elif answer["label"] is None:
        print(f"no answer: the detector needs {said['missing']}")
    else:
        far = "yes: do not rely on the answer" if answer["unlike_training"] else "no"
        print(f"probability       {answer['calibrated']:.3f} that label 1 holds: {answer['label_means']}")
        print(f"label             {answer['label']} (from {answer['threshold']:.3f} on)\nunlike training   {far}")
        print(f"missing           {answer['missing'] or 'nothing'}")
    return int(answer["label"] is None)


def plain_answer(said: Any) -> dict[str, Any]:
    """An answer as JSON types; None where there is none."""
    has = not math.isnan(said["calibrated"])
    found = {name: float(said[name]) if has else None for name in ("probability", "calibrated")}
    return found | {"label": int(said["label"]) if has else None, "unlike_training": bool(said["unlike_training"]),
                    "missing": str(said["missing"])}  # fmt: skip


def _many(detector: Detector, options: Any) -> int:
    from tqdm import tqdm

    source = rows_of(options.posts, options.encoding, options.separator, options.column)
    progress = Progress(options.out, {"posts": str(options.posts.absolute()), "state": source.state,
                                      "detector": json.dumps(detector.about, sort_keys=True)})  # fmt: skip
    header = [name if name not in source.header else f"detector_{name}" for name in OURS]
    rows, root = iter(source), (options.images or options.posts.parent)
    done = progress.begin([*source.header, *header])
    for _ in islice(rows, done):
        pass
    unanswered = progress.unanswered
    with tqdm(total=source.size, initial=source.position, unit="B", unit_scale=True, desc="predicting",
              disable=options.json or None, file=sys.stderr) as bar:  # fmt: skip
        for chunk in _chunks(rows):
            lines, without = _answered(detector, chunk, root, len(source.header))
            unanswered += without
            progress.add(lines, len(chunk), unanswered)
            bar.update(source.position - bar.n)
    n = progress.finish()
    told = {"posts": n, "without_answer": unanswered, "bad_rows": source.bad, "written": str(options.out)}
    if options.json:
        print(json.dumps(told | {"code": int(unanswered > 0)}, ensure_ascii=False))
    else:
        print(f"{n:,} rows, {unanswered:,} without an answer; written: {options.out}")
        print("".join(f"  row {row}: {why}\n" for row, why in source.bad), end="")
    return int(unanswered > 0)


def _chunks(rows: Iterator[Row]) -> Iterator[list[Row]]:
    while chunk := list(islice(rows, AT_ONCE)):
        yield chunk


def _answered(detector: Detector, chunk: list[Row], root: Path, width: int) -> tuple[list[list[str]], int]:
    """Output lines of some rows, and how many of them have no answer."""
    good = [row for row in chunk if not row.problem]
    said = iter(map(plain_answer, [one for _, one in detector.predict([row.post for row in good], root).iterrows()]))
    lines, without = [], 0
    for row in chunk:
        told = next(said) if not row.problem else {"missing": ""}
        without += told.get("label") is None
        cells = [*row.cells, *[""] * width][:width]
        ours = ["" if told.get(name) is None else str(told[name]) for name in OURS[:-1]]
        lines.append([*cells, *ours, row.problem])
    return lines, without


def _parser() -> parameters.Parser:
    parser = parameters.Parser(
        prog="python -m rumorlib predict", description=__doc__.split(": ", 1)[1].split("\n")[0], epilog=EXIT_CODES
    )
    parser.add_argument("detector", type=Path, help="folder that train saved")
    parser.add_argument("posts", type=Path, nargs="?", help="a .csv or .jsonl with text, image or both")
    parser.add_argument("-o", "--out", type=Path, help="CSV of the answers: every row of posts, in its order")
    parser.add_argument("--text", help="of one post")
    parser.add_argument("--image", type=Path, help="of one post")
    parser.add_argument(
        "--column", action="append", default=[], metavar="text=NAME", help="a column's name; also image="
    )
    parser.add_argument("--images", type=Path, help="folder that image names are below; default: that of posts")
    parser.add_argument("--encoding", default="utf-8", help="of posts; default: utf-8")
    parser.add_argument("--separator", default=",", help="of posts' cells; default: a comma")
    parser.add_argument("--threshold", type=float, help="another one than the detector's, in (0, 1)")
    parser.add_argument("--data", help="folder with weights/ of the frozen encoders that the detector names")
    parser.add_argument("--own-code", action="store_true", help="allow a detector to run a class of its own")
    parser.add_argument("--json", action="store_true", help="print JSON, nothing else")
    return parser
