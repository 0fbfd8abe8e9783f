"""`python -m rumorlib explain DETECTOR --text … -o why.png`: why a saved detector answers one post so."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rumorlib.commands import parameters, predict

if TYPE_CHECKING:
    from rumorlib.results.saved.explained import Explanation

SHOWN = 10  # words that are printed
SUFFIXES = (".png", ".pdf", ".svg")
EXIT_CODES = "exit code: 0 explained; 1 the post has no answer; 2 refused, nothing written"


def main(arguments: Sequence[str]) -> int:
    """Print words and picture with their effects, draw them; return 0, 1 (no answer) or 2 (refused)."""
    options = _parser().parse_args(arguments)
    from rumorlib.results.saved.detector import Detector, SavedDetectorError

    try:
        _check(options)
        detector = Detector.from_pretrained(options.detector, options.data, options.own_code)
        made = detector.explain({"text": options.text, "image": options.image})
        if options.out:
            _draw(made, options.out)
    except (SavedDetectorError, ValueError, OSError) as error:
        return predict.refuse(error, options.json)
    said = predict.plain_answer(made.answer)
    if options.json:
        print(json.dumps(as_json(made) | said | {"written": str(options.out or "")}, ensure_ascii=False))
    else:
        print("\n".join([*lines(made), *[f"written: {options.out}"] * bool(options.out)]))
    return int(said["label"] is None)


def lines(made: Explanation) -> list[str]:
    """An explanation as text, the largest effects first."""
    if made.answer.isna()["calibrated"]:
        return [f"no answer: the detector needs {made.answer['missing']}"]
    shown = [f"probability       {made.answer['calibrated']:.3f}, in log-odds with it - without:"]
    whole = {"the whole text": made.text_effect, "the picture": made.picture_effect}
    shown += [f"{effect:+17.3f}  {name}" for name, effect in whole.items() if effect == effect]
    order = made.words["effect"].abs().sort_values(ascending=False, kind="stable").index[:SHOWN]
    for row in order:
        word = "".join(c if c.isprintable() else "?" for c in made.words["word"][row])
        shown.append(
            f"{made.words['effect'][row]:+17.3f}  {word} (probability without it {made.words['without'][row]:.3f})"
        )
    for (model, name, scale), part in made.patches.groupby(["model", "map", "scale"], sort=False):
        top = part.loc[part["value"].idxmax()]
        shown.append(f"{name:17} of {model}, {scale}: highest in the patch at x {top['x0']:.0f}, y {top['y0']:.0f}")
    return [*shown, *(f"not explained     {flag}" for flag in made.flags)]


def as_json(made: Explanation) -> dict[str, Any]:
    """An explanation as JSON types; None where there is no number."""
    effects = {"picture_effect": made.picture_effect, "text_effect": made.text_effect}
    return {
        **{name: value if value == value else None for name, value in effects.items()},
        "words": made.words.to_dict("records"), "patches": made.patches.to_dict("records"), "flags": made.flags,
    }  # fmt: skip


def _check(options: Any) -> None:
    if options.text is None and options.image is None:
        raise ValueError("give --text, --image or both")
    if options.out and options.out.suffix.lower() not in SUFFIXES:
        raise ValueError(f"-o {options.out}: name a {', '.join(SUFFIXES)}")
    if options.out and options.out.exists():
        raise ValueError(f"{options.out} is there already; remove it, or name another with -o")


def _draw(made: Explanation, out: Path) -> None:
    from rumorlib.data import files
    from rumorlib.figures import evidence

    drawn = io.BytesIO()
    evidence.why(made).savefig(drawn, format=out.suffix.lower()[1:], dpi=150)
    files.write_bytes(out, drawn.getvalue())


def _parser() -> parameters.Parser:
    parser = parameters.Parser(
        prog="python -m rumorlib explain", description=__doc__.split(": ", 1)[1], epilog=EXIT_CODES
    )
    parser.add_argument("detector", type=Path, help="folder that train saved")
    parser.add_argument("--text", help="of the post")
    parser.add_argument("--image", type=Path, help="of the post")
    parser.add_argument("-o", "--out", type=Path, help="picture of the maps and words: .png, .pdf or .svg")
    parser.add_argument("--data", help="folder with weights/ of the frozen encoders that the detector names")
    parser.add_argument("--own-code", action="store_true", help="allow a detector to run a class of its own")
    parser.add_argument("--json", action="store_true", help="print JSON, nothing else")
    return parser
