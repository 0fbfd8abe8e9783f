"""Tables and figures on disk, with where every number came from.

A table is results/<profile>/tables/<id>.csv (+ .md to read); a figure is figures/<profile>/<id>.png (+ .csv the data
drawn). Ids stand in results/index.csv. Each has an entry in its folder's provenance.json: which function of rumorlib made
the frame, and which runs each row was computed from (provenance.py). The md is made of csv and entry alone (layout.py).
Rebuilt from the same runs, csv, md and entries are byte-identical: they hold no time, no commit and no machine. A csv
cell is nothing a spreadsheet would run, markdown carries no markup of posts. Runs with a fault that stays visible until
they are made anew (`MARKS`) are named in the entry and marked in the md.
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rumorlib import config as cfg
from rumorlib.data import files
from rumorlib.metrics.learning import FAULTS
from rumorlib.results import layout, provenance
from rumorlib.results.reports import declared_since
from rumorlib.data import keys

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from rumorlib.results.reports import Report


SATURATED = 0.01  # share of a run's stored probabilities that are exactly 0 or 1, from which it is marked
INDEX = cfg.PROJECT_ROOT / "results" / "index.csv"


def index_row(artifact_id: str, caption: str = "") -> dict[str, str]:
    """Line of an artifact in results/index.csv; with a caption, also that of an id which is not there.

    Raises: KeyError: no such id, and no caption. ValueError: a new id that is no plain name.
    """
    with INDEX.open(encoding="utf-8", newline="") as file:
        rows = {row["id"]: row for row in csv.DictReader(file)}
    if caption and artifact_id not in rows:
        if not re.fullmatch(r"[a-z][a-z0-9_]*", artifact_id):
            raise ValueError(f"a table's id is of small letters, digits and _; got {artifact_id!r}")
        return {"id": artifact_id, "paper": "ours", "printed": "-", "caption": caption, "notebook": ""}
    if artifact_id not in rows:
        hint = f"{cfg.nearest(artifact_id, rows)}; a table of your own needs a caption"
        raise KeyError(f"{artifact_id!r} is not in {INDEX.name}; it has {', '.join(rows)}{hint}")
    return rows[artifact_id]


def places(profile: str) -> tuple[str, str]:
    """Folders of a profile's tables and figures, below the output folder and the project."""
    return f"results/{profile}/tables", f"figures/{profile}"


def _place(top: str, artifact_id: str, reports: Sequence[Report], profile: str) -> Path:
    """csv path of an artifact. Raises ValueError: a report of another profile."""
    if profile not in cfg.PROFILES:
        raise ValueError(
            f"profile must be one of {', '.join(cfg.PROFILES)}; got {profile!r}{cfg.nearest(profile, cfg.PROFILES)}"
        )
    if foreign := [r.name for r in reports if r.config.profile != profile]:
        raise ValueError(f"{artifact_id} at profile {profile} was given runs of another profile: {', '.join(foreign)}")
    return cfg.output_root() / top.format(profile) / f"{artifact_id}.csv"


def save_table(frame: pd.DataFrame, artifact_id: str, reports: Sequence[Report], profile: str,
               notebook: str | None = None, note: str = "", caption: str = "") -> Path:  # fmt: skip
    """Write a table as csv, md and provenance; return the csv's path.

    Args:
        frame: the table; scores are fractions in [0, 1].
        artifact_id: id in results/index.csv, or a new one, with a `caption`.
        reports: the runs it was computed from; all of `profile`. Empty for tables about corpora.
        profile: demo, laptop or paper; decides the folder.
        notebook: the notebook that makes it; the index's unless given.
        note: one sentence below the table.
    Raises: KeyError: unknown id. ValueError: a report of another profile, an id that cannot name a file, or a row
        computed from a run that is not among the reports.
    """
    row = index_row(artifact_id, caption)
    path = _place("results/{}/tables", artifact_id, reports, profile)
    written = {f"{artifact_id}.csv": files.write_csv(path, spreadsheet_safe(frame))}
    _write_provenance("save_table", path, row, reports, profile, notebook, note, written, frame)
    relay(path)
    return path


