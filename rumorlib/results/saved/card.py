"""A saved detector's README.md: what its answers mean, what it was trained on, what it is worth, where it fails."""

from __future__ import annotations

from typing import Any


def text(about: dict[str, Any], reads_text: bool, reads_picture: bool) -> str:
    """The card, Markdown, from config.json; every number of it is computed."""
    reads = " and ".join(["text"] * reads_text + ["picture"] * reads_picture) or "nothing"
    names = " and ".join(f"{part['run']['model']}/{part['run']['variant']}" for part in about["parts"])
    corpus, limit = about["corpus"], about["threshold"]
    lines = [
        "---", "library_name: rumorlib", f"language: {about['language']}", "tags: [rumor-detection]", "---", "",
        f"# Rumor detector: {names}", "",
        f"**Label 1** means: {about['label_means']}. It says nothing else, and no detector knows what is true.", "",
        f"It reads the {reads} of a post in language `{about['language']}`. A post is called 1 from a calibrated "
        f"probability of {limit['value']:.3f} on (goal: {limit['goal']}).", "",
        f"Trained on {corpus['name']}: " + ", ".join(
            f"{n:,} {split} posts ({corpus['rumors'][split]:,} with label 1)" for split, n in corpus["counts"].items()
        ) + ". No text or picture of them is in this folder.",
        "", "## What it is worth", "", *_figures(about), "", "## Where it fails", "", *_limits(about, reads_picture),
        "", "## Use", "", "```python", "import rumorlib", "",
        'detector = rumorlib.Detector.from_pretrained("this folder")',
        'print(detector.predict({"text": "..."' + (', "image": "picture.jpg"' * reads_picture) + "}))", "```", "",
    ]  # fmt: skip
    if about["encoders"]:
        lines += ["It needs, in `<data>/weights`:", ""]
        lines += [f"* `{one['name']}` for {one['reads']}, {one['where']} (sha256 of its weights `{one['sha256'][:16]}`)"
                  for one in about["encoders"]]  # fmt: skip
    return "\n".join(lines).rstrip() + "\n"


def _figures(about: dict[str, Any]) -> list[str]:
    figures = about.get("figures")
    if not figures:
        return ["Its threshold was changed after it was scored: no figures."]
    columns = ("n", "n_rumor", "accuracy", "precision", "recall", "f1", "auc")
    lines = [f"| split | {' | '.join(columns)} |", "| --- " * (len(columns) + 1) + "|"]
    lines += [f"| {split} | {' | '.join(_cell(one[name]) for name in columns)} |" for split, one in figures.items()]
    shares = figures.get("test", figures.get("dev", {})).get("precision_at_shares") or {}
    if shares:
        told = ", ".join(f"{_cell(value)} where {float(share):.0%} are" for share, value in shares.items())
        lines += ["", f"Real streams hold fewer rumors. At the same recall and false alarms precision is {told}."]
    return lines


def _limits(about: dict[str, Any], reads_picture: bool) -> list[str]:
    unlike, test = about["unlike_training"], about.get("figures", {}).get("test")
    lines = ["* On posts of another topic, time, platform or language. `unlike_training` marks posts far from the "
             "training posts" + (f"; it marks {unlike['false_alarms']:.1%} of {unlike['n']:,} held-out posts, too."
                                 if "false_alarms" in unlike else ".")]  # fmt: skip
    if test and test["recall"] is not None and test["false_alarms"] is not None:
        lines.append(f"* On test it misses {1 - test['recall']:.1%} of the posts with label 1, and calls "
                     f"{test['false_alarms']:.1%} of the others 1.")  # fmt: skip
    if not reads_picture:
        lines.append("* It never looks at the picture.")
    return [*lines, "* It has learned how such posts were written, not whether they are so."]


def _cell(value: float | int | None) -> str:
    return "-" if value is None else f"{value:,}" if isinstance(value, int) else f"{value:.3f}"
