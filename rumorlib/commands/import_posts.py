"""`python -m rumorlib import FILE`: posts under other column names, in other encodings and shapes -> a manifest.

Shows how it reads the file and ten rows, then writes manifest.csv. What can be read in two ways is asked for and
nothing is written.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from rumorlib.commands import parameters
from rumorlib.data import files, posts
from rumorlib.data.keys import guard_cell, printable
from rumorlib.data.posts import PostsError
from rumorlib.data.readers import foreign, mapping
from rumorlib.data.readers.mapping import Imported

LINK = "images"  # stands beside a manifest written elsewhere, and leads to the folder of pictures
SHOWN_ROWS, SHOWN_CHARACTERS = 10, 48
CHINESE = 0.3  # share of Han characters among letters from which a file is taken for Chinese
EXIT_CODES = "exit code: 0 written; 1 written, but posts or pictures are lost, as printed; 2 in doubt, nothing written"


def main(arguments: Sequence[str]) -> int:
    """Show what was understood, write the manifest, and return 0, 1 (something is lost) or 2 (nothing written)."""
    options = _parser().parse_args(arguments)
    try:
        table, made = read(options)
        place = options.out or (options.images or options.file.parent) / "manifest.csv"
        _check_place(place)
        if not options.json:
            print(shown(table, made))
        told = {} if options.dry_run else write(place, made, options)
    except (PostsError, OSError) as error:
        reason = printable(str(error))
        print(json.dumps({"code": 2, "reason": reason}) if options.json else f"nothing written: {reason}")
        return 2
    code = int(bool(made.problems))
    if options.json:
        told |= {"columns": made.columns, "labels": made.labels, "posts": len(made.frame), "problems": made.problems}
        print(json.dumps(told | {"encoding": table.encoding, "shape": table.shape, "code": code}, ensure_ascii=False))
    elif options.dry_run:
        print("nothing written (--dry-run)")
    else:
        print(f"written: {', '.join(told['written'])}\nnext: python -m rumorlib check-data {place.parent}")
    return code


def read(options) -> tuple[foreign.Table, Imported]:
    """The file, and its posts under a manifest's names. Raises: PostsError: no table, or something is in doubt."""
    table = foreign.read(options.file, options.encoding, options.separator)
    columns = mapping.columns_of(table.cells.columns, {name: getattr(options, name) for name in mapping.COLUMNS})
    notes = []
    if "id" in columns and not options.id:
        names = [mapping.keys.cell(value) for value in table.cells[columns["id"]]]
        if len(set(names)) < len(names) or not all(names):
            notes.append(f"column {columns.pop('id')} repeats or is empty: posts are named by their row")
    labels = mapping.labels_of(table.cells[columns["label"]], columns["label"], *(
        [word for word in (getattr(options, side) or "").split(",") if word]
        for side in ("rumor", "non_rumor", "leave_out")
    ))  # fmt: skip
    pictures = None
    if options.texts_only:
        columns.pop("image", None)
    if "image" in columns:
        pictures = mapping.Pictures(options.images or options.file.parent, options.root)
    made = mapping.imported(table.cells, columns, labels, pictures)
    made.notes.extend(notes)
    frame = made.frame.rename(columns={"id": "post_id"})
    posts.check(frame, options.file.name, places=[(options.file.name, row) for row in made.rows])
    return table, made


