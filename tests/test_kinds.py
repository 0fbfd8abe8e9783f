"""A run is its config, on its posts, pictures and weights, under today's equations: nothing else decides a result."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from rumorlib import config as cfg
from rumorlib import experiments, results
from rumorlib.__main__ import main
from rumorlib.config.profiles import HEADS
from rumorlib.experiments import benches, rivals
from rumorlib.inputs import content
from rumorlib.models.attention import MultiHeadAttention
from rumorlib.models.micc import ScaleAwareFusion
from rumorlib.results import migrations, reports, runs
from rumorlib.training import computation, kinds

ONE_EPOCH = cfg.TrainConfig(epochs=1, batch_size=16, lr=1e-3)
HEAD = replace(HEADS["demo"], n_seeds=2, epochs=2)
PLUGIN = """
from torch import nn

class Plain(nn.Module):
    def __init__(self, given):
        super().__init__()
        self.out = nn.Linear(given.d_text, 1)

    def log_odds(self, batch):
        return self.out(batch.text_features.float()).squeeze(-1)

    def training_loss(self, batch):
        return {"loss": nn.functional.binary_cross_entropy_with_logits(self.log_odds(batch), batch.label)}
"""


def one_of_every_kind(settings: cfg.Settings) -> dict[str, cfg.RunConfig]:
    """A small demo run for every line of kinds.BUILDERS, stage 1 and parents among them."""
    from rumorlib.experiments import added

    small = {"n_train": 60, "train": ONE_EPOCH}
    stage1 = replace(experiments.sclip(settings, "en"), **small)
    micc = replace(experiments.micc(settings, "demo-en", stage1=stage1), **small)
    found = [
        stage1, micc, *(replace(one, stage1=stage1, **small) for one in rivals.main(settings)[:6]),
        dmfl := replace(experiments.dmfl(settings, "demo-en"), stage1=stage1, **small),
        replace(dmfl, kind="heads", variant="heads", parent=dmfl),
        replace(added.detector(settings, "demo-en", "plain:Plain"), stage1=stage1, **small),
        words := cfg.RunConfig("baseline", "demo-en", detector=cfg.BaselineConfig("tfidf_lr"), n_train=60),
        replace(words, kind="draws", variant="draws"),
        replace(micc, kind="distil", variant="student", parent=micc, distillation=cfg.DistillationConfig()),
        experiments.compressed(micc, "pruned-50"),
        replace(micc, kind="exchange", variant="exchanged", parent=micc),
        replace(micc, kind="damage", variant="damaged", parent=micc),
        benches.plan(settings, "demo-en", "exchange", "exchanged", cfg.BaselineConfig("text_image_lr")),
        benches.plan(settings, "demo-en", "anatomy", "honest", replace(HEAD, readings=("test", "test_epoch"))),
        benches.plan(settings, "demo-en", "dose", "leak=0.5", replace(HEAD, leak="same scene and claim", dose=0.5)),
    ]  # fmt: skip
    return {f"{one.kind} {one.model}": one for one in found}


IN_A_FRESH_PROCESS = """
import json, sys
import pytest
from rumorlib import config, results
import rumorlib.__main__, conftest
conftest.use_few_scenes(pytest.MonkeyPatch())
settings = config.resolve("demo", ["demo-en"])
for line in open(sys.argv[1]):
    stored = config.from_dict(json.load(open(line.strip())))
    report = results.run_or_load(stored, settings)
    print(json.dumps([f"{stored.kind} {stored.model}", report.fingerprint, report.facts["content"]]))
