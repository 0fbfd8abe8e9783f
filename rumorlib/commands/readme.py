"""The generated blocks of the documents: `python -m rumorlib readme` writes them, `--check` compares.

A block stands between `<!-- generated: NAME -->` and `<!-- end -->`. It is made from committed files and from the
package itself, so no number of a document is typed by hand. A test compares every block with what `render` makes.
"""

from __future__ import annotations

import ast
import csv
import gzip
import inspect
import json
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from rumorlib import config as cfg
from rumorlib import experiments, files
from rumorlib.commands import parameters
from rumorlib.data import claims, corpora, drawn, photo
from rumorlib.studies.scores import controls

DOCUMENTS = ("README.md", "results/README.md", "rumorlib/data/DATASHEET.md")
HEADLINE = ("c_fig1", "c_fig3", "m_fig_relevance", "p_fig1")  # figures a first reader should see
PROFILES = ("paper", "laptop", "demo")  # the order of results: the more real, the earlier
BLOCK = re.compile(r"(?P<open><!-- generated: (?P<name>\w+) -->\n).*?(?P<close><!-- end -->)", re.DOTALL)


def render(text: str, root: Path = cfg.PROJECT_ROOT) -> str:
    """`text` with every generated block made anew.

    Args: root: folder of results/, figures/, rumorlib/, Makefile. Raises: ValueError: an unknown name, or no end mark.
    """
    if text.count("<!-- generated:") != len(BLOCK.findall(text)):
        raise ValueError("a generated block has no <!-- end -->, or its opening mark is misspelt")

    def fill(block: re.Match[str]) -> str:
        if block["name"] not in BLOCKS:
            raise ValueError(f"no generated block is called {block['name']!r}; there are {', '.join(BLOCKS)}")
        return f"{block['open']}{BLOCKS[block['name']](root).strip()}\n{block['close']}"

    return BLOCK.sub(fill, text)


def results_block(root: Path) -> str:
    """The comparison of each profile, test posts only, one column per corpus; and what the papers report."""
    parts = []
    for profile in PROFILES:
        for artifact in ("d_e1", "m_e2"):  # d_e1 has m_e2's rows and DMFL's
            path = root / "results" / profile / "tables" / f"{artifact}.csv"
            if path.is_file():
                link = _link(root, artifact, [profile], f"{profile} profile")
                parts += [f"**{link}**, test posts:", comparison_table(_read(path))]
                break
    reported = [row for name in ("m_e2", "d_e1") for row in _read(root / "results" / "reported" / f"{name}.csv")]
    columns = ("paper", "dataset", "row", "metric", "value", "reading", "source", "derivation")
    quoted = table(columns, [[row[name] for name in columns] for row in reported if row["unit"] == "fraction"])
    parts = parts or ["No table has been made yet: run `make demo`."]
    return "\n\n".join([*parts, _folded("Reported by the papers, on other corpora and splits", quoted)])


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


def _folded(title: str, content: str) -> str:
    """Content that opens on a click."""
    return f"<details><summary>{title}</summary>\n\n{content}\n\n</details>"


def _with_interval(row: dict[str, str], name: str) -> str:
    prefix = {"accuracy": "acc", "primary_value": "primary"}.get(name, name)
    low, high = row.get(f"{prefix}_low"), row.get(f"{prefix}_high")
    return f"{_fraction(row[name])} [{_fraction(low)}, {_fraction(high)}]" if low and high else _fraction(row[name])


def _fraction(text: str) -> str:
    """Three decimals for scores; whole numbers and words as they are."""
    return f"{float(text):.3f}" if re.fullmatch(r"-?\d*\.\d+(e-?\d+)?", text) else text


def claims_block(root: Path) -> str:
    """Verdicts of every table of claims: how many of each kind, and claim by claim those that could be tested."""
    tables = [name for name in _index(root) if name.endswith("claims")]
    made = list(_made(root, *tables))
    if not made:
        return "No claim has been judged yet."
    kinds = list(dict.fromkeys(row["verdict"] for _, _, rows in made for row in rows))
    counts = [
        [_link(root, artifact, [profile], artifact), profile,
         *(str(sum(row["verdict"] == kind for row in rows)) for kind in kinds)]
        for profile, artifact, rows in made
    ]  # fmt: skip
    shown = ("claim", "corpus", "quantity", "ours", "low", "high", "p_holm", "verdict", "why")
    lines = [
        [_fraction(row[name]) for name in shown] for profile, _, rows in made for row in rows
        if row["verdict"] != "untestable here" and profile != "demo"
    ]  # fmt: skip
    parts = [table(("claims", "profile", *kinds), counts)]
    return "\n\n".join([*parts, *([_folded("Claim by claim, on real posts", table(shown, lines))] if lines else [])])


