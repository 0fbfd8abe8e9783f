"""Two processes train a run as one does: same losses, same gradients, and only the first one writes."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from rumorlib import __main__ as command_line
from rumorlib import config as cfg
from rumorlib import experiments
from rumorlib.config import RunConfig, Settings, TrainConfig
from rumorlib.data import processes
from rumorlib.experiments import rivals
from rumorlib.results import ledger, reports, runs
from rumorlib.training import computation, loop
from tests.conftest import use_few_scenes

PLAIN = TrainConfig(precision="fp32", grad_clip=None)
MODELS = ("sclip", "micc", "dmfl", "safe")


def built(name: str) -> tuple[nn.Module, object]:
    """A model without dropout and a made batch of six posts (stage 1: pictures), in two languages for stage 1."""
    settings = Settings("demo", ("demo-en",), (0,))
    micc = experiments.micc(settings, "demo-en")
    config: RunConfig = {"sclip": lambda: micc.stage1, "micc": lambda: micc,
                         "dmfl": lambda: experiments.dmfl(settings, "demo-en"),
                         "safe": lambda: rivals.rival(settings, "demo-en", "safe")}[name]()  # fmt: skip
    torch.manual_seed(0)
    model, batch = computation.build(config)
    for part in model.modules():
        if isinstance(part, nn.Dropout):
            part.p = 0.0
        if isinstance(part, nn.MultiheadAttention):
            part.dropout = 0.0
    return model.train(), batch


def step(name: str) -> dict[str, torch.Tensor]:
    """Losses and gradients of a batch as the loop makes them, by name."""
    model, batch = built(name)
    losses = loop._backward(model, batch, PLAIN)
    gradients = {f"grad.{key}": p.grad for key, p in model.named_parameters() if p.grad is not None}
    return {f"loss.{key}": value for key, value in losses.items()} | gradients


def of_two(what: str, folder: Path, **environment: str) -> None:
    """Run this file's `child` in two processes. Raises: CalledProcessError-like assertion with what they said."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    told = os.environ | environment | {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2",
                                       "LOCAL_WORLD_SIZE": "2", "CUDA_VISIBLE_DEVICES": ""}  # fmt: skip
    words = [sys.executable, "-m", "tests.test_processes", what, str(folder)]
    started = [subprocess.Popen(words, cwd=cfg.PROJECT_ROOT, env=told | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
               for rank in range(2)]  # fmt: skip
    said = [one.communicate(timeout=240)[0] for one in started]
    assert [one.returncode for one in started] == [0, 0], "\n---\n".join(said)


def assert_close(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys()
    for name, value in one.items():
        torch.testing.assert_close(other[name], value, rtol=1e-5, atol=1e-5 * max(1.0, float(value.abs().max())))


@pytest.mark.slow
def test_losses_and_gradients_are_those_of_one_process(tmp_path: Path) -> None:
    """InfoNCE has all negatives, whichever process encoded them; a loss that is a mean over posts is the whole mean."""
    of_two("steps", tmp_path)
    for name in MODELS:
        for rank in range(2):
            assert_close(step(name), torch.load(tmp_path / f"{name}{rank}.pt"))


@pytest.mark.slow
def test_a_command_of_two_processes_makes_each_run_once_and_as_one_process_does(
    few_untrained: Settings, output: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    of_two("command", tmp_path, RUMORLIB_OUTPUT=str(output), RUMORLIB_RECOMPUTE="1")
    stage1 = experiments.micc(few_untrained, "demo-en").stage1
    told = json.loads((reports.run_folder(stage1) / "report.json").read_text())
    assert told["processes"] == 2 and not runs.unfinished(stage1).exists()
    made = [line["run"] for line in ledger.read("demo")]
    assert len(made) == len(set(made)) == 2 and not list(output.rglob("*.part"))
    two = pd.read_csv(reports.run_folder(stage1) / "history.csv")
    monkeypatch.setenv("RUMORLIB_OUTPUT", str(tmp_path / "one"))
    one = reports.run_or_load(stage1, few_untrained).history()
    pd.testing.assert_frame_equal(two, one, rtol=1e-3)


@pytest.mark.parametrize("parts", [2, 3, 6, 50])
@pytest.mark.parametrize("name", MODELS[1:])
def test_a_batch_in_parts_has_the_gradients_of_the_whole(
    name: str, parts: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = step(name)
    monkeypatch.setenv("RUMORLIB_PARTS", str(parts))
    assert_close(whole, step(name))


@pytest.mark.parametrize("given", ["0", "-1", "two", "1.5"])
def test_no_number_of_parts_is_refused(given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUMORLIB_PARTS", given)
    with pytest.raises(cfg.SettingError, match="RUMORLIB_PARTS"):
        cfg.parts_of_a_batch()


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("name", MODELS)
def test_layers_computed_again_give_the_same_bits(name: str, precision: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, batch = built(name)
    for part in model.modules():
        if isinstance(part, nn.Dropout):
            part.p = 0.3
    found = []
    for asked in ("0", "1"):
        monkeypatch.setenv("RUMORLIB_RECOMPUTE", asked)
        torch.manual_seed(5)
        model.zero_grad()
        with loop.recomputed(model):
            loop._backward(model, batch, replace(PLAIN, precision=precision))
        found.append({key: p.grad.clone() for key, p in model.named_parameters() if p.grad is not None})
    assert all(torch.equal(value, found[1][key]) for key, value in found[0].items())
    assert not any("forward" in vars(part) for part in model.modules())


@pytest.mark.parametrize(("n", "n_processes"), [(10, 1), (10, 3), (3, 3), (2, 3), (7, 2)])
def test_shares_are_the_batch(n: int, n_processes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each post once; where there are too few, each process has all of them and counts that much less."""
    monkeypatch.setattr(processes, "count", lambda: n_processes)
    for parts in (1, 2, 5):
        weight = np.zeros(n)
        for rank in range(n_processes):
            monkeypatch.setattr(processes, "index", lambda rank=rank: rank)
            for at, part in processes.shares(n, parts):
                weight[at] += part / (at.stop - at.start)
        np.testing.assert_allclose(weight, 1 / n)


def child(what: str, folder: Path) -> int:
    """In one of two processes."""
    with pytest.MonkeyPatch.context() as patch:
        if what == "command":
            use_few_scenes(patch)
            return command_line.main(["run", "--corpus", "demo-en", "--set", "micc.top_k=2", "-p", "seeds=[0]"])
        processes.join()
        for name in MODELS:
            torch.save(step(name), folder / f"{name}{processes.index()}.pt")
    return 0


if __name__ == "__main__":
    sys.exit(child(sys.argv[1], Path(sys.argv[2])))