def relay(path: Path, write: bool = True) -> bool:
    """Lay a table out anew from its csv and provenance alone: write the md, and its hash into the provenance. Returns:
    whether it was another before."""
    said, page = provenance.entries(path.parent)[path.stem], path.with_suffix(".md")
    text = layout.page(path.read_text(encoding="utf-8"), said).encode()
    if page.is_file() and page.read_bytes() == text and page.name in said["files"]:
        return False
    if not write:
        return True
    said["files"][page.name] = files.write_bytes(page, text)
    provenance.enter(path.parent, {path.stem: said})
    return True


def show(frame: pd.DataFrame | None, down: str = "", across: str = "", value: str = "accuracy") -> layout.Page | None:
    """What a notebook displays for a table: the columns of its md file, at most `layout.MOST_ROWS` rows.

    Args:
        frame: a table; None shows nothing.
        down, across, value: columns, for a comparison: a line per value of `down`, a column per value of `across`, cells
            of `value` with its interval; test rows where there are several splits.
    """
    if frame is None:
        return None
    frame = frame.reset_index() if frame.index.name else frame
    columns = layout.read(spreadsheet_safe(frame).to_csv(index=False))
    most = layout.MOST_ROWS
    parts = layout.across(columns, down, across, value, most) if across else layout.body(columns, most=most)
    return layout.Page("\n\n".join(parts))


def save_figure(
    fig: Figure,
    artifact_id: str,
    data: pd.DataFrame,
    reports: Sequence[Report],
    profile: str,
    notebook: str | None = None,
    note: str = "",
) -> Path:
    """Write a figure as png, the data it draws as csv, and provenance; return the png's path.

    Args and Raises: as `save_table`. A figure of the demo profile says so in its title.
    """
    row = index_row(artifact_id)
    path = _place("figures/{}", artifact_id, reports, profile)
    if profile == "demo":
        say_demo(fig)
    picture = path.with_suffix(".png")
    picture.parent.mkdir(parents=True, exist_ok=True)
    draft = picture.with_suffix(".png.part")
    fig.savefig(draft, format="png", dpi=150, bbox_inches="tight", metadata={"Software": None})
    draft.replace(picture)
    written = {path.name: files.write_csv(path, spreadsheet_safe(data))}  # the png's bytes depend on installed fonts
    _write_provenance("save_figure", path, row, reports, profile, notebook, note, written, data)
    return picture


def _write_provenance(
    how: str,
    path: Path,
    row: dict[str, str],
    reports: Sequence[Report],
    profile: str,
    notebook: str | None,
    note: str,
    written: dict[str, str],
    frame: pd.DataFrame,
) -> None:
    content = {key: row[key] for key in ("id", "paper", "printed", "caption")} | {
        "profile": profile,
        "notebook": notebook or row["notebook"],
        "function": provenance.functions(notebook or row["notebook"]).get((how, row["id"]), ""),
        "note": note,
        "runs": {r.name: r.fingerprint for r in reports},
        "files": written,
    }
    if reports:
        content["rows"] = _places(frame, sorted(content["runs"]), row["id"])
    if marked := marked_runs(reports):
        content["marks"] = marked
    provenance.enter(path.parent, {row["id"]: content})


# --- what a reader must know of the runs behind a table -----------------------------------------


def saturation(report: Report) -> pd.DataFrame:
    """How many of a run's stored probabilities are exactly 0 or 1: a row per split, columns split, share, n (answers of
    all seeds). Empty for a run that stored log-odds or answers no post."""
    answers = report.predictions()
    if "prob_rumor" not in answers or "log_odds" in answers:
        return answers.reindex(columns=["split", "share", "n"]).iloc[:0]
    exact = answers["prob_rumor"].isin([0, 1]).groupby(answers["split"])
    return exact.agg(share="mean", n="size").reset_index()


def _saturated(report: Report) -> str:
    found = saturation(report)
    if found.empty or (found["share"] * found["n"]).sum() < SATURATED * found["n"].sum():
        return ""
    wrong = "1 % or more of the stored probabilities are exactly 0 or 1 (p_7), so AUC counts ties and log loss is of "
    return wrong + "what was rounded away"


def _unfingerprinted(report: Report) -> str:
    known = "computation" in report.facts  # empty for a plug-in detector, which is known by its file
    return "" if known else "from before computations were fingerprinted"