def _made(root: Path, *artifacts: str) -> Iterator[tuple[str, str, list[dict[str, str]]]]:
    """Profile, id and rows of the tables that exist."""
    for profile in PROFILES:
        for artifact in artifacts:
            path = root / "results" / profile / "tables" / f"{artifact}.csv"
            if path.is_file() and (rows := _read(path)):
                yield profile, artifact, rows


def figures_block(root: Path) -> str:
    """Every picture there is, under its caption, of the most real profile that has it; those of HEADLINE unfolded."""
    parts: dict[bool, list[str]] = {True: [], False: []}
    for artifact, row in _index(root).items():
        pictures = [(p, f"figures/{p}/{artifact}.png") for p in PROFILES]
        for profile, picture in [pair for pair in pictures if (root / pair[1]).is_file()][:1]:
            shown = f"**{artifact}** ({profile}): {row['caption']}.\n\n![{artifact}]({picture})"
            parts[artifact in HEADLINE].append(shown)
    if not any(parts.values()):
        return "No figure has been made yet: run `make demo`."
    rest = [_folded(f"{len(parts[False])} more figures", "\n\n".join(parts[False]))] if parts[False] else []
    return "\n\n".join([*parts[True], *rest])


def index_block(root: Path) -> str:
    """Status of every artifact per profile, linked where it exists."""
    profiles = ("demo", "laptop", "paper")
    lines = [
        [f"`{name}`", row["paper"], row["printed"], row["caption"], row["notebook"] or "-",
         *(_link(root, name, [p], _status(row, p)) for p in profiles)]
        for name, row in _index(root).items()
    ]  # fmt: skip
    return _folded(
        f"{len(lines)} tables and figures", table(("id", "paper", "label there", "what", "notebook", *profiles), lines)
    )


def _status(row: Mapping[str, str], profile: str) -> str:
    """Status in words: what no paper has is made, not reproduced."""
    words = row[f"status_{profile}"].replace("_", " ")
    return "made" if words == "reproduced" and row["paper"] == "ours" else words


def _link(root: Path, artifact: str, profiles: Sequence[str], words: str) -> str:
    """`words`, linked to the artifact of the first profile that has it."""
    for profile in profiles:
        for path in (f"results/{profile}/tables/{artifact}.md", f"figures/{profile}/{artifact}.png"):
            if (root / path).is_file():
                return f"[{words}]({path})"
    return words


def not_possible_block(root: Path) -> str:
    """Artifacts that some profile cannot make, and why."""
    lines = [
        [f"`{artifact}`", row["caption"], ", ".join(where), row["reason"]]
        for artifact, row in _index(root).items()
        if (where := [profile for profile in cfg.PROFILES if row[f"status_{profile}"] == "not_possible"])
    ]
    return table(("id", "what", "not at", "why"), lines)


def choices_block(root: Path) -> str:
    """Choices where the papers are silent, with a link to the table that measures each."""
    lines = []
    for row in _read(root / "results" / "choices.csv"):
        found = ", ".join(_link(root, artifact, PROFILES, artifact) for artifact in row["measured_in"].split())
        fields = ", ".join(f"`{name}`" for name in row["where"].split()) or "fixed"
        lines.append([row["id"], row["question"], row["choice"], fields, row["evidence"], found or "-"])
    columns = ("id", "question", "what we do", "config field", "evidence", "effect measured in")
    return _folded(f"{len(lines)} choices", table(columns, lines))


def corpora_block(root: Path) -> str:
    """Corpora and weights per profile: where they lie and what label 1 means."""
    captions = {p: [f"{c}-{n}" for c, names in experiments.STAGE1[p].values() for n in names] for p in cfg.PROFILES}
    used = {p: [*cfg.DATASETS[p], *captions[p]] for p in cfg.PROFILES}
    readers = {**corpora.LOADERS, **corpora.CAPTION_LOADERS}
    lines = []
    for name in readers:
        folder = corpora.folder_of(name)
        place = "drawn, no file" if folder is None else f"`<data>/{folder}`".replace("/`", "`")
        by = [p for p in cfg.PROFILES if name in used[p]]
        by += [f"{p} (on request)" for p, names in cfg.ON_REQUEST.items() if name in names]
        by = ", ".join(by + [f"{p} (texts)" for p, names in controls.TEXT_ONLY.items() if name in names])
        meaning = corpora.label_means(name) or "no label: captions for stage 1"
        lines.append([f"`{name}`", by or "-", place, meaning])
    weights = []
    for profile, sizes in experiments.SIZES.items():
        towers = {"images": sizes.vision.weights} | {name: text.weights for name, text in sizes.texts.items()}
        weights.append([profile, *(f"`<data>/weights/{w}`" if w else "none: from scratch" for w in towers.values())])
    corpus_table = table(("corpus", "used by profile", "where", "label 1 means"), lines)
    return corpus_table + "\n\n" + table(("profile", "weights for images", "English texts", "Chinese texts"), weights)


