"""Runs on disk: complete or not there, never stale, never another profile's; tables and figures with provenance."""

from __future__ import annotations

import csv
import dataclasses
import json
import os
import signal
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from rumorlib import config as cfg
from rumorlib import experiments, results
from rumorlib.data import files
from rumorlib.results import artifacts, ledger, provenance, reports, runs, trained
from rumorlib.training import fitting, kinds

DEMO = cfg.Settings("demo", ("demo-en",), (0,))
STAGE1 = cfg.RunConfig("sclip", "demo-en")
CONFIG = cfg.RunConfig("micc", "demo-en", detector=cfg.MICCConfig(), stage1=STAGE1)


def outcome(config: cfg.RunConfig, accuracy: float = 0.75) -> SimpleNamespace:
    """What experiments.run returns, for a model that learned nothing."""
    torch = pytest.importorskip("torch")
    shared = torch.arange(4.0)
    predictions = pd.DataFrame(
        {"post_id": ["007", "8"], "label": [1, 0], "log_odds": [0.123456, 40.0], "split": "test", "event": ["NA", "b"]}
    )
    return SimpleNamespace(
        metrics={"test": {"accuracy": accuracy, "f1_rumor": np.float64(0.5), "auc": float("nan")}},
        history=pd.DataFrame({"epoch": [1], "loss": [0.1]}),
        predictions=predictions,
        extras={"relevance": pd.DataFrame({"post_id": ["007"], "value": [0.2]})},
        state={"a": shared, "b": shared} if config.model == "sclip" else None,
        facts={"n_parameters": np.int64(12), "split_hash": "ab", "computation": {}},
    )