"""


@pytest.mark.slow
def test_config_json_alone_gives_every_kind_of_run_again(
    few_drawn: cfg.Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "plain.py").write_text(PLUGIN)
    monkeypatch.syspath_prepend(tmp_path)
    settings, asked = few_drawn, one_of_every_kind(few_drawn)
    need_twitter = {("select", "bench")}  # cross-fit folds are Twitter's
    assert {(one.kind, one.model) for one in asked.values()} == set(kinds.BUILDERS) - need_twitter
    made = {name: results.run_or_load(one, settings) for name, one in asked.items()}
    means = {cfg.record("demo-en").label_means}  # but for captions, which have no label
    assert {one.facts.get("label_means") for one in made.values() if one.config.model != "sclip"} == means
    (tmp_path / "list").write_text("\n".join(str(one.folder / "config.json") for one in made.values()))
    folders = map(str, (cfg.PROJECT_ROOT, tmp_path, Path(__file__).parent))
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(folders), "RUMORLIB_OUTPUT": str(tmp_path / "second"),
        "RUMORLIB_CACHE": str(tmp_path / "cache2"), "OMP_NUM_THREADS": str(torch.get_num_threads()),
    }  # fmt: skip
    done = subprocess.run([sys.executable, "-c", IN_A_FRESH_PROCESS, str(tmp_path / "list")], cwd=tmp_path,
                          env=environment, capture_output=True, text=True)  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    again = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('["')]
    assert len(again) == len(made)
    for name, fingerprint, hashes in again:
        assert (fingerprint, hashes) == (made[name].fingerprint, made[name].facts["content"]), name


def test_a_kind_that_a_model_has_not_is_refused() -> None:
    config = cfg.RunConfig("dmfl", "demo-en", kind="exchange", detector=cfg.DMFLConfig())
    with pytest.raises(ValueError, match="no run of kind 'exchange' of model 'dmfl'"):
        kinds.run(config, cfg.resolve("demo"))


# --- equations ----------------------------------------------------------------------------------


@cache
def every_network() -> dict[str, cfg.RunConfig]:
    settings = cfg.resolve("demo", ["demo-en"])
    lists = (experiments.stage1_runs, experiments.micc_ablations, experiments.micc_main, experiments.dmfl_main,
             experiments.dmfl_ablations, rivals.main, experiments.baselines)  # fmt: skip
    found = [config for make in lists for config in make(settings)]
    return {f"{one.model} {one.variant}": one for one in found if one.seed == 0}


def test_a_fingerprint_is_of_the_computation_alone() -> None:
    """Not of the seed, the corpus, the training's length or what torch drew before."""
    wrong = []
    for name, config in every_network().items():
        first = computation.fingerprint(config)
        computation._computed.cache_clear()
        torch.manual_seed(5)
        again = computation.fingerprint(replace(config, seed=3, dataset="demo-zh", train=ONE_EPOCH))
        finite = first["loss"] > 0 and all(np.isfinite(value) for value in first.values())
        wrong += [f"{name}: {first}, {again}"] * (again != first or not finite)
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("name", ["micc default", "dmfl default", "safe default", "sclip default"])
def test_a_fingerprint_is_that_of_another_network_of_the_same_equations(name: str) -> None:
    """Its loss is the golden loss of the config: built anew by hand, it is the same."""
    config = every_network()[name]
    made = dict(computation.fingerprint(config))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model, batch = computation.build(replace(config, dataset="made", variant="made", seed=0))
        torch.manual_seed(1)
        assert float(model.train().training_loss(batch)["loss"].detach()) == pytest.approx(made["loss"], rel=1e-5)


def sigmoid_for_softmax(monkeypatch: pytest.MonkeyPatch) -> None:
    original = ScaleAwareFusion.forward

    def forward(self, patches, relevance, *rest):
        with monkeypatch.context() as patch:
            patch.setattr(torch.Tensor, "softmax", lambda scores, dim: scores.sigmoid())
            return original(self, patches, relevance, *rest)

    monkeypatch.setattr(ScaleAwareFusion, "forward", forward)


def scores_not_scaled(monkeypatch: pytest.MonkeyPatch) -> None:
    original = MultiHeadAttention.forward

    def forward(self, query, *rest, **named):
        return original(self, query * 4, *rest, **named)

    monkeypatch.setattr(MultiHeadAttention, "forward", forward)