def commands_block(root: Path) -> str:
    """The targets of the Makefile, in its own words."""
    lines = re.findall(r"^([a-z]+):.*?## (.*)$", (root / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    return table(("command", "what it does"), [[f"`make {target}`", purpose] for target, purpose in lines])


def files_block(root: Path) -> str:
    """Every module and notebook with its first line."""
    lines = []
    for path in sorted((root / "rumorlib").rglob("*.py"), key=lambda p: (len(p.relative_to(root).parts), p)):
        if doc := ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))):
            lines.append([f"`{path.relative_to(root).as_posix()}`", doc.splitlines()[0]])
    for path in sorted((root / "notebooks").glob("*.ipynb")):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        lines.append([f"`notebooks/{path.name}`", "".join(cells[0]["source"]).splitlines()[0].lstrip("# ")])
    return _folded(f"{len(lines)} files, a line each", table(("file", "what it holds"), lines))


def drawn_block(root: Path) -> str:
    """Knobs, bounds and hashes of the drawn corpora, from drawn.json and the generator."""
    stored = json.loads((root / "rumorlib/data/drawn.json").read_text(encoding="utf-8"))
    notes = dict(re.findall(r"^    (\w+): [^=\n]+= [^#\n]+?  # (.*)$", inspect.getsource(claims), re.MULTILINE))
    knobs = [[f"`{name}`", json.dumps(value), notes.get(name, "")] for name, value in stored["config"].items()]
    config = claims.DrawnConfig(**stored["config"] | {"clutter": tuple(stored["config"]["clutter"])})
    bounds = [[name.replace("_", " "), f"{value:.3f}"] for name, value in drawn.bayes_bounds(config).items()]
    return "\n\n".join([
        table(("knob", "value", "meaning"), knobs),
        table(("reference on train, dev and test", "best accuracy"), bounds),
        table(("corpus seed", "sha256 of pixels, texts, labels and splits"), stored["sha256"].items()),
    ])  # fmt: skip


def photo_block(root: Path) -> str:
    """Size and hash of the committed photo pairs of each version."""
    paths = [root / "results" / "laptop" / "splits" / name for name in photo.PAIRS.values()]
    counts = []
    for path in paths:
        with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
            counts.append(Counter((row["split"], row["distance"]) for row in csv.DictReader(file)))
    lines = [[*side, *(str(pairs[side]) for pairs in counts)] for side in counts[0]]
    hashes = [[f"`{path.relative_to(root).as_posix()}`", f"`{files.file_hash(path)}`"] for path in paths]
    named = table(("split", "distance", *(f"pairs, version {version}" for version in photo.PAIRS)), lines)
    return named + "\n\n" + table(("file", "sha256"), hashes)


BLOCKS: dict[str, Callable[[Path], str]] = {
    "results": results_block, "claims": claims_block, "figures": figures_block, "index": index_block,
    "not_possible": not_possible_block, "choices": choices_block, "corpora": corpora_block,
    "commands": commands_block, "files": files_block, "drawn": drawn_block, "photo": photo_block,
}  # fmt: skip


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A GitHub table; bars are escaped, and < outside code, which GitHub would read as HTML."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(map(_cell, line)) + " |" for line in lines)


def _cell(text: str) -> str:
    return re.sub(r"(`[^`]*`)|<", lambda found: found[1] or "&lt;", text.replace("|", "\\|"))


def _read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _index(root: Path) -> dict[str, dict[str, str]]:
    return {row["id"]: row for row in _read(root / "results" / "index.csv")}


def main(arguments: Sequence[str]) -> int:
    """Write the blocks of all documents; with --check, only say which are out of date. Returns 1 if one was."""
    parser = parameters.Parser(prog="python -m rumorlib readme", description=__doc__.split("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if a block is out of date")
    check, stale = parser.parse_args(arguments).check, 0
    for name in DOCUMENTS:
        old = (cfg.PROJECT_ROOT / name).read_text(encoding="utf-8")
        if (new := render(old)) != old:
            print(f"{name}: {'out of date' if check else 'written'}", file=sys.stderr if check else sys.stdout)
            stale += 1
            if not check:
                files.write_bytes(cfg.PROJECT_ROOT / name, new.encode())
    return int(check and stale > 0)