def _declared(report: Report) -> str:
    lines = declared_since(report.name, report.facts.get("finished_utc", ""))
    return "; ".join(f"{line['what']} ({line['why']})" for line in lines)


def _fault(name: str, wrong: str) -> Callable[[Report], str]:
    return lambda report: wrong if name in report.faults() else ""


# Mark -> what is wrong with a stored run, in a sentence; "" where nothing is.
MARKS: dict[str, Callable[[Report], str]] = {
    "saturated": _saturated, "declared": _declared, "unfingerprinted": _unfingerprinted,
    **{name: _fault(name, wrong) for name, wrong in FAULTS.items()},
}  # fmt: skip
_KNOWN: dict[tuple[Path, str], dict[str, str]] = {}  # of each run of this process: tables share runs


def marks(report: Report) -> dict[str, str]:
    """The MARKS of a run, each with what is wrong."""
    key = report.folder, report.fingerprint
    if key not in _KNOWN:
        _KNOWN[key] = {name: wrong for name, of in MARKS.items() if (wrong := of(report))}
    return _KNOWN[key]


def marked_runs(reports: Sequence[Report]) -> dict[str, dict[str, list[str] | str]]:
    """Mark -> what is wrong -> the runs, or `layout.ALL`; only marks that some run has."""
    found: dict[str, dict[str, set[str]]] = {}
    for report in reports:
        for mark, wrong in marks(report).items():
            found.setdefault(mark, {}).setdefault(wrong, set()).add(report.name)
    every = {report.name for report in reports}
    return {mark: {wrong: layout.ALL if runs == every else sorted(runs) for wrong, runs in sorted(found[mark].items())}
            for mark in MARKS if mark in found}  # fmt: skip


def _places(frame: pd.DataFrame, names: Sequence[str], artifact_id: str) -> list[list[int]] | None:
    """Each row's runs as places in the sorted names of the artifact's runs; None: the frame does not say."""
    rows = provenance.runs_of_rows(frame)
    if rows is None:
        return None
    if unknown := {name for row in rows for name in row}.difference(names):
        raise ValueError(f"{artifact_id} has rows of runs that are not among its reports: {', '.join(sorted(unknown))}")
    place = {name: i for i, name in enumerate(names)}
    return [[place[name] for name in row] for row in rows]


# --- cells ------------------------------------------------------------------------------------


def spreadsheet_safe(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with floats at six digits and no text that a spreadsheet would take for a formula.

    Raises: ValueError: the index holds data, which csv would lose, or a column name is there twice.
    """
    if any(name is not None for name in frame.index.names) or frame.columns.nlevels > 1:
        raise ValueError("a table is written without its index and with one line of names: reset_index() first")
    if not frame.columns.is_unique:
        raise ValueError(f"a column name is there twice: {', '.join(map(str, frame.columns))}")
    safe = frame.copy()
    for column in safe.columns:
        safe[column] = [_safe_cell(value) for value in safe[column]]
    return safe.rename(columns=lambda name: _safe_cell(str(name)))


def _safe_cell(value: Any) -> Any:
    if isinstance(value, float):
        return f"{value:.6g}" if math.isfinite(value) else ""
    if value in ("-", "+"):  # "no value" and a sign are no formulas
        return value
    try:
        float(value)  # neither is a signed number
    except (TypeError, ValueError):
        return keys.guard_cell(value)
    return value


def say_demo(fig: Figure) -> None:
    """Add "demo profile" to the title, unless a title says it already."""
    titles = [fig.get_suptitle(), *(axes.get_title(loc) for axes in fig.axes for loc in ("left", "center", "right"))]
    if any("demo profile" in title for title in titles):
        return
    if fig.get_suptitle() or len(fig.axes) != 1:
        shown = {text.get_text(): text for text in fig.texts}.get(fig.get_suptitle())
        size = {"fontsize": shown.get_fontsize()} if shown else {}  # setting a title anew would forget its size
        fig.suptitle(f"{fig.get_suptitle()} (demo profile)".strip(), **size)
    else:
        fig.axes[0].set_title(f"{fig.axes[0].get_title()} (demo profile)".strip())
