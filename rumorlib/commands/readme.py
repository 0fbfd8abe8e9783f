"""The generated blocks of the documents, and the committed tables as they are read (`<id>.md`):
`python -m rumorlib readme` writes them, `--check` compares.

A block stands between `<!-- generated: NAME -->` and `<!-- end -->`. It is made from committed files and from the
package itself, so no number of a document is typed by hand. A test compares every block with what `render` makes.
"""

from __future__ import annotations

import ast
import csv
import gzip
import inspect
import json
import os
import re
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from rumorlib import config as cfg
from rumorlib.commands import parameters, result_blocks
from rumorlib.commands.result_blocks import link, read, table
from rumorlib.config import by_corpus, profiles
from rumorlib.data import files, photo
from rumorlib.data.drawn_scenes import claims, drawn
from rumorlib.results import artifacts

DOCUMENTS = ("README.md", "results/README.md", "notebooks/README.md", "rumorlib/README.md", "rumorlib/data/README.md",
             "rumorlib/data/DATASHEET.md")  # fmt: skip
BLOCK = re.compile(r"(?P<open><!-- generated: (?P<name>\w+) -->\n).*?(?P<close><!-- end -->)", re.DOTALL)
EQUATIONS = re.compile(r"\b(?:Eqs? ?\d+(?:[-–, ]+(?:and )?\d+)*|M\d+(?:[-–, ]+(?:and )?M\d+)*)")


def render(text: str, root: Path = cfg.PROJECT_ROOT, document: str = "README.md") -> str:
    """`text` with every generated block made anew.

    Args:
        root: folder of results/, figures/, notebooks/, rumorlib/.
        document: where below root the text stands; links of its blocks are relative to it.
    Raises: ValueError: an unknown name, or no end mark.
    """
    if text.count("<!-- generated:") != len(BLOCK.findall(text)):
        raise ValueError("a generated block has no <!-- end -->, or its opening mark is misspelt")
    folder = Path(document).parent

    def fill(block: re.Match[str]) -> str:
        if block["name"] not in BLOCKS:
            raise ValueError(f"no generated block is called {block['name']!r}; there are {', '.join(BLOCKS)}")
        made = BLOCKS[block["name"]](root).strip()
        made = re.sub(
            r"\]\(([^)#:]+)\)", lambda found: f"]({Path(os.path.relpath(found[1], folder)).as_posix()})", made
        )
        return f"{block['open']}{made}\n{block['close']}"

    return BLOCK.sub(fill, text)


def notebooks_block(root: Path) -> str:
    """Every notebook with its first line."""
    lines = []
    for path in sorted((root / "notebooks").glob("*.ipynb")):
        first = "".join(json.loads(path.read_text(encoding="utf-8"))["cells"][0]["source"]).splitlines()[0]
        number, _, title = first.lstrip("# ").partition(" · ")
        lines.append([f"[{number}](notebooks/{path.name})", title])
    return table(("notebook", "what it asks"), lines)


def equations_block(root: Path) -> str:
    """Where each equation stands: classes and functions whose first line names one, in the order of the papers."""
    found = []
    for path in sorted(p for room in ("encoders", "models") for p in (root / "rumorlib" / room).glob("*.py")):
        where = path.relative_to(root).as_posix()
        for owner in ast.parse(path.read_text(encoding="utf-8")).body:
            for node in (owner, *(owner.body if isinstance(owner, ast.ClassDef) else ())):
                doc = ast.get_docstring(node) if isinstance(node, (ast.FunctionDef, ast.ClassDef)) else None
                line = (doc or "").partition("\n\n")[0].replace("\n", " ")
                if (named := EQUATIONS.search(line)) and "et al." not in line:
                    name = node.name if node is owner else f"{owner.name}.{node.name}"
                    found.append((*_place(named[0]), where, name, line))
    lines = [
        [f"{paper} {named}", f"[`{name}`]({where})", line] for _, _, paper, named, where, name, line in sorted(found)
    ]
    return table(("equation", "in the code", "what it does"), lines)


