"""`python -m rumorlib train POSTS --out FOLDER`: a detector trained on posts of one's own, and what it is worth."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rumorlib import config as cfg
from rumorlib.commands import parameters
from rumorlib.experiments import recommended

if TYPE_CHECKING:
    import pandas as pd

    from rumorlib.data.posts import Corpus
    from rumorlib.results.saved.detector import Detector

FEW_TRAIN, FEW_TEST, FEW_OF_A_CLASS = 300, 100, 20  # below these a warning
COLUMNS = ("n", "accuracy", "precision", "recall", "f1", "auc")
EXIT_CODES = "exit code: 0 saved; 1 saved, with warnings, as printed; 2 refused, nothing saved"


def main(arguments: Sequence[str]) -> int:
    """Train, print one table beside majority and TF-IDF, save; return 0, 1 (with warnings) or 2 (refused)."""
    options = _parser().parse_args(arguments)
    from rumorlib.data.posts import PostsError
    from rumorlib.results import runs

    refused = (PostsError, cfg.SettingError, ValueError, OSError, runs.StaleRun, runs.MissingRun, runs.CorruptRun,
               FloatingPointError)  # fmt: skip
    try:
        _check_place(options.out)
        name = corpus_called(options.posts)
        settings = cfg.resolve(options.profile, [name], data=options.data)
        with contextlib.redirect_stdout(sys.stderr):  # what runs and splits say of themselves
            detector, table, warnings = trained(options.model, settings, name, options.seed, options.threshold)
        detector.save_pretrained(options.out)
    except refused as error:
        return _refuse(str(error), options.json)
    code = int(bool(warnings))
    if options.json:
        told = {"detector": str(options.out), "table": table.to_dict("records"), "warnings": warnings, "code": code}
        print(json.dumps(_plain(told | {"figures": detector.about["figures"]}), ensure_ascii=False))
        return code
    print(f"label 1: {detector.about['label_means']}\n")
    print(table.to_string(index=False, float_format="{:.3f}".format, na_rep="-"))
    shares = detector.about["figures"].get("test", {}).get("precision_at_shares", {})
    if shares:
        told = ", ".join(f"{_number(value)} at {float(share):.0%}" for share, value in shares.items())
        print(f"\nprecision where another share of posts are rumors: {told}")
    print("".join(f"\nwarning: {warning}" for warning in warnings))
    print(f"saved: {options.out}\nnext:  python -m rumorlib predict {options.out} --text '...'")
    return code


def trained(
    model: str, settings: cfg.Settings, name: str, seed: int, threshold: str
) -> tuple[Detector, pd.DataFrame, list[str]]:
    """The detector of a model on the corpus `name`, the table beside majority and TF-IDF, and what to be warned of."""
    import pandas as pd

    from rumorlib import inputs, results
    from rumorlib.results.saved import decision
    from rumorlib.results.saved.detector import Detector

    asked = recommended.runs_of(model, settings, name, seed)
    detector = Detector.from_runs(asked, settings, threshold)
    rows = []
    for kind in ("majority", "tfidf-lr"):
        (run,) = recommended.runs_of(kind, settings, name)
        told = results.run_or_load(run, settings).predictions()
        for split, part in told.groupby("split"):
            if split in ("dev", "test"):
                found = decision.figures(part["log_odds"], part["prob_rumor"], part["label"], 0.5)
                rows.append({"model": kind, "split": split, **found})
    rows += [{"model": f"this: {model}", "split": split, **found} for split, found in detector.about["figures"].items()]
    table = pd.DataFrame(rows)[["model", "split", *COLUMNS]].sort_values("split", kind="stable")
    return detector, table, warned(inputs.corpus_of(asked[0], settings))


def warned(corpus: Corpus) -> list[str]:
    """Too few posts, and twins of test posts among the training posts."""
    posts, told = corpus.posts, []
    parts = {split: posts[posts["split"] == split] for split in ("train", "dev", "test")}
    for split, fewest in (("train", FEW_TRAIN), ("dev", FEW_TEST // 2), ("test", FEW_TEST)):
        part = parts[split]
        if len(part) < fewest:
            told.append(f"{split} has {len(part):,} posts; below {fewest} its figures say little")
        elif (rare := int(part["label"].value_counts().min())) < FEW_OF_A_CLASS:
            told.append(f"{split} has {rare} posts of one class; below {FEW_OF_A_CLASS} its figures say little")
    test, train = parts["test"], parts["train"]
    for column, what in (("text_group", "text"), ("image_group", "picture")):
        known = set(train[column]) - {""}
        if n := int(test[column].isin(known).sum()):
            told.append(f"leak: {n:,} of {len(test):,} test posts have a {what} that a training post has nearly, too; "
                        "leave out the column split, and they are kept together")  # fmt: skip
    if len(corpus.dropped):
        told.append(f"{len(corpus.dropped):,} rows were left out; python -m rumorlib check-data lists them")
    return told


def corpus_called(place: Path) -> str:
    """Make a manifest, or its folder, a corpus of this process; returns its name, another one once it was changed.

    Raises: SettingError: there is none.
    """
    from rumorlib.data import files
    from rumorlib.data.readers import layouts

    place = place.expanduser().absolute()
    if not place.exists():
        raise cfg.SettingError(f"{place} does not exist; give a manifest or its folder (python -m rumorlib import)")
    state = files.state(place) if place.is_dir() else f"{place.stat().st_size} {place.stat().st_mtime_ns}"
    stem = re.sub(r"[^A-Za-z0-9]+", "-", place.stem).strip("-") or "posts"
    name = f"{stem}-{hashlib.sha256(f'{place} {state}'.encode()).hexdigest()[:8]}"
    record = replace(cfg.own_corpus(name, place), printed=stem)
    told = cfg.record_file(place if place.is_dir() else place.parent)
    posts = layouts.open_folder(place, on_missing_image="keep").posts
    record = replace(record, pictures=told.pop("pictures", bool((posts["image"] != "").any())), **told)
    if "language" not in told:
        from rumorlib.results.saved.given import wrong_language

        sample = posts["text"].head(200)
        chinese = sum(wrong_language(text, "en") for text in sample) * 2 > len(sample)
        record = replace(record, language="zh" if chinese else "en")
    cfg.CORPORA[name] = record
    return name


def _check_place(out: Path) -> None:
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise cfg.SettingError(f"--out {out} is there already; name a folder that is not there, or remove it")


def _refuse(reason: str, as_json: bool) -> int:
    print(json.dumps({"code": 2, "reason": reason}) if as_json else f"nothing saved: {reason}")
    return 2


def _plain(value: Any) -> Any:
    from rumorlib.data import files

    return files.plain(value)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _parser() -> parameters.Parser:
    parser = parameters.Parser(
        prog="python -m rumorlib train", description=__doc__.split(": ", 1)[1], epilog=EXIT_CODES
    )
    parser.add_argument("posts", type=Path, help="a manifest, or the folder of one (python -m rumorlib import)")
    parser.add_argument("--out", type=Path, required=True, help="folder of the detector; not there yet")
    parser.add_argument("--model", default="recommended", help=f"{', '.join(recommended.MODELS)}, or module:Class")
    parser.add_argument("--threshold", default="0.5", help="of the calibrated probability, or a goal on dev: f1, "
                        "precision=.9, cost=5:1 (a missed rumor to a false alarm)")  # fmt: skip
    parser.add_argument("--data", help="folder with weights/ of frozen encoders, and captions for stage 1")
    parser.add_argument("--profile", choices=cfg.PROFILES, default="laptop", help="sizes and encoders; default: laptop")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="print the findings as JSON, nothing else")
    return parser
