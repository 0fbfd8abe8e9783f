"""Blocks of the documents that are made of committed tables: what README.md and results/README.md show of them."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from rumorlib import config as cfg
from rumorlib.experiments.names import NAMES
from rumorlib.metrics.learning import FAULTS
from rumorlib.results import layout, provenance

RECOMMENDED, LEARNING = (NAMES["micc", name] for name in ("recommended", "relevance-tokens"))
PROFILES = ("paper", "laptop", "demo")  # the order of results: the more real, the earlier
OWN = {"mfan-pheme": "PHEME", "mfan-weibo": "Weibo"}  # the papers' own posts, in words
COLUMNS = (*OWN, "photo-en", "twitter")  # of README's table
# Its rows, in its order: at most twelve, and what each is.
ROWS = {
    "MICC (literal)": "MICC, its equations as printed",
    "MICC (product input)": "ours: its classifier also reads products of text and image",
    "DMFL": "DMFL, as we read it",
    "SAFE": "text, image and their similarity",
    "CARMN": "cross-attention both ways",
    "MFAN (no graph)": "co-attention; no real corpus with pictures has its graph of replies",
    "SpotFake": "frozen text and image features, side by side",
    "MUSE-style similarities": "similarities in the joint space that MICC starts from",
    "LR, frozen text and image": "logistic regression: features of the frozen encoders",
    "LR, frozen text": "logistic regression: frozen features of the text alone",
    "TF-IDF + LR": "logistic regression: words",
    RECOMMENDED: "ours: TF-IDF + LR, DMFL and MICC (product input), by weights learned on dev",
}


def headline_block(root: Path) -> str:
    """README's one table: a line per model of ROWS, a column per corpus of COLUMNS, test posts. Of two rows of a model
    on a corpus the later source counts; †: a training behind it has a fault."""
    found = {}
    for name, value in (("d_e1", "primary_value"), ("m_e2_longer", "primary_value"), ("o_1", "accuracy")):
        for row, sign in _signed(root / "results/laptop/tables", name):
            if row.get("split", "test") == "test":
                shown = f"{_with_interval(row, value)}{sign}"
                found[row["model"].removesuffix(", longer"), row["dataset"]] = shown
    lines = [[model, what, *(found.get((model, dataset), "-") for dataset in COLUMNS)] for model, what in ROWS.items()]
    return table(("model", "what it is", *COLUMNS), lines)


def _signed(folder: Path, name: str) -> list[tuple[dict[str, str], str]]:
    """Rows of a committed table, each with " †" where one of its runs has a fault of `metrics/learning.py`."""
    said = provenance.entries(folder)[name]
    runs, marks = sorted(said["runs"]), said.get("marks", {})
    faulty = {run for fault in FAULTS for found in marks.get(fault, {}).values() for run in
              (runs if found == layout.ALL else found)}  # fmt: skip
    rows = read(folder / f"{name}.csv")
    of_rows = said.get("rows") or [()] * len(rows)
    return [(row, " †" * any(runs[run] in faulty for run in own)) for row, own in zip(rows, of_rows, strict=True)]


def findings_block(root: Path) -> str:
    """What came out, in three sentences with their numbers."""
    laptop = root / "results/laptop/tables"
    steps = {(row["dataset"], row["step"]): row for row in read(laptop / "p_2.csv")}
    rows = {(row["dataset"], row["model"]): row for row in read(laptop / "d_e1.csv") if row["split"] == "test"}

    def apart_and_mixed(dataset: str) -> Iterator[str]:
        for row in (steps[dataset, "honest"], steps[dataset, "random posts"]):
            yield f"{_fraction(row['accuracy'])} ({_fraction(row['majority'])})"

    def score(dataset: str, model: str) -> str:
        return _with_interval(rows[dataset, model], "primary_value")

    lasting = {(row["model"].removesuffix(", longer"), row["dataset"]): row
               for row in read(laptop / "m_e2_longer.csv") if row["split"] == "test"}  # fmt: skip

    def longer(model: str, dataset: str = "photo-en") -> str:
        return _with_interval(lasting[model, dataset], "primary_value")

    one = " (one training)" if lasting["DMFL", "photo-en"]["n_seeds"] == "1" else ""
    return "\n".join([
        _own_posts(laptop),
        "2. **A split can make a score**: one small classifier has an accuracy of {} on Twitter where test holds other "
        "stories than train, and of {} where posts are split at random; on Weibo's texts {} and {}, on PHEME's {} and "
        "{}; in brackets: whoever always says the larger class ([p_2](results/laptop/tables/p_2.md)).".format(
            *(shown for name in ("twitter", "weibo-text", "pheme-text") for shown in apart_and_mixed(name))
        ),
        f"3. **How long a detector is trained can make a finding**: of wrong and true captions (`photo-en`) MICC as "
        f"printed tells {score('photo-en', 'MICC (literal)')} apart after six passes over the posts, and "
        f"{longer('MICC (literal)')} after up to thirty, on a better image tower; told its relevance, with SCLIP's "
        f"heads trained on, {longer(LEARNING)}, where similarities of the same stage 1 have "
        f"{longer('MUSE-style similarities')}. DMFL tells "
        f"{score('photo-en', 'DMFL')} after three passes and {longer('DMFL')}{one} after as many as it gains "
        f"from, on the same tower and a pretrained text encoder; in Chinese {score('photo-zh', 'DMFL')}, and one "
        f"longer training that never left {_fraction(lasting['DMFL', 'photo-zh']['accuracy'])} "
        f"([m_e2_longer](results/laptop/tables/m_e2_longer.md)). {_drawn(root)}",
    ])  # fmt: skip


def _drawn(root: Path) -> str:
    """What more posts and a longer stage 1 make of DMFL on drawn scenes."""
    said = {}
    for name in ("d_e1", "m_e2_longer"):
        for row in read(root / f"results/demo/tables/{name}.csv"):
            if row["model"].startswith("DMFL") and row["split"] == "test" and row["dataset"].startswith("demo-en"):
                said[name] = _with_interval(row, "accuracy")
    return (
        f"On drawn scenes it tells {said['d_e1']}, and {said['m_e2_longer']} with four times the posts, up to twenty "
        "passes and a logic chain that starts from a longer stage 1 "
        "([m_e2_longer](results/demo/tables/m_e2_longer.md))."
    )


def _own_posts(laptop: Path) -> str:
    """The first finding: how the papers' models, words alone and our detector stand on the papers' own posts."""
    rows = {(row["dataset"], row["model"]): row for row in read(laptop / "o_1.csv")}
    stated = {row["dataset"]: row for row in read(laptop / "o_3.csv") if row["row"] == "DMFL"}
    words = {dataset: rows[dataset, "TF-IDF + LR"] for dataset in OWN}

    def both(model: str) -> str:
        return " and ".join(_fraction(rows[dataset, model]["accuracy"]) for dataset in OWN)

    pheme, frozen = words["mfan-pheme"], rows["mfan-pheme", "LR, frozen text"]
    lost, majority = rows["mfan-pheme", "DMFL"], rows["mfan-pheme", "majority"]
    return (
        f"1. **On the papers' own posts** (MFAN's PHEME and Weibo, its split), a logistic regression on words has "
        f"an accuracy of {both('TF-IDF + LR')}, DMFL {both('DMFL')} (reported: "
        f"{_fraction(stated['mfan-pheme']['reported'])} on PHEME), MICC as printed {both('MICC (literal)')}, our "
        f"recommended detector {both(RECOMMENDED)}. On {pheme['n_dealt']} other draws of PHEME's posts the words have "
        f"{_fraction(pheme['dealt'])}, at most {_fraction(pheme['dealt_most'])}. With an event held out the "
        f"macro-F1 is {_fraction(lost['event_f1'])} for DMFL, {_fraction(frozen['event_f1'])} for a logistic "
        f"regression on frozen texts, {_fraction(pheme['event_f1'])} for the words and "
        f"{_fraction(majority['event_f1'])} for whoever says the larger class; and with the pictures of other posts "
        f"DMFL loses {_fraction(lost['pictures'])} "
        f"[{_fraction(lost['pictures_low'])}, {_fraction(lost['pictures_high'])}] "
        f"on PHEME ([o_1](results/laptop/tables/o_1.md))."
    )


def picture_block(root: Path) -> str:
    """What README says of its picture in numbers: how often the most relevant patch shows the object of the claim."""
    rows = read(root / "results/demo/tables/m_pointing.csv")
    told = [
        f"{row['dataset']} {_fraction(row['pointing'])} (a blind guess: {_fraction(row['chance'])})"
        for row in rows
        if (row["model"], row["scale"], row["stage"]) == ("MICC (product input)", "pooled", "fine-tuned")
    ]
    return (
        f"Share of true posts whose most relevant patch lies on the object that the text names: {', '.join(told)} "
        f"([m_pointing](results/demo/tables/m_pointing.md))."
    )


def results_block(root: Path) -> str:
    """The comparison of each profile, test posts only, one column per corpus; and what the papers report."""
    parts = []
    for profile in PROFILES:
        for artifact in ("d_e1", "m_e2"):  # d_e1 has m_e2's rows and DMFL's
            path = root / "results" / profile / "tables" / f"{artifact}.csv"
            if path.is_file():
                parts += [f"**{link(root, artifact, [profile], f'{profile} profile')}**", comparison_table(read(path))]
                break
    reported = [row for name in ("m_e2", "d_e1") for row in read(root / "results" / "reported" / f"{name}.csv")]
    columns = ("paper", "dataset", "row", "metric", "value", "source", "derivation")
    quoted = table(columns, [[row[name] for name in columns] for row in reported if row["unit"] == "fraction"])
    title = (
        "**Reported by the papers; [o_3](results/laptop/tables/o_3.md) sets our rows on likely the same posts beside**"
    )
    return "\n\n".join([*parts, title, quoted])


def comparison_table(rows: Sequence[dict[str, str]]) -> str:
    """A line per model, a column per corpus: primary metric with its interval, AUC, and seeds where there are several.

    Args: rows: of a comparison table; dev rows are left out.
    """
    test = [row for row in rows if row.get("split", "test") == "test"]
    datasets = list(dict.fromkeys(row["dataset"] for row in test))
    found = {(row["model"], row["dataset"]): row for row in test}
    metric = {row["dataset"]: row["primary"].replace("_", " ") for row in test}
    header = ["model", *(f"{name}: {metric[name]} · AUC" for name in datasets)]
    lines = []
    for model in dict.fromkeys(row["model"] for row in test):
        cells = [found.get((model, dataset)) for dataset in datasets]
        seeds = sorted({int(float(row["n_seeds"])) for row in cells if row})
        lines.append([f"{model} ({' to '.join(map(str, seeds))} seeds)" if seeds != [1] else model,
                      *(f"{_with_interval(row, 'primary_value')} · {_fraction(row['auc'])}" if row else "-"
                        for row in cells)])  # fmt: skip
    return table(header, lines)


def _with_interval(row: dict[str, str], name: str) -> str:
    prefix = {"accuracy": "acc", "primary_value": "primary"}.get(name, name)
    low, high = row.get(f"{prefix}_low"), row.get(f"{prefix}_high")
    return f"{_fraction(row[name])} [{_fraction(low)}, {_fraction(high)}]" if low and high else _fraction(row[name])


def _fraction(text: str) -> str:
    """Three decimals for scores; whole numbers and words as they are."""
    return f"{float(text):.3f}" if re.fullmatch(r"-?\d*\.\d+(e-?\d+)?", text) else text


def claims_block(root: Path) -> str:
    """Verdicts of every table of claims: how many of each kind."""
    made = [
        found
        for found in _made(root, *_index(root))
        if found[1].endswith("claims") or "claim" in (found[-1] or [{}])[0]
    ]
    kinds = list(dict.fromkeys(row["verdict"] for _, _, rows in made for row in rows))
    counts = [
        [link(root, artifact, [profile], artifact), profile,
         *(str(sum(row["verdict"] == kind for row in rows)) for kind in kinds)]
        for profile, artifact, rows in made
    ]  # fmt: skip
    return table(("claims", "profile", *kinds), counts)


def _made(root: Path, *artifacts: str) -> Iterator[tuple[str, str, list[dict[str, str]]]]:
    """Profile, id and rows of the tables that exist."""
    for profile in PROFILES:
        for artifact in artifacts:
            path = root / "results" / profile / "tables" / f"{artifact}.csv"
            if path.is_file() and (rows := read(path)):
                yield profile, artifact, rows


def index_block(root: Path) -> str:
    """Status of every artifact per profile, linked where it exists."""
    profiles = ("demo", "laptop", "paper")
    lines = [
        [f"`{name}`", row["paper"] if row["printed"] == "-" else f"{row['paper']}, {row['printed']}", row["caption"],
         (row["notebook"] or "-")[:2], *(link(root, name, [p], _status(row, p)) for p in profiles)]
        for name, row in _index(root).items()
    ]  # fmt: skip
    return table(("id", "paper, label there", "what", "notebook", *profiles), lines)


def _status(row: Mapping[str, str], profile: str) -> str:
    """Status in words: what no paper has is made, not reproduced."""
    words = row[f"status_{profile}"].replace("_", " ")
    return "made" if words == "reproduced" and row["paper"] == "ours" else words


def link(root: Path, artifact: str, profiles: Sequence[str], words: str) -> str:
    """`words`, linked to the artifact of the first profile that has it."""
    for profile in profiles:
        for path in (f"results/{profile}/tables/{artifact}.md", f"figures/{profile}/{artifact}.png"):
            if (root / path).is_file():
                return f"[{words}]({path})"
    return words


def not_possible_block(root: Path) -> str:
    """What some profile cannot make, by the reason."""
    found: dict[tuple[str, str], list[str]] = {}
    for name, row in _index(root).items():
        where = ", ".join(p for p in cfg.PROFILES if row[f"status_{p}"] == "not_possible")
        if where:
            found.setdefault((row["reason"].removeprefix("ours: no counterpart in the papers; "), where), []).append(
                name
            )
    return table(
        ("not at", "why", "tables and figures"),
        [[where, why, ", ".join(f"`{name}`" for name in names)] for (why, where), names in found.items()],
    )


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A GitHub table; bars are escaped, and < outside code, which GitHub would read as HTML."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(map(_cell, line)) + " |" for line in lines)


def _cell(text: str) -> str:
    return re.sub(r"(`[^`]*`)|<", lambda found: found[1] or "&lt;", text.replace("|", "\\|"))


def read(path: Path) -> list[dict[str, str]]:
    """Rows of a committed csv."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _index(root: Path) -> dict[str, dict[str, str]]:
    return {row["id"]: row for row in read(root / "results" / "index.csv")}