@pytest.mark.parametrize(("name", "edit"), [("micc default", sigmoid_for_softmax), ("dmfl default", scores_not_scaled)])
def test_an_equation_edited_in_place_is_refused(
    name: str, edit: Callable, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = replace(every_network()[name], stage1=None) if name.startswith("dmfl") else every_network()[name]
    facts = {"computation": computation.fingerprint(config), "split_hash": "a"}
    written(config, facts)
    settings = cfg.resolve("demo", ["demo-en"], train="none")
    monkeypatch.setattr(content, "changed", lambda *_: [])
    assert results.run_or_load(config, settings).facts["computation"] == facts["computation"]
    computation._computed.cache_clear()
    edit(monkeypatch)
    with pytest.raises(runs.StaleRun, match=r"made by other equations.*train='all'"):
        results.run_or_load(config, settings)
    computation._computed.cache_clear()


def written(config: cfg.RunConfig, facts: dict) -> Path:
    """A finished run of one post."""
    from rumorlib.training.fitting import Outcome

    predictions = pd.DataFrame({"post_id": ["1"], "label": [1], "log_odds": [0.5], "split": ["test"]})
    folder = results.run_folder(config)
    runs.write_run(folder, config, Outcome({"test": {"accuracy": 1.0}}, predictions=predictions, facts=facts), 1.0)
    return folder


# --- posts, pictures and weights ------------------------------------------------------------------


def manifest(folder: Path, texts: list[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    sides = ["train"] * 24 + ["dev"] * 8 + ["test"] * 8
    frame = pd.DataFrame({"id": range(40), "text": texts, "label": [i % 2 for i in range(40)], "split": sides})
    frame.to_csv(folder / "manifest.csv", index=False)


def test_texts_changed_under_their_ids_are_refused_or_trained_anew(
    output: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stored accuracy was given without a word: of other posts."""
    monkeypatch.setenv("RUMORLIB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(reports, "_TRAINED", set())
    telling = [f"{'true' if i % 2 else 'false'} word{i} of story {i % 5}" for i in range(40)]
    manifest(tmp_path / "data", telling)
    (tmp_path / "data" / "corpus.toml").write_text('label_means = "a made-up story"')
    config = cfg.RunConfig("baseline", "manifest", profile="laptop", detector=cfg.BaselineConfig("tfidf_lr", 1.0))
    settings = cfg.Settings("laptop", ("manifest",), (0,), data_root=tmp_path / "data")
    before = results.run_or_load(config, settings)
    assert before.metrics["test"]["accuracy"] == 1.0 and before.facts["label_means"] == "a made-up story"
    assert results.run_or_load(config, settings) == before
    manifest(tmp_path / "data", [text.replace("true", "same").replace("false", "same") for text in telling])
    with pytest.raises(runs.StaleRun, match=r"other posts.*train='all'"):
        results.run_or_load(config, settings)
    anew = results.run_or_load(config, replace(settings, train="all"))
    assert anew.metrics["test"]["accuracy"] < 0.9 and anew.facts["content"] != before.facts["content"]
    assert results.run_or_load(config, replace(settings, train="none", data_root=None)).metrics == anew.metrics


def test_a_picture_or_a_weight_changed_under_its_name_is_noticed(tmp_path: Path, monkeypatch) -> None:
    config = every_network()["micc default"]
    stored = {"posts": "a", "pictures": "b", "weights minilm": "c"}
    monkeypatch.setattr(content, "of_run", lambda *_: stored | {"pictures": "x", "weights minilm": "y"})
    assert content.changed(stored, config, cfg.resolve("demo")) == ["pictures", "weights minilm"]
    folder = tmp_path / "weights"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(b"one")
    first = content.of_weights(folder)
    (folder / "model.safetensors").write_bytes(b"two")
    os.utime(folder / "model.safetensors", ns=(1, 1))
    assert content.of_weights(folder) != first


def test_the_weights_that_a_config_names_are_found() -> None:
    settings = cfg.resolve("laptop", train="none")
    assert content.weights(experiments.sclip(settings, "en")) == {"all-MiniLM-L6-v2", "mobilenet_v2_1.0_224"}
    assert content.weights(experiments.dmfl(settings, "twitter")) == {"mobilenet_v2_1.0_224"}
    assert content.weights(cfg.RunConfig("baseline", "twitter", detector=cfg.BaselineConfig("tfidf_lr"))) == set()


# --- results of earlier versions --------------------------------------------------------------------


def as_before(config: cfg.RunConfig) -> dict:
    """A config as it was stored before runs had a kind: fields of today left out."""
    stored = cfg.as_dict(config)
    for run in (stored, stored.get("stage1"), stored.get("parent")):
        if run:
            run.pop("kind")
            for name in ("steps", "min_epochs", "evaluate_every", "patience_steps", "warmup_steps"):
                run["train"].pop(name)
            if run.get("sclip"):
                run["sclip"].pop("mask_twins")
            for name in ("readings", "leak", "dose"):
                (run["detector"] or {}).pop(name, None)
    return stored


def before(config: cfg.RunConfig) -> Path:
    """A finished run as an earlier version wrote it."""
    folder = written(config, {"split_hash": "a"})
    (folder / "config.json").write_text(json.dumps(as_before(config)))
    report = json.loads((folder / "report.json").read_text()) | {"config_hash": "0" * 16}
    (folder / "report.json").write_text(json.dumps(report))
    (folder / "DONE").write_text("0" * 16 + "\n")
    return folder


def test_a_results_folder_of_an_earlier_version_is_refused_and_carried_over(
    output: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    settings = cfg.resolve("demo", ["demo-en"], train="none")
    stage1 = experiments.sclip(settings, "en")
    old = replace(stage1, sclip=replace(stage1.sclip, mask_twins=False))
    config = experiments.micc(settings, "demo-en", stage1=old)
    folder = before(config)
    predictions = (folder / "predictions.csv").read_bytes()
    with pytest.raises(runs.StaleRun, match=r"(?s)an earlier version.*python -m rumorlib migrate"):
        results.run_or_load(config, settings)
    shutil.copytree(output, tmp_path / "copy")
    assert main(["migrate", str(output)]) == 0
    said = capsys.readouterr().out
    assert "kind: stored 'absent', now 'train'" in said and "    1 runs: " in said and "would be carried over" in said
    assert before_and_after(output, tmp_path / "copy"), "without --write nothing is written"
    assert main(["migrate", str(output), "--write"]) == 0
    report = results.run_or_load(config, settings)
    assert report.metrics == {"test": {"accuracy": 1.0}}
    assert (folder / "predictions.csv").read_bytes() == predictions
    assert main(["migrate", str(output)]) == 0 and "every run is of this version" in capsys.readouterr().out


def before_and_after(*folders: Path) -> bool:
    contents = [{path.relative_to(root): path.read_bytes() for path in root.rglob("*") if path.is_file()}
                for root in folders]  # fmt: skip
    return contents[0] == contents[1]


@pytest.mark.parametrize(
    ("variant", "protocol", "kind", "fields"),
    [
        ("honest", "", "anatomy", {"readings": ["test"], "dose": 0.0}),
        ("plain", "random", "anatomy", {"readings": ["test", "test_epoch"]}),
        ("told", "random", "anatomy", {"readings": ["test_epoch"]}),
        ("same-picture=0.25", "", "dose", {"leak": "same picture", "dose": 0.25}),
        ("dose=0", "", "dose", {"leak": "", "dose": 0.0}),
        ("MLP-both-lr=0.001", "", "select", {"readings": ["test"]}),
    ],
)
def test_the_name_of_an_old_bench_run_says_its_kind(variant: str, protocol: str, kind: str, fields: dict) -> None:
    config = cfg.RunConfig("bench", "twitter", variant, profile="laptop", detector=HEAD, protocol=protocol)
    new = migrations.upgraded(as_before(config))
    assert new["kind"] == kind and new["detector"].items() >= fields.items()
    assert migrations.upgraded(new) == new


def test_fields_of_ours_leave_the_old_config_of_micc() -> None:
    """Compressed, distilled and controlled runs as before and as today are one."""
    settings = cfg.resolve("demo", ["demo-en"], train="none")
    both, _, student = experiments.micc_sizes(settings, "demo-en", 0, "product")
    ours = {"selection": "relevance", "keep": "k", "relevance_mass": 0.5, "compression": "fp32", "pruned": 0.0,
            "distil": 0.0, "distil_temperature": 2.0}  # fmt: skip

    def old(config: cfg.RunConfig, **values: Any) -> dict:
        stored = cfg.as_dict(config)
        for run in filter(None, (stored, stored["stage1"], stored["parent"])):
            _, taught = run.pop("compression"), run.pop("distillation")
            if run["model"] == "micc":
                run["detector"].pop("controls")
                run["detector"] |= ours | {"distil": 0.5 if taught else 0.0}
        stored["detector"] |= values
        return stored

    mass = replace(both.detector, controls=cfg.ControlConfig(keep="mass", relevance_mass=0.9))
    for config, values in (
        (both, {}), (student, {"distil": 0.5}), (replace(both, detector=mass), {"keep": "mass", "relevance_mass": 0.9}),
        (experiments.compressed(both, "int8"), {"compression": "int8"}),
        (experiments.compressed(student, "pruned-80"), {"pruned": 0.8}),
    ):  # fmt: skip
        assert cfg.from_dict(migrations.upgraded(old(config, **values))) == config
        assert not migrations.is_old(cfg.as_dict(config))


def test_a_config_of_no_version_is_named(output: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = before(every_network()["safe default"])
    (folder / "config.json").write_text('{"model": "oracle"}')
    assert main(["migrate", str(output), "--write"]) == 2
    assert "fits no version" in capsys.readouterr().err and (folder / "report.json").is_file()


@pytest.mark.parametrize("model", cfg.OTHERS)
def test_detectors_of_other_authors_leave_configs_of_their_own(model: str) -> None:
    run = cfg.as_dict(rivals.rival(cfg.resolve("laptop", train="none"), "twitter", model))
    read = {name: run["detector"][name] for name in ("word2vec", "image", "image_components")}
    if read["word2vec"] is None:  # those of fixed features had no words and image rows
        read = {}
    old = run | {"detector": dict(run["detector"]["options"]) | read}
    assert migrations.is_old(old) and migrations.upgraded(old) == run == migrations.upgraded(run)
