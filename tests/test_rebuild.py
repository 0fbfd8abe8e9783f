"""`rebuild`: the same bytes pass, a changed byte, a new table or a stopped notebook does not; and `publish`."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import instead

from rumorlib import config as cfg
from rumorlib.commands import execute, publish, rebuild
from rumorlib.results import artifacts, provenance, store

TABLES = "results/laptop/tables"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with two committed laptop tables, one of which only raw corpora give."""
    root = tmp_path / "project"
    (root / TABLES).mkdir(parents=True)
    (root / "results/laptop/runs").mkdir()
    for name in ("m_e2", "c_1"):
        (root / TABLES / f"{name}.csv").write_text(f"{name}\n1\n")
        os.utime(root / TABLES / f"{name}.csv", (1e9, 1e9))
    lines = ["id,notebook,status_laptop", "m_e2,03_micc,partial", "c_1,03_micc,reproduced", "d_e1,04_dmfl,planned"]
    (root / "results/index.csv").write_text("\n".join(lines))
    instead(monkeypatch, cfg.PROJECT_ROOT, root)
    monkeypatch.setattr(artifacts, "INDEX", root / "results/index.csv")
    monkeypatch.setenv("RUMORLIB_DATA", "/somewhere")
    monkeypatch.setenv("RUMORLIB_OUTPUT", str(tmp_path / "before"))
    return root


def notebooks_that(monkeypatch: pytest.MonkeyPatch, write: Callable[[Path], str | None]) -> list[dict]:
    calls = []

    def each(prepared, profile, options):
        assert "RUMORLIB_DATA" not in os.environ, "no corpora"
        for path, given in prepared:
            calls.append({"names": [path.stem], **given})
            yield path, write(cfg.output_root() / TABLES) or ""

    monkeypatch.setattr(execute, "each", each)
    return calls


