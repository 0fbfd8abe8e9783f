"""The training loop: what it keeps, what it records, what it refuses, and that a seed decides everything.

`golden_losses.json` holds the losses of a few fp32 steps on tiny models. A change that is not meant to touch the
numbers must not move them. After one that is: RUMORLIB_WRITE_GOLDEN=1 python -m pytest tests/test_training.py -k golden
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from rumorlib import config as cfg
from rumorlib import inputs
from rumorlib.config import DMFLConfig, SCLIPConfig, TextConfig, TrainConfig, VisionConfig
from rumorlib.data.batches import CaptionTensors, PostTensors, Texts
from rumorlib.encoders.sclip import SCLIP
from rumorlib.experiments import papers, rivals
from rumorlib.metrics import evaluation, learning
from rumorlib.models.dmfl import DMFL
from rumorlib.models.others.pieces import weighted_mean
from rumorlib.training import computation, loop
from rumorlib.training.loop import Fit, fit

GOLDEN = Path(__file__).with_name("golden_losses.json")
PLAIN = TrainConfig(epochs=4, lr=0.1, weight_decay=0.0, patience=None, warmup_share=0.0, precision="fp32")


class Counter(nn.Module):
    """One weight that plain descent raises; the dev loss is whatever the test dictates."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.seen: list[float] = []

    def training_loss(self, batch: float) -> dict[str, torch.Tensor]:
        return {"loss": (batch - self.weight).square().sum(), "extra": torch.tensor(2.0)}


def fit_counter(dev: list[float], train: TrainConfig) -> tuple[Counter, Fit, list[float]]:
    """Train with the given dev losses; also the weight at the end of each epoch."""
    model, after = Counter(), []
    todo = iter(dev)
    watcher = SimpleNamespace(after_epoch=lambda model, epoch: after.append(model.weight.item()))
    fitted = fit(
        model, lambda generator: [1.0, 1.0], 2, lambda: {"loss": next(todo), "accuracy": 0.5}, train, seed=0,
        watcher=watcher,
    )  # fmt: skip
    return model, fitted, after


# --- which epoch is kept ----------------------------------------------------------------------


def test_the_best_epoch_is_kept():
    model, fitted, after = fit_counter([0.5, 0.2, 0.3, 0.25], dataclasses.replace(PLAIN, patience=9))
    assert fitted.best_epoch == 2 and len(after) == 4
    assert model.weight.item() == after[1] != after[3] and not model.training


def test_the_first_of_equal_epochs_is_kept():
    assert fit_counter([0.5, 0.2, 0.2, 0.2], dataclasses.replace(PLAIN, patience=9))[1].best_epoch == 2


def test_without_patience_the_last_epoch_is_kept():
    model, fitted, after = fit_counter([0.1, 0.2, 0.3, 0.4], PLAIN)
    assert fitted.best_epoch == 4 and model.weight.item() == after[-1]


@pytest.mark.parametrize(("patience", "epochs"), [(1, 3), (2, 4), (3, 7)])
def test_stops_after_patience_epochs_without_a_better_one(patience, epochs):
    dev = [0.5, 0.3, 0.4, 0.4, 0.2, 0.3, 0.3, 0.3]
    _, fitted, after = fit_counter(dev, dataclasses.replace(PLAIN, epochs=7, patience=patience))
    assert len(after) == epochs and fitted.best_epoch == (5 if patience == 3 else 2)


def test_no_epochs_leave_the_model_as_it_is():
    model, fitted, _ = fit_counter([], dataclasses.replace(PLAIN, epochs=0))
    assert fitted.best_epoch == 0 and fitted.history.empty and model.weight.item() == 0 and not model.training


# --- what is recorded and refused ------------------------------------------------------------


def test_history_has_a_row_per_epoch():
    history = fit_counter([0.4, 0.3, 0.2, 0.1], PLAIN)[1].history
    assert list(history) == ["epoch", "step", "train_loss", "train_extra", "dev_loss", "dev_accuracy", "lr"]
    assert history["epoch"].tolist() == [1, 2, 3, 4] and history["dev_loss"].tolist() == [0.4, 0.3, 0.2, 0.1]
    assert history["train_extra"].eq(2).all() and history["train_loss"].is_monotonic_decreasing


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_is_an_error(bad):
    with pytest.raises(FloatingPointError, match=r"stage 1: loss is (nan|inf) by step 2; lower the lr"):
        fit(Counter(), lambda generator: [1.0, bad], 2, lambda: {"loss": 0.0}, PLAIN, seed=0, name="stage 1")