class Trainer:
    """Counts how often it is asked to train what."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, Path | None]] = []

    def __call__(
        self, config: cfg.RunConfig, settings: cfg.Settings, stage1: Path | None = None, parent: Path | None = None
    ) -> SimpleNamespace:
        self.calls.append((config.model, stage1))
        return outcome(config)


@pytest.fixture
def trainer(output: Path, monkeypatch: pytest.MonkeyPatch) -> Trainer:
    monkeypatch.setattr(reports, "_TRAINED", set())
    made = Trainer()
    monkeypatch.setattr(kinds, "run", made)
    return made


def again(mode: str) -> cfg.Settings:
    """Settings of a new process with this train mode."""
    reports._TRAINED.clear()
    return dataclasses.replace(DEMO, train=mode)


def test_an_event_called_na_and_a_post_called_none_keep_their_names(
    trainer: Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ["NA", "None", "nan", "null"]
    made = outcome(CONFIG)
    predictions = pd.DataFrame({"post_id": names, "label": [1, 0, 1, 0], "log_odds": 0.5, "split": "test"})
    predictions["event"] = ["", "NA", "None", None]
    made.predictions = predictions
    made.extras = {"words": pd.DataFrame({"word": names, "value": [0.5, float("nan"), 1, 2]})}
    run = kinds.run
    monkeypatch.setattr(kinds, "run", lambda config, *_, **more: made if config.model == "micc" else run(config, *_))
    report = results.run_or_load(CONFIG, DEMO)
    found = report.predictions()
    assert found["post_id"].tolist() == names
    assert found["event"].isna().tolist() == [True, False, False, True] and found["event"][2] == "None"
    words = report.extra("words")
    assert words["word"].tolist() == names and words["value"].isna().tolist() == [False, True, False, False]


# --- the test ledger ------------------------------------------------------------------------------


def test_the_ledger_has_a_line_per_run_made_and_none_per_run_read(trainer: Trainer) -> None:
    report = results.run_or_load(CONFIG, DEMO)
    (line,) = ledger.read("demo")  # stage 1 scores no posts
    assert line["run"] == report.name and line["config_hash"] == cfg.config_hash(CONFIG)
    assert line["split_hash"] == "ab" and line["when"].startswith("20") and line["commit"]
    for mode in ("missing", "none"):
        results.run_or_load(CONFIG, again(mode))
        report.predictions()
    assert ledger.read("demo") == [line], "reading adds nothing"


def test_a_run_made_again_adds_a_line_and_keeps_the_old_ones(trainer: Trainer) -> None:
    results.run_or_load(CONFIG, DEMO)
    before = ledger.path_of("demo").read_bytes()
    results.run_or_load(CONFIG, again("all"))
    results.run_or_load(dataclasses.replace(CONFIG, seed=1), again("missing"))
    assert ledger.path_of("demo").read_bytes().startswith(before), "append only"
    found = ledger.readings("demo")
    assert found[["model", "dataset", "runs", "readings", "configs"]].values.tolist() == [["micc", "demo-en", 2, 3, 2]]


def test_a_profile_without_runs_has_an_empty_ledger(output: Path) -> None:
    assert ledger.read("paper") == [] and ledger.readings("paper").empty


# --- run_or_load --------------------------------------------------------------------------------


def test_a_finished_run_is_loaded_and_stage_1_comes_first(trainer: Trainer) -> None:
    first = results.run_or_load(CONFIG, DEMO)
    assert [model for model, _ in trainer.calls] == ["sclip", "micc"]
    assert trainer.calls[1][1] == results.run_folder(STAGE1) / runs.CHECKPOINT
    second = results.run_or_load(CONFIG, again("none"))
    assert len(trainer.calls) == 2
    assert second == first and second.fingerprint == first.fingerprint
    assert second.metrics == {"test": {"accuracy": 0.75, "f1_rumor": 0.5, "auc": None}}
    assert second.facts["n_parameters"] == 12
    assert list(second.predictions()["post_id"]) == ["007", "8"]
    assert second.history()["loss"].item() == 0.1
    assert second.extra("relevance")["value"].item() == 0.2
    stored = json.loads((second.folder / "report.json").read_text())
    assert stored["stage1"]["run"] == "sclip/demo-en/default/seed0"
    assert {"git", "libraries", "device", "time_s", "peak_memory_mib", "finished_utc", "seed"} <= set(stored)


def test_another_config_in_the_folder_is_stale_and_names_the_fields(trainer: Trainer) -> None:
    results.run_or_load(CONFIG, DEMO)
    other = dataclasses.replace(CONFIG, detector=cfg.MICCConfig(top_k=4))
    with pytest.raises(runs.StaleRun, match=r"detector\.top_k: stored 2, now 4"):
        results.run_or_load(other, DEMO)
    results.run_or_load(other, again("all"))
    assert results.run_or_load(other, DEMO).config.detector.top_k == 4


def test_a_run_of_a_replaced_split_is_stale(output: Path) -> None:
    config = dataclasses.replace(CONFIG, protocol="random:1")
    assert config.path == Path("micc/demo-en-random-1/default/seed0")
    made = outcome(config)
    made.facts = {"split_hash": "a", "split_file": "demo-en-random-seed1.csv"}
    runs.write_run(results.run_folder(config), config, made, 1.0)
    stored = output / "results" / "demo" / "splits" / "demo-en-random-seed1.csv"
    stored.parent.mkdir(parents=True)
    stored.write_text('# {"split_hash": "a"}\n')
    assert results.run_or_load(config, dataclasses.replace(DEMO, train="none")).facts["split_hash"] == "a"
    stored.write_text('# {"split_hash": "b"}\n')
    with pytest.raises(runs.StaleRun, match="another split than demo-en-random-seed1"):
        results.run_or_load(config, dataclasses.replace(DEMO, train="none"))


def test_train_none_names_the_command(trainer: Trainer) -> None:
    with pytest.raises(runs.MissingRun, match="python -m rumorlib run --profile demo --train missing"):
        results.run_or_load(CONFIG, again("none"))
    assert trainer.calls == []


def test_train_all_runs_once_per_process(trainer: Trainer) -> None:
    results.run_or_load(CONFIG, DEMO)
    settings = again("all")
    for _ in range(2):
        results.run_or_load(CONFIG, settings)
    assert [model for model, _ in trainer.calls] == ["sclip", "micc"] * 2


def test_lost_weights_are_trained_again_only_when_needed_and_allowed(trainer: Trainer) -> None:
    report = results.run_or_load(STAGE1, DEMO)
    weights = report.folder / runs.CHECKPOINT
    weights.write_bytes(weights.read_bytes()[:20])  # truncated
    with pytest.raises(runs.CorruptRun, match="not the file that was written"):
        report.checkpoint()
    results.run_or_load(STAGE1, again("none"))
    with pytest.raises(runs.MissingRun):
        results.run_or_load(STAGE1, again("none"), checkpoint=True)
    assert len(trainer.calls) == 1
    repaired = results.run_or_load(STAGE1, DEMO, checkpoint=True)
    assert len(trainer.calls) == 2 and repaired.checkpoint().is_file()
    weights.unlink()
    results.run_or_load(CONFIG, DEMO)
    assert [model for model, _ in trainer.calls] == ["sclip", "sclip", "sclip", "micc"]


def test_a_baseline_has_no_weights_and_says_so(trainer: Trainer) -> None:
    baseline = cfg.RunConfig("baseline", "demo-en", detector=cfg.BaselineConfig("majority"))
    with pytest.raises(FileNotFoundError, match="saves no weights"):
        results.run_or_load(baseline, DEMO)
        results.run_or_load(baseline, DEMO, checkpoint=True)


def test_a_detector_without_weights_is_trained_again_only_when_they_are_asked_for(
    trainer: Trainer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As runs made before detectors kept weights, or whose weights git did not carry: tables need none."""
    kept = {"c": pytest.importorskip("torch").ones(2)}

    def with_weights(config: cfg.RunConfig, *rest: object, **weights: object) -> SimpleNamespace:
        made = trainer(config, *rest, **weights)
        made.state = made.state or kept
        return made

    before = results.run_or_load(CONFIG, DEMO)
    assert runs.CHECKPOINT not in before.hashes
    assert results.run_or_load(CONFIG, again("none")) == before
    with pytest.raises(runs.MissingRun, match="--train missing"):
        results.run_or_load(CONFIG, again("none"), checkpoint=True)
    assert len(trainer.calls) == 2
    monkeypatch.setattr(kinds, "run", with_weights)
    after = results.run_or_load(CONFIG, DEMO, checkpoint=True)
    assert [model for model, _ in trainer.calls] == ["sclip", "micc", "micc"] and after.checkpoint().is_file()
    assert after.fingerprint == before.fingerprint  # weights are no result: tables made before stay as they are
    assert "last digit" not in capsys.readouterr().out
    after.checkpoint().unlink()
    monkeypatch.setattr(kinds, "run", lambda config, *_, **weights: outcome(config, accuracy=0.76))
    results.run_or_load(CONFIG, DEMO, checkpoint=True)
    assert "last digit" in capsys.readouterr().out