def test_the_same_bytes_pass_and_what_needs_corpora_is_named(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = notebooks_that(monkeypatch, lambda folder: (folder / "m_e2.csv").write_text("m_e2\n1\n") and None)
    found = rebuild.rebuild("laptop")
    assert found.passed and found.same == [f"{TABLES}/m_e2.csv"] and found.kept == [f"{TABLES}/c_1.csv"]
    assert calls == [{"names": ["03_micc"], "profile": "laptop", "train": "none", "grid": "reduced"}]
    assert "not made again without raw corpora or weights: c_1" in rebuild.report(found)
    assert os.environ["RUMORLIB_DATA"] == "/somewhere" and os.environ["RUMORLIB_OUTPUT"].endswith("before")


def test_a_changed_byte_fails_and_the_committed_file_stays(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    notebooks_that(monkeypatch, lambda folder: (folder / "m_e2.csv").write_text("m_e2\n2\n") and None)
    assert rebuild.main([]) == 1
    assert rebuild.rebuild("laptop").differing == [f"{TABLES}/m_e2.csv"]
    assert (project / TABLES / "m_e2.csv").read_text() == "m_e2\n1\n"


def test_a_changed_entry_of_provenance_is_named(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    provenance.enter(project / TABLES, {"m_e2": {"runs": {"a": "1"}}, "c_1": {"runs": {}}})
    again = {"m_e2": {"runs": {"a": "2"}}, "d_e1": {"runs": {}}}

    def write(folder: Path) -> None:
        (folder / "m_e2.csv").write_text("m_e2\n1\n")
        provenance.enter(folder, again)

    notebooks_that(monkeypatch, write)
    found = rebuild.rebuild("laptop")
    said = f"{TABLES}/{provenance.FILE}"
    assert (found.differing, found.new) == ([f"{said}: m_e2"], [f"{said}: d_e1"])
    assert found.kept == [f"{TABLES}/c_1.csv", f"{said}: c_1"]
    assert "not made again without raw corpora or weights: c_1\n" in rebuild.report(found)


def test_a_table_nobody_committed_and_a_stopped_notebook_fail(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    notebooks_that(monkeypatch, lambda folder: (folder / "d_e1.csv").write_text("") and None)
    found = rebuild.rebuild("laptop")
    assert not found.passed and found.new == [f"{TABLES}/d_e1.csv"]

    notebooks_that(monkeypatch, lambda _: "cell 3")
    found = rebuild.rebuild("laptop")
    assert not found.passed and found.failed == {"03_micc": "cell 3"}


def test_results_go_to_the_output_folder_and_are_read_from_there_first(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RUMORLIB_OUTPUT")
    assert cfg.output_root() == project / "output"
    assert cfg.stored(f"{TABLES}/m_e2.csv") == project / TABLES / "m_e2.csv", "there is no other"
    own = project / "output" / TABLES / "m_e2.csv"
    own.parent.mkdir(parents=True)
    own.write_text("own\n")
    assert cfg.stored(f"{TABLES}/m_e2.csv") == own
    assert cfg.stored("results/laptop/tables/x.csv") == own.with_name("x.csv"), "where it will be written"


def finished(folder: Path, **report: object) -> None:
    report |= {"files": {"history.csv": "hash"}}
    contents = {"DONE": "1", "report.json": json.dumps(report), "private/words.csv": "w", "history.csv": "epoch\n1\n",
                "config.json": json.dumps({"model": "micc"})}  # fmt: skip
    for name, content in contents.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)


def test_publish_says_what_it_would_change_and_brings_the_runs_of_its_tables(project: Path) -> None:
    """Unnamed runs (say, of somebody's own posts) and private files stay where they are."""
    own, runs = cfg.output_root(), "results/laptop/runs"
    finished(own / runs / "micc/twitter/default/seed0", stage1={"run": "sclip/flickr8k/default/seed0"})
    finished(own / runs / "sclip/flickr8k/default/seed0")
    finished(own / runs / "micc/mine/default/seed0")
    (own / TABLES).mkdir(parents=True)
    (own / TABLES / "m_e2.csv").write_text("m_e2\n2\n")
    (own / TABLES / "c_1.csv").write_text("c_1\n1\n")
    (own / TABLES / "x.csv").write_text("x\nof no table that was saved\n")
    m_e2 = {"runs": {"micc/twitter/default/seed0": "hash"}, "files": {"m_e2.csv": "hash"}}
    c_1 = {"runs": {}, "files": {"c_1.csv": "hash"}}
    provenance.enter(own / TABLES, {"m_e2": m_e2, "c_1": c_1})
    provenance.enter(project / TABLES, {"m_e2": m_e2 | {"runs": {}}, "d_e1": {"runs": {}, "files": {}}})
    ledger = "results/laptop/test_ledger.csv"
    (project / ledger).write_text("run,config_hash,split_hash,when,commit\na,1,2,3,4\n")
    (own / ledger).write_text("run,config_hash,split_hash,when,commit\nb,1,2,3,4\n")
    before = {path: path.read_bytes() for path in project.rglob("*") if path.is_file()}
    said = publish.changed("laptop")
    assert said == {
        f"{TABLES}/m_e2.csv": "changed", f"{TABLES}/{provenance.FILE}: c_1": "new",
        f"{TABLES}/{provenance.FILE}: m_e2": "changed",
        f"{runs}/micc/twitter/default/seed0": "new", f"{runs}/sclip/flickr8k/default/seed0": "new",
    }  # fmt: skip
    assert publish.main(["--profile", "laptop"]) == 0
    assert before == {path: path.read_bytes() for path in project.rglob("*") if path.is_file()}
    assert publish.main(["--profile", "laptop", "--write"]) == 0
    assert (project / TABLES / "m_e2.csv").read_text() == "m_e2\n2\n"
    assert provenance.entries(project / TABLES) == {"m_e2": m_e2, "c_1": c_1, "d_e1": {"runs": {}, "files": {}}}
    committed = project / "results/laptop/store"
    assert set(store.entries(committed)) == {"micc/twitter/default/seed0", "sclip/flickr8k/default/seed0"}
    assert store.frame(committed, "micc/twitter/default/seed0", "history.csv")["epoch"].tolist() == [1]
    assert not any("words" in path.name for path in project.glob("results/**/*") if path.is_file())
    assert (project / ledger).read_text().splitlines()[1:] == ["a,1,2,3,4", "b,1,2,3,4"]
    assert publish.changed("laptop") == {}
    publish.publish("laptop")
    assert len((project / ledger).read_text().splitlines()) == 3, "a reading of test posts is entered once"