def shown(table: foreign.Table, made: Imported) -> str:
    """What was understood of a file, and its first rows, fit for a terminal."""
    words: dict[object, list[str]] = {1: [], 0: [], None: []}
    for word, side in made.labels.items():
        words[side].append(word or "(empty)")
    names = {1: "1 (rumor)", 0: "0", None: "left out"}
    sides = [f"{name} = {', '.join(words[side][:12])}" for side, name in names.items() if words[side]]
    lines = [f"read as    {table.encoding}, {table.shape}; {len(table.cells):,} rows"]
    lines += [
        f"{'columns' if not i else '':10} {ours} <- {theirs}" for i, (ours, theirs) in enumerate(made.columns.items())
    ]
    lines += [f"{'labels' if not i else '':10} {side}" for i, side in enumerate(sides)]
    lines += [f"language   {_language(made)}"]
    lines += [f"note       {note}" for note in made.notes] + [f"problem    {problem}" for problem in made.problems]
    first = made.frame.head(SHOWN_ROWS).astype(str)
    first = first.map(lambda cell: printable(str(guard_cell(cell.replace("\n", " ")))[:SHOWN_CHARACTERS]))
    return "\n".join([*map(printable, lines), *first.to_string(index=False).split("\n")])


def write(place: Path, made: Imported, options) -> dict[str, object]:
    """Write manifest.csv and, where there is none, corpus.toml; a link to the pictures if these lie elsewhere."""
    frame, folder = made.frame, (options.images or options.file.parent).absolute()
    place.parent.mkdir(parents=True, exist_ok=True)
    if "image" in frame and place.parent.absolute() != folder:
        link = place.parent / LINK
        if not link.exists():
            link.symlink_to(folder, target_is_directory=True)
        elif link.resolve() != folder.resolve():
            raise PostsError(f"{link} is there and leads elsewhere; remove it, or choose another --out")
        frame = frame.assign(image=[f"{LINK}/{key}" if key else "" for key in frame["image"]])
    record = place.parent / "corpus.toml"
    told = [str(place)]
    if not record.exists():
        means = options.means or f"label 1 of {options.file.name}"
        lines = {"label_means": means, "language": _language(made)}
        files.write_bytes(
            record, "".join(f"{k} = {json.dumps(v, ensure_ascii=False)}\n" for k, v in lines.items()).encode()
        )
        told.append(str(record))
    files.write_csv(place, frame)
    return {"written": told}


def _check_place(place: Path) -> None:
    if place.suffix != ".csv":
        raise PostsError(f"--out {place}: name a .csv file")
    if place.exists():
        raise PostsError(f"{place} is there already; remove it, or name another with --out FOLDER/manifest.csv")


def _language(made: Imported) -> str:
    letters = [c for text in made.frame["text"].head(1000) for c in text if c.isalpha()]
    return "zh" if sum("\u4e00" <= c <= "\u9fff" for c in letters) > CHINESE * max(1, len(letters)) else "en"


def _parser() -> parameters.Parser:
    parser = parameters.Parser(
        prog="python -m rumorlib import", description=__doc__.split(": ", 1)[1].split("\n")[0], epilog=EXIT_CODES
    )
    parser.add_argument("file", type=Path, help=".csv, .tsv, .txt, .json or .jsonl")
    for name in mapping.COLUMNS:
        parser.add_argument(f"--{name}", metavar="COLUMN", help="the column of it, where its name does not say so")
    for option, what in (("rumor", "label 1"), ("non-rumor", "label 0"), ("leave-out", "neither")):
        parser.add_argument(f"--{option}", metavar="WORD,WORD", help=f"words of the label column that mean {what}")
    parser.add_argument("--means", help="what label 1 means, in words; every report repeats it")
    parser.add_argument("--images", type=Path, metavar="FOLDER", help="where the pictures lie; default: beside FILE")
    parser.add_argument("--texts-only", action="store_true", help="leave the pictures out, as where they cannot be had")
    parser.add_argument("--root", default="", metavar="PATH", help="beginning of absolute names that stands for FOLDER")
    parser.add_argument("--encoding", help="of the file, where it does not show")
    parser.add_argument("--separator", choices=list(foreign.SEPARATORS), help="of the cells, where it does not show")
    parser.add_argument(
        "--out", type=Path, help="default: manifest.csv in the folder of the pictures, else beside FILE"
    )
    parser.add_argument("--dry-run", action="store_true", help="show, and write nothing")
    parser.add_argument("--json", action="store_true", help="print the findings as JSON, nothing else")
    return parser