def test_profiles_do_not_mix(trainer: Trainer) -> None:
    with pytest.raises(ValueError, match="profile"):
        results.run_or_load(dataclasses.replace(CONFIG, profile="laptop"), DEMO)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"metrics": {}}', "<<<<<<< HEAD"])
def test_a_corrupt_report_is_an_error(trainer: Trainer, content: str) -> None:
    folder = results.run_or_load(CONFIG, DEMO).folder
    (folder / "report.json").write_text(content)
    with pytest.raises(runs.CorruptRun, match=r"report\.json|Expecting"):
        results.run_or_load(CONFIG, DEMO)


def test_changed_predictions_are_refused(trainer: Trainer) -> None:
    report = results.run_or_load(CONFIG, DEMO)
    path = report.folder / "predictions.csv"
    path.write_text(path.read_text().replace("40.0", "41.0"))
    with pytest.raises(runs.CorruptRun, match=r"predictions\.csv"):
        report.predictions()


def as_before(report: results.Report, prob: list[float]) -> results.Report:
    """The run as it was stored before log-odds were: probabilities of four decimals."""
    path, about = report.folder / report._predictions_file, report.folder / "report.json"
    stored = pd.read_csv(path, keep_default_na=False).drop(columns="log_odds").assign(prob_rumor=prob)
    told = json.loads(about.read_text())
    told["files"][path.name] = files.write_csv(path, stored)
    files.write_json(about, told)
    (report.folder / "DONE").write_text(f"{cfg.config_hash(report.config)}\n")
    return results.run_or_load(report.config, dataclasses.replace(DEMO, train="none"))