# --- optimiser and schedule -------------------------------------------------------------------


class Towered(nn.Module):
    """Stands for a detector whose `sclip` was trained before."""

    def __init__(self) -> None:
        super().__init__()
        self.sclip = nn.Linear(3, 3)
        self.head = nn.Linear(3, 1)
        self.sclip_head = nn.Linear(3, 1)  # not below `sclip.`

    def training_loss(self, batch: torch.Tensor) -> dict[str, torch.Tensor]:
        hidden = self.sclip(batch).tanh()
        return {"loss": (self.head(hidden) + self.sclip_head(hidden) - 1).square().mean()}


def test_tower_lr_scale_applies_below_sclip():
    model = Towered()
    optimizer = loop._optimizer(model, TrainConfig(lr=0.01, tower_lr_scale=0.1))
    rate = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    found = {name: rate[id(p)] for name, p in model.named_parameters()}
    assert found == {name: pytest.approx(1e-3 if name.startswith("sclip.") else 1e-2) for name in found}


def test_frozen_parameters_stay_and_a_tower_may_be_the_whole_model():
    model = Towered()
    model.sclip.requires_grad_(False)
    before = model.sclip.weight.clone()
    fit(model, lambda generator: [torch.ones(2, 3)], 1, lambda: {"loss": 0.0}, PLAIN, seed=0)
    assert torch.equal(model.sclip.weight, before)
    optimizer = loop._optimizer(model, PLAIN)
    assert sum(p.numel() for group in optimizer.param_groups for p in group["params"]) == 8
    model.sclip.requires_grad_(True)
    model.head.requires_grad_(False)
    model.sclip_head.requires_grad_(False)
    trained = [p for group in loop._optimizer(model, PLAIN).param_groups for p in group["params"]]
    assert {id(p) for p in trained} == {id(p) for p in model.sclip.parameters()}


def test_weight_decay_spares_norms_biases_positions_word_vectors_and_the_temperature():
    sclip = SCLIP(SMALL, {"en": 30})
    dmfl = DMFL(DMFLConfig(d_model=12, n_heads=2, d_head=3, logic_width=8, logic_depth=1, logic_heads=2,
                           image_positions=True), torch.randn(9, 6), 10, n_patches=4)  # fmt: skip
    for model in (sclip, dmfl):
        groups = loop._optimizer(model, TrainConfig(weight_decay=0.1)).param_groups
        decay = {id(p): group["weight_decay"] for group in groups for p in group["params"]}
        found = {name: decay[id(p)] > 0 for name, p in model.named_parameters()}
        spared = {name for name in found if not found[name]}
        assert all(p.ndim < 2 or name in spared for name, p in model.named_parameters() if "position" in name)
        assert {name for name, p in model.named_parameters() if p.ndim < 2} <= spared
        tables = {"text_towers.en.embed.weight", "text_towers.en.position", "image_tower.position.0", "logit_scale",
                  "image_tower.scale", "word_vectors.weight", "image_positions", "logic.position.weight"}  # fmt: skip
        assert tables & found.keys() <= spared
        assert {name for name in found if name.endswith(("linear1.weight", "classifier.weight", "in_proj_weight"))} <= (
            found.keys() - spared
        ) and len(spared) < len(found)


def test_the_recorded_rate_is_that_of_the_last_step():
    train = dataclasses.replace(PLAIN, epochs=2, warmup_share=0.5)  # four steps: half, whole, then the half cosine
    assert fit_counter([0.2, 0.1], train)[1].history["lr"].tolist() == pytest.approx([0.1, 0.05])


def test_the_train_loss_is_the_mean_over_posts():
    class Half(nn.Module):
        """Its loss is the share of rumors of a batch."""

        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(1))

        def training_loss(self, batch):
            return {"loss": batch.label.mean() + 0 * self.weight.sum()}

    data = posts(5)  # labels 0 1 0 1 0
    history = fit(Half(), lambda _: data.in_order(torch.arange(5), 4), 2, lambda: {"loss": 0.0},
                  dataclasses.replace(PLAIN, epochs=1), seed=0).history  # fmt: skip
    assert history["train_loss"].item() == pytest.approx(2 / 5)


