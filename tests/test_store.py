"""The store gives back every frame of every run as its own file gave it; what is there is written once."""

from __future__ import annotations

import dataclasses
import json
import lzma
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import instead

from rumorlib import config as cfg
from rumorlib import results
from rumorlib.__main__ import main
from rumorlib.data import files
from rumorlib.results import ledger, runs, store
from rumorlib.training.fitting import Outcome

SETTINGS = cfg.Settings("laptop", ("twitter",), (0, 1), train="none")
BELOW = Path("results", "laptop")


def run(seed: int, n: int = 6, **extras: pd.DataFrame) -> cfg.RunConfig:
    """A finished run of n posts, whose cells are those that readers get wrong."""
    config = cfg.RunConfig("micc", "twitter", "toy", seed, "laptop", detector=cfg.MICCConfig())
    random = np.random.default_rng(seed)
    posts = pd.DataFrame({
        "post_id": [f"{i:03}" for i in range(n)], "label": np.arange(n) % 2, "log_odds": random.normal(size=n) * 20,
        "split": "test", "event": ["NA", "", "1e5", "a,b", "None", "x"] * (n // 6), "clutter": [1.5, np.nan] * (n // 2),
    })  # fmt: skip
    history = pd.DataFrame({"epoch": [1, 2], "dev_loss": [0.1, 1e-7 * (seed + 1)], **({"lr": [1, 2]} if seed else {})})
    outcome = Outcome({"test": {"accuracy": 0.5}}, history, posts, extras, None, {"split_hash": "a"})
    runs.write_run(results.run_folder(config), config, outcome, 1.0)
    return config


def frames(report: results.Report) -> dict[str, pd.DataFrame]:
    names = [name for name in report.hashes if name.startswith("extras/")]
    return {"predictions": report.predictions(), "history": report.history(),
            **{name: report.extra(Path(name).stem) for name in names}}  # fmt: skip


@pytest.fixture
def project(output: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    instead(monkeypatch, cfg.PROJECT_ROOT, tmp_path / "project")
    return tmp_path / "project" / BELOW / "store"


def collected(output: Path, place: Path, *configs: cfg.RunConfig) -> dict[cfg.RunConfig, results.Report]:
    """The runs as their folders gave them; then they stand in the store alone."""
    before = {config: results.run_or_load(config, SETTINGS) for config in configs}
    shown = {config: frames(report) for config, report in before.items()}
    store.collect(place, {config.path.as_posix(): results.run_folder(config) for config in configs})
    for config in configs:
        results.run_folder(config).rename(output / f"gone{len(list(output.iterdir()))}")
    for config, report in before.items():
        after = results.run_or_load(config, SETTINGS)
        assert after.store == place and after.metrics == report.metrics and after.fingerprint == report.fingerprint
        for name, frame in frames(after).items():
            pd.testing.assert_frame_equal(frame, shown[config][name])
    return before


def test_a_run_reads_the_same_from_its_folder_and_from_the_store(output: Path, project: Path) -> None:
    maps = pd.DataFrame({"epoch": [1], "weight": [0.25]})
    configs = [run(0, attention=maps), run(1), run(2, n=12)]
    collected(output, project, *configs)
    shards = sorted(path.name for path in project.glob("predictions/*"))
    assert shards == ["twitter-000.csv.xz", "twitter-001.csv.xz"], "one per set of posts"
    with lzma.open(project / "predictions" / shards[0], "rt") as file:
        assert file.readline().strip().endswith("micc/twitter/toy/seed0,micc/twitter/toy/seed1")


def test_what_is_there_is_not_written_again(output: Path, project: Path) -> None:
    collected(output, project, run(0), run(1))
    before = {path: path.read_bytes() for path in project.rglob("*.xz")}
    collected(output, project, run(3), run(4))
    after = {path: path.read_bytes() for path in project.rglob("*.xz")}
    assert before.items() < after.items() and len(after) == len(before) + 1
    assert results.run_or_load(run(0), SETTINGS).predictions()["log_odds"].notna().all()


def test_a_shard_has_a_hundred_runs_at_most(output: Path, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "RUNS_PER_SHARD", 2)
    collected(output, project, *(run(seed) for seed in range(5)))
    assert len(list(project.glob("predictions/*"))) == 3


@pytest.mark.parametrize("victim", ["runs.jsonl", "predictions/twitter-000.csv.xz", "histories/micc.csv.gz"])
def test_a_changed_byte_is_refused(output: Path, project: Path, victim: str) -> None:
    config = run(0)
    collected(output, project, config)
    path = project / victim
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    store._entries.cache_clear()
    with pytest.raises(runs.CorruptRun, match=r"not the file that store\.json was written for"):
        frames(results.run_or_load(config, SETTINGS))


def test_one_s_own_run_stands_before_the_committed_one(output: Path, project: Path) -> None:
    config = run(0)
    collected(output, project, config)
    assert results.run_or_load(config, SETTINGS).store == project
    run(0)
    assert results.run_or_load(config, SETTINGS).store is None
    other = dataclasses.replace(config, detector=cfg.MICCConfig(top_k=4))
    with pytest.raises(runs.StaleRun, match=r"detector\.top_k: stored 2, now 4"):
        results.run_or_load(other, SETTINGS)


def test_a_store_of_an_earlier_version_is_refused_and_carried_over(
    output: Path, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = run(0)
    collected(output, project, config)
    entry = json.loads((project / "runs.jsonl").read_text())
    del entry["config"]["kind"], entry["config"]["train"]["steps"]
    sha256 = files.write_bytes(project / "runs.jsonl", f"{json.dumps(entry)}\n".encode())
    files.write_json(project / "store.json", files.read_json(project / "store.json") | {"runs.jsonl": sha256})
    with pytest.raises(runs.StaleRun, match=r"(?s)an earlier version.*python -m rumorlib migrate"):
        results.run_or_load(config, SETTINGS)
    assert main(["migrate", str(project.parent), "--write"]) == 0
    assert "kind: stored 'absent', now 'train'" in capsys.readouterr().out
    assert results.run_or_load(config, SETTINGS).history()["epoch"].tolist() == [1, 2]
    assert ledger.read("laptop") == [], "nothing was asked anew"