def test_runs_that_stored_probabilities_alone_are_read_as_they_are(trainer: Trainer) -> None:
    report = as_before(results.run_or_load(CONFIG, DEMO), [0.1235, 1.0])
    frame = report.predictions()
    assert frame["prob_rumor"].tolist() == [0.1235, 1.0] and "log_odds" not in frame
    assert frame["event"].tolist() == ["NA", "b"]


def test_predictions_without_log_odds_are_not_stored(trainer: Trainer) -> None:
    made = outcome(CONFIG)
    made.predictions = made.predictions.rename(columns={"log_odds": "prob_rumor"})
    with pytest.raises(ValueError, match="predictions have log_odds; got post_id, label, prob_rumor"):
        runs.write_run(results.run_folder(CONFIG), CONFIG, made, 1.0)
    assert not results.run_folder(CONFIG).exists()


def test_a_flipped_bit_of_a_report_is_refused(trainer: Trainer) -> None:
    path = results.run_or_load(CONFIG, DEMO).folder / "report.json"
    content = path.read_bytes()
    for place in range(0, 8 * len(content), 61):  # a prime: each of the eight bits, everywhere in the file
        changed = bytearray(content)
        changed[place // 8] ^= 1 << place % 8
        path.write_bytes(changed)
        with pytest.raises(runs.CorruptRun, match="restore it from a copy"):
            results.run_or_load(CONFIG, again("none"))
    path.write_bytes(content)
    assert results.run_or_load(CONFIG, again("none")).metrics["test"]["accuracy"] == 0.75


def test_an_edited_accuracy_is_refused(trainer: Trainer) -> None:
    path = results.run_or_load(CONFIG, DEMO).folder / "report.json"
    path.write_text(path.read_text().replace('"accuracy": 0.75', '"accuracy": 0.85'))
    with pytest.raises(runs.CorruptRun, match=r"report\.json is not the file that was written"):
        results.run_or_load(CONFIG, again("none"))


@pytest.mark.parametrize("before", [False, True])
@pytest.mark.parametrize("victim", [1, 2, 3, 4])  # extras, DONE, report.json, DONE
def test_an_extra_that_is_cut_short_leaves_a_run_that_reads(
    victim: int, before: bool, trainer: Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = results.run_or_load(CONFIG, DEMO)
    if before:
        report = as_before(report, [0.1235, 1.0])
    really, written = files.write_bytes, []

    def write_bytes(path: Path, content: bytes) -> str:
        written.append(path.name)
        if len(written) == victim:
            raise KeyboardInterrupt
        return really(path, content)

    more = pd.DataFrame({"n": [1]})
    with monkeypatch.context() as patch:
        patch.setattr(files, "write_bytes", write_bytes)
        with pytest.raises(KeyboardInterrupt):
            results.add_extra(report, "more", more)
    assert written == ["more.csv", "DONE", "report.json", "DONE"][:victim]
    found = results.run_or_load(CONFIG, again("none"))
    assert found.metrics == report.metrics and ("extras/more.csv" in found.hashes) == (victim == 4)
    made = found if victim == 4 else results.add_extra(found, "more", more)
    assert made.extra("more")["n"].tolist() == [1]
    if victim != 4:
        config_hash, sealed = (report.folder / "DONE").read_text().split()
        assert sealed == files.file_hash(report.folder / "report.json") and config_hash == cfg.config_hash(CONFIG)


def test_a_folder_without_DONE_is_run_again(trainer: Trainer) -> None:
    report = results.run_or_load(CONFIG, DEMO)
    (report.folder / "DONE").unlink()
    results.run_or_load(CONFIG, DEMO)
    assert [model for model, _ in trainer.calls] == ["sclip", "micc", "micc"]


KILLED = """
    import os, signal
    from pathlib import Path
    from tests import test_results as t
    from rumorlib import results
    from rumorlib.data import files
    from rumorlib.training import kinds
    really = files.write_bytes
    def write_bytes(path, content):
        if path.name == {victim!r}:
            path.write_bytes(content[: len(content) // 2])
            os.kill(os.getpid(), signal.SIGKILL)
        return really(path, content)
    files.write_bytes = write_bytes
    kinds.run = t.Trainer()
    results.run_or_load(t.STAGE1, t.DEMO)
"""


@pytest.mark.parametrize("victim", ["predictions.csv", "report.json", "DONE"])
def test_killed_half_way_leaves_no_result_and_the_next_run_succeeds(trainer: Trainer, victim: str) -> None:
    code = textwrap.dedent(KILLED.format(victim=victim))
    environment = os.environ | {"PYTHONPATH": str(cfg.PROJECT_ROOT)}
    done = subprocess.run([sys.executable, "-c", code], cwd=cfg.PROJECT_ROOT, env=environment, capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    folder = results.run_folder(STAGE1)
    assert not folder.exists() and list(folder.parent.iterdir())
    results.run_or_load(STAGE1, DEMO)
    assert len(trainer.calls) == 1
    assert [path.name for path in folder.parent.iterdir()] == ["seed0"]  # the dead process's draft is gone


def test_a_failing_write_keeps_the_old_run(trainer: Trainer, monkeypatch: pytest.MonkeyPatch) -> None:
    report = results.run_or_load(STAGE1, DEMO)

    def full_disk(path: Path, content: bytes) -> str:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(files, "write_bytes", full_disk)
        with pytest.raises(OSError, match="No space"):
            results.run_or_load(STAGE1, again("all"))
    assert results.run_or_load(STAGE1, again("none")) == report
    assert [path.name for path in report.folder.parent.iterdir()] == ["seed0"]


# --- real corpora -------------------------------------------------------------------------------


def test_real_posts_are_opaque_and_rounded_and_words_stay_private(
    trainer: Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = cfg.RunConfig("dmfl", "twitter", "toy", profile="laptop", detector=cfg.DMFLConfig())

    def train(config: cfg.RunConfig, settings: cfg.Settings) -> SimpleNamespace:
        made = outcome(config)
        made.predictions = made.predictions.assign(text="a person's words", image_group=["real.jpg", "b"])
        made.extras["tokens"] = pd.DataFrame({"post_id": ["007"], "token": ["word"], "weight": [0.5]})
        return made

    monkeypatch.setattr(kinds, "run", train)
    settings = cfg.Settings("laptop", ("twitter",), (0,))
    report = results.run_or_load(config, settings)
    assert {path.name for path in report.folder.iterdir()} >= {"predictions.csv.gz", "private", "extras"}
    frame = report.predictions()
    assert list(frame.columns) == ["row_key", "label", "prob_rumor", "log_odds", "split", "event", "image_group"]
    assert frame["log_odds"].tolist() == [0.1235, 40.0]
    assert frame["prob_rumor"].tolist() == [1 / (1 + np.exp(-0.1235)), 1.0]
    assert "prob_rumor" not in pd.read_csv(report.folder / "predictions.csv.gz"), "one number, one place"
    assert frame["row_key"].str.fullmatch("[0-9a-f]{12}").all()
    assert "row_key" in report.extra("relevance") and report.extra("tokens")["token"].item() == "word"
    committed = [p for p in report.folder.rglob("*.csv") if p.parent.name != "private"]
    assert not any("word" in path.read_text() for path in committed)
    before = (report.folder / "predictions.csv.gz").read_bytes()
    results.run_or_load(config, dataclasses.replace(settings, train="all"))
    assert (report.folder / "predictions.csv.gz").read_bytes() == before


# --- frames, tables, figures --------------------------------------------------------------------


def test_a_table_is_byte_identical_when_built_again(trainer: Trainer, output: Path) -> None:
    frame = pd.DataFrame({"model": ["MICC"], "accuracy": [0.12345678], "n": [3]})
    contents = []
    for mode in ("missing", "all"):
        report = results.run_or_load(STAGE1, again(mode))
        path = artifacts.save_table(frame, "m_e2", [report], "demo", note="three | bars")
        contents.append({p.name: p.read_bytes() for p in path.parent.iterdir()})
    assert len(trainer.calls) == 2 and contents[0] == contents[1]
    assert set(contents[0]) == {"m_e2.csv", "m_e2.md", provenance.FILE}
    said = json.loads(contents[0][provenance.FILE])["m_e2"]
    assert said["runs"] == {report.name: report.fingerprint}
    assert said["function"] == "rumorlib.studies.scores.comparison.main_table" and said["rows"] is None
    assert str(output) not in contents[0][provenance.FILE].decode()


def test_provenance_says_which_runs_a_row_is_of(trainer: Trainer, output: Path) -> None:
    report = results.run_or_load(STAGE1, DEMO)
    frame = pd.DataFrame({"model": ["SCLIP"], "accuracy": [0.5], provenance.RUNS: [provenance.run_names([report])]})
    table = provenance.by_runs(frame, "model")
    path = artifacts.save_table(table, "my_table", [report], "demo", caption="A table of mine")
    said = provenance.entries(path.parent)["my_table"]
    assert (said["function"], said["rows"]) == ("", [[0]]) and "runs" not in path.read_text(encoding="utf-8")
    strange = provenance.by_runs(frame.assign(**{provenance.RUNS: [["other/run"]]}), "model")
    with pytest.raises(ValueError, match="not among its reports: other/run"):
        artifacts.save_table(strange, "my_table", [report], "demo", caption="A table of mine")


def test_notebooks_that_write_to_one_folder_at_once_keep_each_others_provenance(tmp_path: Path) -> None:
    names = [f"t_{n}" for n in range(24)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: provenance.enter(tmp_path, {name: {"id": name}}), names))
    assert provenance.entries(tmp_path) == {name: {"id": name} for name in names}
    assert [path.name for path in tmp_path.iterdir()] == [provenance.FILE]


def test_damaged_provenance_is_refused_and_stays(tmp_path: Path) -> None:
    (tmp_path / provenance.FILE).write_text("<<<<<<< ours\n{}")
    with pytest.raises(ValueError):
        provenance.enter(tmp_path, {"m_e2": {}})
    assert (tmp_path / provenance.FILE).read_text().startswith("<<<")


def test_another_result_changes_the_fingerprint(trainer: Trainer, monkeypatch: pytest.MonkeyPatch) -> None:
    first = results.run_or_load(STAGE1, DEMO)
    monkeypatch.setattr(kinds, "run", lambda config, *_: outcome(config, accuracy=0.76))
    second = results.run_or_load(STAGE1, again("all"))
    assert first.fingerprint != second.fingerprint


def test_tables_name_the_runs_whose_probabilities_are_saturated(
    trainer: Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    new = results.run_or_load(CONFIG, DEMO)
    assert new.predictions()["prob_rumor"].max() == 1, "sure, and its log-odds are known"
    frame = pd.DataFrame({"model": ["MICC"], "accuracy": [0.75]})
    path = artifacts.save_table(frame, "m_e2", [new], "demo")
    before = [file.read_bytes() for file in (path, path.with_suffix(".md"), path.with_name(provenance.FILE))]
    assert b"saturated" not in b"".join(before)
    assert artifacts.marks(new) == {} and artifacts.saturation(new).empty
    old = {}
    for seed, prob in enumerate(([0.1235, 0.5], [0.9999, 0.0], [1.0, 1.0])):
        old[seed] = as_before(results.run_or_load(dataclasses.replace(CONFIG, seed=seed), DEMO), prob)
    assert [list(artifacts.marks(old[seed])) for seed in old] == [[], ["saturated"], ["saturated"]]
    found = artifacts.saturation(old[1])
    assert found.values.tolist() == [["test", 0.5, 2]] and list(found) == ["split", "share", "n"]
    assert path == artifacts.save_table(frame, "m_e2", list(old.values()), "demo", note="A note.")
    assert path.read_bytes() == before[0], "the csv is as it was"
    *_, note, _, said = path.with_suffix(".md").read_text().splitlines()
    assert note == "A note." and said.startswith("2 of 3 runs, until made anew: 1 % or more of the stored")
    marked = provenance.entries(path.parent)["m_e2"]["marks"]
    assert list(marked["saturated"].values()) == [[old[1].name, old[2].name]] and len(marked) == 1

    monkeypatch.setitem(artifacts.MARKS, "young", lambda report: "" if report.config.seed else "of seed 0")
    artifacts._KNOWN.clear()
    assert artifacts.marked_runs(list(old.values())) == {**marked, "young": {"of seed 0": [old[0].name]}}
    artifacts._KNOWN.clear()


def test_tables_say_what_was_changed_since_their_runs_were_made(
    trainer: Trainer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = results.run_or_load(CONFIG, DEMO)
    lines = ["since,runs,what,why", "2999-01-01T00:00:00+00:00,micc/demo-*,labels were mended,C99",
             "2001-01-01T00:00:00+00:00,micc/*,before it was made,C1",
             "2999-01-01T00:00:00+00:00,dmfl/*,another,C2"]  # fmt: skip
    (tmp_path / "changes.csv").write_text("\n".join(lines))
    monkeypatch.setattr(reports, "CHANGES", tmp_path / "changes.csv")
    path = artifacts.save_table(pd.DataFrame({"a": [1]}), "m_e2", [report], "demo")
    *_, said = path.with_suffix(".md").read_text().splitlines()
    assert said == "All runs, until made anew: labels were mended (C99)."
    artifacts._KNOWN.clear()


def test_artifacts_must_be_in_the_index_and_of_their_profile(trainer: Trainer, output: Path) -> None:
    frame = pd.DataFrame({"a": [1]})
    with pytest.raises(KeyError, match="m_e99"):
        artifacts.save_table(frame, "m_e99", [], "demo")
    report = results.run_or_load(STAGE1, DEMO)
    with pytest.raises(ValueError, match="another profile"):
        artifacts.save_table(frame, "m_e2", [report], "laptop")
    with pytest.raises(ValueError, match="profile must be"):
        artifacts.save_table(frame, "m_e2", [], "../../escape")
    for escape in ("../../escape", "My table", ""):
        with pytest.raises(ValueError, match="small letters"):
            artifacts.save_table(frame, escape, [], "demo", caption="mine")
    assert not list(output.glob("results/*/tables"))
    path = artifacts.save_table(frame, "my_table", [report], "demo", caption="A table of mine")
    assert path.parent == output / "results" / "demo" / "tables"
    assert (
        path.with_suffix(".md").read_text(encoding="utf-8").startswith("**my_table** (ours -, demo profile): A table")
    )


def test_cells_can_neither_compute_nor_mark_up(output: Path) -> None:
    nasty = ["=1+1", "@SUM(A1)", "-cmd|' /C calc'", "<script>x</script>", "a|b", "-", "-0.5", "+1.65"]
    frame = pd.DataFrame({"=name": nasty, "n": range(len(nasty))})
    path = artifacts.save_table(frame, "m_e2", [], "demo")
    with path.open(newline="") as file:
        header, *rows = csv.reader(file)
    assert header[0] == "'=name"
    cells = [row[0] for row in rows]
    assert cells == ["'=1+1", "'@SUM(A1)", "'-cmd|' /C calc'", "<script>x</script>", "a|b", "-", "-0.5", "+1.65"]
    text = path.with_suffix(".md").read_text()
    assert "<script>" not in text and r"a\|b" in text


def test_infinity_and_missing_values_print_as_nothing() -> None:
    frame = pd.DataFrame({"a": [float("nan"), float("inf"), 0.5]})
    assert artifacts.spreadsheet_safe(frame)["a"].tolist() == ["", "", "0.5"]


def test_an_index_with_data_is_refused(output: Path) -> None:
    frame = pd.DataFrame({"model": ["a"], "accuracy": [0.5]})
    with pytest.raises(ValueError, match="reset_index"):
        artifacts.save_table(frame.set_index("model"), "m_e2", [], "demo")
    assert not output.exists()


@pytest.mark.parametrize(("title", "shown"), [("A", "A (demo profile)"), ("A, demo profile", "A, demo profile")])
def test_a_demo_figure_says_so(output: Path, title: str, shown: str) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    fig, axes = plt.subplots()
    axes.plot([0, 1])
    axes.set_title(title)
    path = artifacts.save_figure(fig, "m_e4", pd.DataFrame({"x": [0, 1]}), [], "demo")
    plt.close(fig)
    assert axes.get_title() == shown
    assert path == output / "figures/demo/m_e4.png"
    assert {p.name for p in path.parent.iterdir()} == {"m_e4.png", "m_e4.csv", provenance.FILE}


def test_a_run_without_predictions_is_kept_on_real_corpora(tmp_path: Path) -> None:
    """Stage 1 has none: writing it at profile laptop once failed after the training was done."""
    from rumorlib.results import runs
    from rumorlib.training.fitting import Outcome

    config = cfg.RunConfig(model="sclip", dataset="captions", profile="laptop")
    runs.write_run(tmp_path / "run", config, Outcome(metrics={"dev": {"recall": 0.5}}), 1.0)
    assert runs.read_report(tmp_path / "run", config)["metrics"] == {"dev": {"recall": 0.5}}


# --- A trained detector read back from its run's folder is the one whose predictions stand ther ---


def test_weights_give_the_predictions_of_the_run(few_drawn: cfg.Settings) -> None:
    config = experiments.micc(few_drawn, "demo-en")
    model, tensors, posts = trained.micc(config, few_drawn)
    assert not model.training
    stored = results.run_or_load(config, dataclasses.replace(few_drawn, train="none")).predictions()
    shown = posts["split"].ne("train").to_numpy()
    assert stored["post_id"].tolist() == posts.loc[shown, "post_id"].tolist()
    np.testing.assert_allclose(fitting.predict(model, tensors)[shown], stored["log_odds"], atol=2e-4)


def test_dmfl_comes_back_as_it_was(few_drawn: cfg.Settings) -> None:
    config = experiments.dmfl(few_drawn, "demo-en")
    model, tensors, posts = trained.dmfl(config, few_drawn)
    stored = results.run_or_load(config, dataclasses.replace(few_drawn, train="none")).predictions()
    shown = posts["split"].ne("train").to_numpy()
    np.testing.assert_allclose(fitting.predict(model, tensors)[shown], stored["log_odds"], atol=2e-4)