@pytest.mark.parametrize("sizes", [[6], [2, 2, 2], [1, 5]])
def test_the_weight_of_a_post_is_that_of_every_batch(sizes):
    """Weights are multiples of their mean over the split, and a batch's own sum divides nothing: with batches of two
    that sum made a single-post picture beside another of its kind count as half a picture of three posts."""
    frame = pd.DataFrame(
        {"split": ["train"] * 6 + ["dev"] * 2, "label": 0, "weight": [1, 1, 1, 1 / 3, 1 / 3, 1 / 3, 4, 4]}
    )
    made = inputs.post_tensors(frame, Texts(None, None, torch.zeros(8, 3)), torch.zeros(1, 1, 1), torch.zeros(8).long())
    assert made.weight.tolist() == pytest.approx([1.5, 1.5, 1.5, 0.5, 0.5, 0.5, 1, 1])
    errors = torch.arange(6.0, requires_grad=True)
    total = sum(weighted_mean(errors[part], made.weight[part]) * len(part) for part in torch.arange(6).split(sizes))
    total.backward()
    assert errors.grad.tolist() == pytest.approx([1.5, 1.5, 1.5, 0.5, 0.5, 0.5])


def test_the_learning_rate_warms_up_and_falls_to_zero():
    factor = loop._warmup_cosine(TrainConfig(warmup_share=0.1), 100)
    factors = [factor(step) for step in range(101)]
    assert factors[:10] == pytest.approx([(step + 1) / 10 for step in range(10)])
    assert factors[10] == 1 and factors[55] == pytest.approx(0.5) and factors[100] == pytest.approx(0)
    assert factors[10:] == sorted(factors[10:], reverse=True)
    assert {loop._warmup_cosine(PLAIN, 100)(step) for step in range(101)} == {1.0}


def test_gradients_are_clipped():
    model = Counter()
    sgd = torch.optim.SGD(model.parameters(), lr=1.0)
    schedule = torch.optim.lr_scheduler.LambdaLR(sgd, lambda step: 1.0)
    model.training_loss(1e3)["loss"].backward()
    loop._step(model, sgd, schedule, PLAIN)
    assert model.weight.item() == pytest.approx(1.0, abs=1e-4)  # the gradient's length is 1, not 2000


@pytest.mark.parametrize("name", ["adam", "adamw"])
def test_optimizers(name):
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[name]
    assert type(loop._optimizer(Towered(), TrainConfig(optimizer=name))) is kind


# --- batches ----------------------------------------------------------------------------------


def captions(counts: list[int]) -> CaptionTensors:
    """Image i is the number i; caption ids say to which image they belong (100 i + number of the caption)."""
    owner = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    count = torch.tensor(counts)
    first = count.cumsum(0) - count
    ids = (100 * owner + torch.arange(len(owner)) - first[owner])[:, None]
    texts = Texts(ids, torch.ones_like(ids, dtype=torch.bool))
    images = torch.arange(len(counts))[:, None]
    return CaptionTensors({"en": texts, "zh": Texts(-ids, texts.mask)}, images, owner, first, count)


def epoch(data: CaptionTensors, rows: torch.Tensor, size: int, per_image: int, seed: int) -> list:
    return list(data.shuffled(rows, size, per_image, torch.Generator().manual_seed(seed)))


