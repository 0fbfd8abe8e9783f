"""A run that was stopped goes on from its checkpoints: bit by bit the run that never stopped, whatever was damaged."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load, save

from rumorlib import experiments, results
from rumorlib.config import CORPORA, RunConfig, Settings, TrainConfig, resolve
from rumorlib.data import files, sealed
from rumorlib.experiments import rivals
from rumorlib.results import reports, runs
from rumorlib.training import checkpoints, kinds, loop
from rumorlib.training.fitting import Outcome
from tests.test_training import Counter


def place(folder: Path, every_s: float = 0.0, about: str = "same") -> checkpoints.Place:
    return checkpoints.Place(folder, lambda: {"config": about}, every_s)


@pytest.fixture
def every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """Writing may take all the time, and every checkpoint stays."""
    monkeypatch.setattr(checkpoints, "MOST_SHARE", np.inf)
    monkeypatch.setattr(checkpoints, "KEPT", 1000)


# --- whole runs ---------------------------------------------------------------------------------

FEW = TrainConfig(epochs=3, batch_size=40, lr=2e-3, warmup_steps=2, patience=1, precision="fp32", grad_clip=1.0)
LOOKS = dataclasses.replace(FEW, evaluate_every=2, steps=7, patience=None, patience_steps=4)


def sclip(settings: Settings) -> RunConfig:
    one = experiments.micc(settings, "demo-en").stage1
    return dataclasses.replace(one, train=dataclasses.replace(FEW, batch_size=12, captions_per_image=2))


def micc(settings: Settings) -> RunConfig:
    return dataclasses.replace(experiments.micc(settings, "demo-en"), train=FEW)


def dmfl(settings: Settings) -> RunConfig:
    train = dataclasses.replace(LOOKS, record_epochs=(1, 2))
    return dataclasses.replace(experiments.dmfl(settings, "demo-en"), train=train)


def rival(settings: Settings) -> RunConfig:
    return dataclasses.replace(rivals.rival(settings, "demo-en", "safe"), train=LOOKS)


def made(config: RunConfig, settings: Settings, at: checkpoints.Place | None) -> Outcome:
    weights = []
    if config.stage1:
        weights = [results.run_or_load(config.stage1, settings, checkpoint=True).checkpoint()]
    if at is None:
        return kinds.run(config, settings, *weights)
    with checkpoints.kept_in(at):
        return kinds.run(config, settings, *weights)


def assert_same(one: Outcome, other: Outcome) -> None:
    assert one.metrics == other.metrics and one.facts == other.facts
    pd.testing.assert_frame_equal(one.history, other.history, check_exact=True)
    pd.testing.assert_frame_equal(one.predictions, other.predictions, check_exact=True)
    assert one.extras.keys() == other.extras.keys()
    for name, frame in one.extras.items():
        pd.testing.assert_frame_equal(frame, other.extras[name], check_exact=True)
    assert one.state.keys() == other.state.keys()
    assert all(torch.equal(value, other.state[name]) for name, value in one.state.items())


@pytest.mark.slow
@pytest.mark.parametrize("config", [sclip, micc, dmfl, rival])
def test_a_resumed_run_is_the_uninterrupted_one_from_every_step(
    config: Callable[[Settings], RunConfig], few_drawn: Settings, tmp_path: Path, every_step: None
) -> None:
    asked = config(few_drawn)
    straight = made(asked, few_drawn, None)
    assert_same(made(asked, few_drawn, place(tmp_path / "all")), straight)
    found = sorted((tmp_path / "all").glob("*.json"))
    steps = straight.history["step"].iloc[-1]
    assert len(found) == steps >= 6
    for seal in found:
        alone = tmp_path / seal.stem
        alone.mkdir()
        for file in (seal, seal.with_suffix(".safetensors")):
            shutil.copy(file, alone)
        at = place(alone, every_s=1e9)
        assert_same(made(asked, few_drawn, at), straight)
        assert at.resumed == 1


class Stopped(Exception):
    """Stands for the end of a process."""


def test_a_stopped_run_is_finished_by_the_next_call_and_leaves_no_checkpoint(
    few_drawn: Settings, every_step: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, settings = micc(few_drawn), dataclasses.replace(few_drawn, checkpoint_minutes=0)
    straight = made(asked, few_drawn, None)
    asked = dataclasses.replace(asked, variant="stopped")
    left, really = 4, loop._step

    def step(*given: object) -> None:
        nonlocal left
        left -= 1
        if not left:
            raise Stopped
        really(*given)

    monkeypatch.setattr(loop, "_step", step)
    with pytest.raises(Stopped):
        results.run_or_load(asked, settings)
    assert len(list(runs.unfinished(asked).glob("*.json"))) == 3 and not reports.run_folder(asked).exists()
    report = results.run_or_load(asked, settings)
    assert report.facts == report.facts | straight.facts and report.metrics == straight.metrics
    assert "resumed" in (report.folder / "report.json").read_text() and not runs.unfinished(asked).exists()


# --- when they are written ------------------------------------------------------------------------


def count(at: checkpoints.Place | None, stop: int | None = None, train: TrainConfig = FEW) -> tuple[Counter, loop.Fit]:
    """Ten passes of three batches of a model with one weight, stopped in a step."""
    model, really, seen = Counter(), Counter.training_loss, []

    def loss(batch: float) -> dict[str, torch.Tensor]:
        seen.append(batch)
        if len(seen) == stop:
            raise Stopped
        return really(model, batch * torch.rand(1))  # as dropout, it draws

    model.training_loss = loss
    torch.manual_seed(0)
    fitted = loop.fit(
        model,
        lambda generator: torch.rand(3, generator=generator).unbind(),
        3,
        lambda: {"loss": (model.weight.item() - 0.3) ** 2},
        dataclasses.replace(train, epochs=4, patience=3),
        seed=5,
        place=at,
    )
    return model, fitted


def test_any_step_before_a_look_at_dev_is_gone_on_from_the_last_one_too(
    tmp_path: Path, every_step: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints.Place, "is_due", lambda self, at_look=False: not (at_look or self.every_s))
    for name, train in {"passes": FEW, "windows": LOOKS}.items():
        straight, fitted = count(place(tmp_path / name), train=train)
        found = sorted((tmp_path / name).glob("*.json"))
        assert len(found) == fitted.history["step"].iloc[-1]
        for seal in found:
            for file in (seal, seal.with_suffix(".safetensors")):
                files.write_bytes(tmp_path / name / seal.stem / file.name, file.read_bytes())
            again, refitted = count(place(tmp_path / name / seal.stem, every_s=1e9), train=train)
            assert torch.equal(again.weight, straight.weight) and refitted.history.equals(fitted.history)


def test_the_one_before_takes_the_place_of_a_damaged_checkpoint(
    tmp_path: Path, every_step: None, caplog: pytest.LogCaptureFixture
) -> None:
    straight, fitted = count(None)
    with pytest.raises(Stopped):
        count(place(tmp_path), stop=8)
    *_, before, newest = sorted(tmp_path.glob("*.safetensors"))
    newest.write_bytes(newest.read_bytes()[:-1] + b"x")
    seal = before.with_suffix(".json")
    seal.write_text(seal.read_text().replace('"step": 6', '"step": 5'))
    again, refitted = count(place(tmp_path, every_s=1e9))
    assert torch.equal(again.weight, straight.weight) and refitted.history.equals(fitted.history)
    assert f"{newest} was changed" in caplog.text and f"{seal} was changed" in caplog.text
    assert "going on from step 5" in caplog.text


def test_a_checkpoint_of_other_data_or_code_is_not_gone_on_from(
    tmp_path: Path, every_step: None, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(Stopped):
        count(place(tmp_path, about="other"), stop=8)
    at = place(tmp_path, every_s=1e9)
    assert count(at)[1].history.equals(count(None)[1].history)
    assert "written with other config" in caplog.text and not at.resumed and not tmp_path.exists()


def test_two_are_kept_and_a_run_shorter_than_the_interval_writes_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    count(place(tmp_path / "short", every_s=60))
    assert not (tmp_path / "short").exists()
    monkeypatch.setattr(checkpoints, "MOST_SHARE", np.inf)
    count(place(tmp_path / "long"))
    assert len(list((tmp_path / "long").iterdir())) == 2 * checkpoints.KEPT


def test_writing_takes_a_fiftieth_of_the_time_at_most(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(checkpoints.time, "monotonic", lambda: now[0])
    at, really = place(tmp_path, every_s=10), sealed.write

    def slow(*given: object) -> None:
        now[0] += 3
        really(*given)

    monkeypatch.setattr(checkpoints.sealed, "write", slow)
    now[0] = 9
    assert not at.is_due() and at.is_due(at_look=True)
    at.write(1, {})
    now[0] += 140
    assert not at.is_due() and not at.is_due(at_look=True)
    now[0] += 11
    assert at.is_due() and at.is_due(at_look=True)


def test_a_full_disk_stops_no_training(
    tmp_path: Path, every_step: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(path: Path, content: bytes) -> str:
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(sealed.files, "write_bytes", full)
    assert count(place(tmp_path))[1].history.equals(count(None)[1].history)
    assert "free some space" in caplog.text


def test_a_state_comes_back_as_it_was() -> None:
    frame = pd.DataFrame({"a": np.float32([1, np.nan]), "b": ["x", None], "c": [1, 2], "d": [True, False]})
    state = {
        1: [np.inf, None, "word"],
        "t": torch.tensor([1.5], dtype=torch.bfloat16),
        "f": frame,
        "n": {"": np.arange(2)},
        "turned": [torch.ones(2, 3).T, np.ones((2, 3)).T],
    }
    tensors: dict[str, torch.Tensor] = {}
    packed = checkpoints.packed(state, tensors)
    found = checkpoints.unpacked(packed, load(save(tensors)))
    assert [one.shape for one in found["turned"]] == [(3, 2), (3, 2)]
    assert found[1] == state[1] and torch.equal(found["t"], state["t"]) and np.array_equal(found["n"][""], [0, 1])
    pd.testing.assert_frame_equal(found["f"], frame)
    with pytest.raises(TypeError, match="set is no state"):
        checkpoints.packed({1, 2}, {})


# --- what a run is of ---------------------------------------------------------------------------


@pytest.mark.parametrize("change", [("odd 1,", "even 1,"), ("1,1,train", "1,1,dev")], ids=["text", "side"])
def test_a_run_whose_posts_change_meanwhile_is_not_kept(
    change: tuple[str, str], tmp_path: Path, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its result would stand as one of the posts that lie there at its end."""
    manifest = tmp_path / "posts" / "manifest.csv"
    manifest.parent.mkdir()
    rows = [f"p{i},{'odd' if i % 2 else 'even'} {i},{i % 2},{'train' if i < 20 else 'dev' if i < 30 else 'test'}\n"
            for i in range(40)]  # fmt: skip
    manifest.write_text("id,text,label,split\n" + "".join(rows))
    settings = resolve("laptop", [f"mine={manifest.parent}"])
    run = experiments.baseline(settings, "mine", "tfidf_lr")
    really = kinds.BUILDERS["train", "baseline"]

    def changing(*given: object) -> Outcome:
        outcome = really(*given)
        manifest.write_text(manifest.read_text().replace(*change))
        return outcome

    monkeypatch.setitem(kinds.BUILDERS, ("train", "baseline"), changing)
    with pytest.raises(checkpoints.Changed, match=r"(posts|split).* changed while the run was made"):
        results.run_or_load(run, settings)
    assert reports.stored(run) is None and not (output / "results/laptop/test_ledger.csv").exists()
    monkeypatch.setitem(kinds.BUILDERS, ("train", "baseline"), really)
    assert results.run_or_load(run, settings).metrics["test"]["n"] == 10
    reports._TRAINED.clear()
    manifest.write_text(manifest.read_text().replace("3,1,train", "3,1,dev"))
    with pytest.raises(runs.StaleRun, match="another split"):
        results.run_or_load(run, settings)
    CORPORA.pop("mine")