def _place(named: str) -> tuple[int, int, str, str]:
    """Where equations stand in the papers' order. M1-M12 are our numbers of MICC's, Eqs 23-25 its own, 1-21 DMFL's."""
    number = int(re.search(r"\d+", named)[0])
    rank = 0 if named[0] == "M" else 1 if number > 21 else 2
    return rank, number, "DMFL" if rank == 2 else "MICC", named


def choices_block(root: Path) -> str:
    """Choices where the papers are silent, with a link to the table that measures each."""
    lines = []
    for row in read(root / "results" / "choices.csv"):
        found = ", ".join(
            link(root, artifact, result_blocks.PROFILES, artifact) for artifact in row["measured_in"].split()
        )
        fields = ", ".join(f"`{name}`" for name in row["where"].split()) or "fixed"
        lines.append([row["id"], row["question"], row["choice"], fields, row["evidence"], found or "-"])
    columns = ("id", "question", "what we do", "config field", "evidence", "effect measured in")
    return table(columns, lines)


def corpora_block(root: Path) -> str:
    """Corpora and weights per profile: where they lie and what label 1 means."""
    captions = {p: [f"{c}-{n}" for c, names in profiles.STAGE1[p].values() for n in names] for p in cfg.PROFILES}
    used = {p: [*cfg.DATASETS[p], *captions[p], *(name for of, name in by_corpus.OF_CORPUS if of == p)]
            for p in cfg.PROFILES}  # fmt: skip
    lines = []
    for name, one in cfg.CORPORA.items():
        if one.own or one.posts_of:
            continue
        place = "drawn, no file" if one.folder is None else f"`<data>/{one.folder}`".replace("/`", "`")
        by = [p for p in cfg.PROFILES if name in used[p]]
        by = ", ".join(by + [f"{p} (texts)" for p, names in cfg.TEXT_ONLY.items() if name in names])
        by = by or ("by name" if one.kind == "posts" else "-")
        meaning = one.label_means or ("as its files say" if one.kind == "posts" else "no label: captions for stage 1")
        lines.append([f"`{name}`", by, place, meaning])
    weights = []
    for profile, sizes in profiles.SIZES.items():
        towers = {"images": sizes.vision.weights} | {name: text.weights for name, text in sizes.texts.items()}
        weights.append([profile, *(f"`<data>/weights/{w}`" if w else "none: from scratch" for w in towers.values())])
    corpus_table = table(("corpus", "used by profile", "where", "label 1 means"), lines)
    return corpus_table + "\n\n" + table(("profile", "weights for images", "English texts", "Chinese texts"), weights)


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
    "headline": result_blocks.headline_block, "findings": result_blocks.findings_block,
    "picture": result_blocks.picture_block, "results": result_blocks.results_block,
    "claims": result_blocks.claims_block, "index": result_blocks.index_block,
    "not_possible": result_blocks.not_possible_block, "notebooks": notebooks_block,
    "equations": equations_block, "choices": choices_block, "corpora": corpora_block, "drawn": drawn_block,
    "photo": photo_block,
}  # fmt: skip


def main(arguments: Sequence[str]) -> int:
    """Write the blocks of all documents and the md of all tables; with --check, only say which are out of date.
    Returns 1 if one was."""
    parser = parameters.Parser(prog="python -m rumorlib readme", description=__doc__.split("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if a block is out of date")
    check, stale = parser.parse_args(arguments).check, 0
    for name in DOCUMENTS:
        old = (cfg.PROJECT_ROOT / name).read_text(encoding="utf-8")
        if (new := render(old, document=name)) != old:
            print(f"{name}: {'out of date' if check else 'written'}", file=sys.stderr if check else sys.stdout)
            stale += 1
            if not check:
                files.write_bytes(cfg.PROJECT_ROOT / name, new.encode())
    for path in sorted((cfg.PROJECT_ROOT / "results").glob("*/tables/*.csv")):
        if artifacts.relay(path, write=not check):
            print(f"{path.stem}.md: {'out of date' if check else 'written'}", file=sys.stderr if check else sys.stdout)
            stale += 1
    return int(check and stale > 0)