@pytest.mark.parametrize("per_image", [1, 2, 4])
def test_an_epoch_shows_every_image_once_with_its_own_captions(per_image):
    data, rows = captions([4, 1, 5, 3, 4, 2, 4, 4, 5, 4]), torch.tensor([0, 1, 2, 4, 5, 6, 8, 9])
    batches = epoch(data, rows, 3, per_image, seed=1)
    assert sorted(torch.cat([b.images.flatten() for b in batches]).tolist()) == rows.tolist()
    assert [len(b.images) for b in batches] == [3, 3, 2]
    for batch in batches:
        english, chinese = batch.texts["en"].ids.flatten(), batch.texts["zh"].ids.flatten()
        assert torch.equal(batch.images.flatten()[batch.owner], english // 100) and torch.equal(english, -chinese)
        assert torch.bincount(batch.owner).tolist() == [per_image] * len(batch.images)
        drawn = english.view(-1, per_image)
        for image, of_image in zip(batch.images.flatten(), drawn, strict=True):  # repeats only where there are fewer
            assert len(set(of_image.tolist())) == min(per_image, int(data.count[image]))


def test_captions_are_drawn_anew_each_epoch_and_all_have_their_turn():
    data, rows = captions([4] * 10), torch.arange(10)
    generator = torch.Generator().manual_seed(0)
    seen = [torch.cat([b.texts["en"].ids for b in data.shuffled(rows, 5, 1, generator)]) for _ in range(40)]
    assert len(torch.cat(seen).unique()) == 40 and not torch.equal(seen[0], seen[1])


def test_a_last_batch_of_one_image_has_no_negatives_and_is_left_out():
    assert [len(b.images) for b in epoch(captions([2] * 7), torch.arange(7), 3, 1, seed=0)] == [3, 3]


def posts(n: int = 11) -> PostTensors:
    texts = Texts(torch.arange(n)[:, None], torch.ones(n, 1, dtype=torch.bool))
    label = (torch.arange(n) % 2).float()
    return PostTensors(texts, torch.arange(3)[:, None] * 10, torch.arange(n) % 3, label, torch.ones(n))


def test_an_epoch_covers_every_post_once_and_rows_stay_together():
    data, rows = posts(), torch.tensor([1, 3, 4, 5, 8, 9, 10])
    batches = list(data.shuffled(rows, 3, torch.Generator().manual_seed(0)))
    order = torch.cat([b.row for b in batches])
    assert [len(b.row) for b in batches] == [3, 3, 1] and sorted(order.tolist()) == rows.tolist() != order.tolist()
    for batch in batches:
        assert torch.equal(batch.text_ids.flatten(), batch.row) and torch.equal(batch.label, (batch.row % 2).float())
        assert torch.equal(batch.images.flatten(), batch.row % 3 * 10)
    assert torch.equal(torch.cat([b.row for b in data.in_order(rows, 3)]), rows)


def test_the_generator_decides_the_order():
    data, rows = posts(), torch.arange(11)
    orders = [[b.row.tolist() for b in data.shuffled(rows, 4, torch.Generator().manual_seed(s))] for s in (0, 0, 1)]
    assert orders[0] == orders[1] != orders[2]


# --- a seed decides everything ----------------------------------------------------------------

SMALL = SCLIPConfig(
    texts=(("en", TextConfig(width=16, depth=1, n_heads=2, max_length=8)),),
    vision=VisionConfig(image_size_px=32, receptive_fields=(8, 16), width=16, depth=1, n_heads=2),
    d_joint=16,
    dropout=0.1,
)


def train_sclip(seed: int, similarity: str = "lse", lr: float = 1e-3) -> tuple[dict[str, torch.Tensor], Fit]:
    """Three epochs of a tiny SCLIP on fixed noise, as a run does it: seed, build, fit."""
    random = torch.Generator().manual_seed(99)
    ids = torch.randint(4, 30, (48, 8), generator=random)
    pixels = torch.randint(0, 256, (24, 3, 32, 32), generator=random, dtype=torch.uint8)
    count = torch.full((24,), 2)
    data = CaptionTensors({"en": Texts(ids, ids > 5)}, pixels, torch.arange(24).repeat_interleave(2),
                          count.cumsum(0) - count, count)  # fmt: skip
    loop.seed_everything(seed)
    model = SCLIP(dataclasses.replace(SMALL, similarity=similarity), {"en": 30})
    train = TrainConfig(epochs=3, batch_size=8, lr=lr, patience=None, precision="fp32")
    rows, dev = torch.arange(24), next(iter(data.shuffled(torch.arange(24), 24, 2, torch.Generator().manual_seed(5))))

    @torch.no_grad()
    def dev_loss() -> dict[str, float]:
        model.eval()
        return {"loss": model.training_loss(dev)["loss"].item()}

    fitted = fit(model, lambda generator: data.shuffled(rows, 8, 1, generator), 3, dev_loss, train, seed)
    return {name: value.clone() for name, value in model.state_dict().items()}, fitted


def test_the_same_seed_gives_the_same_weights_and_another_does_not():
    (weights, fitted), (again, fitted_again), (other, fitted_other) = (train_sclip(seed) for seed in (3, 3, 4))
    assert all(torch.equal(weights[name], again[name]) for name in weights)
    assert fitted.history.equals(fitted_again.history)
    assert not fitted.history.equals(fitted_other.history)
    assert not any(torch.equal(weights[name], other[name]) for name in weights if name.endswith("in_proj_weight"))


def test_training_does_not_depend_on_what_ran_before():
    first = train_sclip(3)[1].history
    torch.rand(1000)
    assert train_sclip(3)[1].history.equals(first)


@pytest.mark.parametrize("similarity", ["lse", "mean", "topk"])
def test_golden_losses(similarity):
    history = train_sclip(0, similarity)[1].history
    found = {name: history[name].tolist() for name in ("train_loss", "dev_loss", "lr")}
    golden = json.loads(GOLDEN.read_text(encoding="utf-8")) if GOLDEN.is_file() else {}
    if os.environ.get("RUMORLIB_WRITE_GOLDEN"):
        golden[f"sclip {similarity}"] = found
        GOLDEN.write_text(json.dumps(golden, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        pytest.skip(f"wrote {GOLDEN.name}")
    for name, values in found.items():
        assert values == pytest.approx(golden[f"sclip {similarity}"][name], abs=1e-4), name


def test_the_first_step_of_every_model_is_that_of_before():
    """Loss and gradient of each freshly built model on a made batch, per torch version: a refactor moves neither.

    RUMORLIB_WRITE_GOLDEN=1 writes them where a model is meant to compute something else, or for another torch.
    """
    demo, full = cfg.resolve("demo"), cfg.resolve("demo", ["demo-en"], [0], grid="full")
    laptop = cfg.Settings("laptop", ("mfan-pheme",), (0,))
    runs = [papers.sclip(demo, "en"), *papers.micc_main(demo), *papers.micc_ablations(full), *papers.dmfl_main(demo)]
    runs += [*papers.dmfl_ablations(demo), *rivals.main(demo), papers.dmfl(laptop, "mfan-pheme")]
    runs += [
        papers.micc(laptop, "mfan-pheme", variant=name, freeze="sclip", **how)
        for name, how in {
            "towers": {"classifier_input": "towers"},
            "temperature": {"relevance_scale": "temperature"},
        }.items()
    ]
    found = {run.name: computation.fingerprint(run) for run in runs}
    golden, version = json.loads(GOLDEN.read_text(encoding="utf-8")), f"torch {torch.__version__.split('+')[0]}"
    if os.environ.get("RUMORLIB_WRITE_GOLDEN"):
        golden.setdefault("first step", {})[version] = found
        GOLDEN.write_text(json.dumps(golden, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    if version not in golden["first step"]:
        pytest.skip(f"no golden losses of {version}: RUMORLIB_WRITE_GOLDEN=1 writes them")
    known = golden["first step"][version]
    assert found.keys() == known.keys()
    assert [name for name in known if not computation.agree(known[name], found[name])] == []


# --- lengths in steps -------------------------------------------------------------------------


def looked_at(n_batches: int, train: TrainConfig, dev: list[float] | None = None) -> tuple[list[int], int, int]:
    """Steps at which dev was looked at, the row that was kept, and batches drawn; dev losses as given, else falling."""
    losses = iter(dev or [1 / (k + 1) for k in range(100)])
    drawn = []

    def batches(generator):
        for _ in range(n_batches):
            drawn.append(1)
            yield 1.0

    fitted = fit(Counter(), batches, n_batches, lambda: {"loss": next(losses)}, train, seed=0)
    return fitted.history["step"].tolist(), fitted.best_epoch, len(drawn)


def test_lengths_in_steps():
    plain = dataclasses.replace(PLAIN, epochs=4, patience=2)
    assert looked_at(5, plain) == ([5, 10, 15, 20], 4, 20), "without steps: once a pass, all passes"
    assert looked_at(5, dataclasses.replace(plain, steps=12)) == ([5, 10, 12], 3, 12)
    assert looked_at(5, dataclasses.replace(plain, steps=12, evaluate_every=4)) == ([4, 8, 12], 3, 12)
    assert looked_at(5, dataclasses.replace(plain, evaluate_every=7)) == ([7, 14, 20], 3, 20), "across passes"
    assert looked_at(5, dataclasses.replace(plain, steps=999, evaluate_every=10))[2] == 20, "epochs are the cap"
    assert looked_at(5, dataclasses.replace(plain, steps=1, min_epochs=2)) == ([5, 10], 2, 10), (
        "and min_epochs the floor"
    )


def test_patience_in_steps():
    rising = [1.0, 0.5, *[2.0] * 30]
    asked = dataclasses.replace(PLAIN, epochs=4, patience=2, evaluate_every=2)
    assert looked_at(10, asked, rising)[:2] == ([2, 4, 6, 8], 2)
    steps = dataclasses.replace(asked, patience_steps=7)
    assert looked_at(10, steps, rising)[:2] == ([2, 4, 6, 8, 10, 12], 2), "seven steps after the best: at the next look"
    last = dataclasses.replace(asked, patience=None)
    assert looked_at(10, last, rising)[1] == 20, "no patience: the last is kept"


def test_warm_up_in_steps():
    rates = [loop._warmup_cosine(dataclasses.replace(PLAIN, warmup_steps=4), 10)(step) for step in range(11)]
    assert rates[:4] == [0.25, 0.5, 0.75, 1.0] and rates[-1] == pytest.approx(0) and max(rates) == 1
    share = loop._warmup_cosine(dataclasses.replace(PLAIN, warmup_share=0.4), 10)
    assert rates == [share(step) for step in range(11)]


# --- precision --------------------------------------------------------------------------------


def test_bf16_is_used_only_where_asked_for_and_fast(monkeypatch):
    cpu = torch.device("cpu")
    monkeypatch.setattr(loop, "bf16_is_fast", lambda where: True)
    for asked in (True, False):
        with loop.autocast(TrainConfig(precision="auto" if asked else "fp32"), cpu):
            assert torch.is_autocast_enabled("cpu") is asked
            product = torch.ones(2, 2) @ torch.ones(2, 2)
        assert product.dtype == (torch.bfloat16 if asked else torch.float32)
    monkeypatch.setattr(loop, "bf16_is_fast", lambda where: False)
    with loop.autocast(TrainConfig(), cpu):
        assert not torch.is_autocast_enabled("cpu")
    assert isinstance(loop.device(), torch.device)


def test_the_batch_follows_the_number_of_posts():
    train = TrainConfig(batch_size=128, steps_per_pass=40)
    assert [loop.batch_size(train, n) for n in (100, 500, 1306, 36_000)] == [16, 16, 33, 128]
    assert loop.batch_size(TrainConfig(batch_size=128), 100) == 128


# --- Faults of a training: what a model that has not learned looks like in its metrics and history.


LABEL = np.repeat([0, 1], [70, 30])
FALLING = pd.DataFrame({"dev_loss": [0.7, 0.6, 0.5]})
TURNED = pd.DataFrame({"dev_loss": [0.7, 0.5, 0.6]})


def answers(rumor: float, non_rumor: float, wrong: int = 0) -> dict:
    """Metrics of log-odds that are `rumor` on rumors and `non_rumor` on the others, with `wrong` of these exchanged."""
    log_odds = np.where(LABEL == 1, rumor, non_rumor)
    log_odds[:wrong] = rumor
    return evaluation.classification_metrics(LABEL, None, log_odds=log_odds)


@pytest.mark.parametrize(
    ("dev", "fault"),
    [
        (answers(2.0, -2.0), ()),
        (answers(2.0, -2.0, wrong=40), ("constant",)),
        (answers(-0.5, -1.5), ("one_class",)),
        (answers(0.5, 0.2), ("one_class",)),
        (answers(0.8, -1.2, wrong=30), ("majority",)),
        (answers(0.0, -0.9) | {"image_macro": {"image_macro_balanced_accuracy": 0.5}}, ("majority",)),
        ({}, ()),
    ],
)  # fmt: skip
def test_faults_of_answers(dev, fault):
    assert learning.faults(dev, TURNED) == fault
    assert learning.faults(dev, FALLING) == (*fault, "unfinished")
    assert learning.faults(dev, FALLING.iloc[:0]) == ()
