"""`python -m rumorlib rebuild`: the same bytes pass, a changed byte, a new table or a stopped notebook does not."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from rumorlib import config as cfg
from rumorlib import results
from rumorlib.commands import execute, rebuild

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
    monkeypatch.setattr(cfg, "PROJECT_ROOT", root)
    monkeypatch.setattr(results, "INDEX", root / "results/index.csv")
    monkeypatch.setenv("RUMORLIB_DATA", "/somewhere")
    monkeypatch.setenv("RUMORLIB_OUTPUT", str(tmp_path / "before"))
    return root


def notebooks_that(monkeypatch: pytest.MonkeyPatch, write: Callable[[Path], None]) -> list[dict]:
    calls = []

    def execute_(names, given, options):
        assert "RUMORLIB_DATA" not in os.environ, "no corpora"
        calls.append({"names": names, **given})
        write(cfg.output_root() / TABLES)

    monkeypatch.setattr(execute, "execute", execute_)
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


def test_a_table_nobody_committed_and_a_stopped_notebook_fail(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    notebooks_that(monkeypatch, lambda folder: (folder / "d_e1.csv").write_text("") and None)
    found = rebuild.rebuild("laptop")
    assert not found.passed and found.new == [f"{TABLES}/d_e1.csv"]

    def stop(folder: Path) -> None:
        raise execute.NotebookFailed("cell 3")

    notebooks_that(monkeypatch, stop)
    found = rebuild.rebuild("laptop")
    assert not found.passed and found.failed == {"03_micc": "cell 3"}
