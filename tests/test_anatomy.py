"""The anatomy: heads are what they say, a step adds what it is named after, doses keep sizes, exchanges permute."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import instead

from rumorlib import config as cfg
from rumorlib import experiments
from rumorlib.config import profiles
from rumorlib.data.posts import Corpus
from rumorlib.experiments import benches
from rumorlib.inputs import fixed_features
from rumorlib.metrics import evaluation
from rumorlib.models import heads
from rumorlib.results import ledger
from rumorlib.studies.protocol import anatomy, counterfactuals, selection
from rumorlib.training import bench_runs, exchange_runs, fitting
from rumorlib.training.fitting import Outcome

CONFIG = cfg.HeadsConfig(components=8, width=16, epochs=20, batch_size=32, lr=1e-2, n_seeds=3, doses=(0.0, 0.5, 1.0))
N_PICTURES, POSTS_EACH = 60, 6


def bench(signal: float = 0.0, identity: float = 0.0, seed: int = 0, pictures: bool = True) -> fixed_features.Bench:
    """Posts of pictures that have one label each; `signal`: the label in the text, `identity`: each picture its own
    feature, which tells the label to those who have seen the picture."""
    random = np.random.default_rng(seed)
    picture = np.repeat(np.arange(N_PICTURES), POSTS_EACH)
    label = (random.permutation(N_PICTURES) % 2)[picture]
    split = np.where(picture < 30, "train", np.where(picture < 40, "dev", "test"))
    n = len(picture)
    posts = pd.DataFrame({
        "post_id": [f"p{i:04d}" for i in range(n)], "label": label, "split": split, "text": "", "image": "",
        "event": [f"e{p // 10}" for p in picture], "image_group": picture.astype(str), "text_group": "",
        "created_at": "", "language": "en",
    })  # fmt: skip
    text = random.normal(size=(n, 4)) + signal * (2 * label - 1)[:, None]
    image = identity * random.normal(size=(N_PICTURES, 8))[picture] + 0.1 * random.normal(size=(n, 8))
    told = (label + (random.random(n) < 0.05))[:, None] % 2 * 1.0  # metadata: the label, nearly
    corpus = Corpus("toy", posts, None, "")
    group = picture.astype(str) if pictures else posts["post_id"].to_numpy()
    return fixed_features.Bench("toy", corpus, text, image if pictures else None, np.hstack([told, told]), group)


# --- heads ----------------------------------------------------------------------------------------


def test_a_head_is_two_linear_layers_and_seeds_do_not_touch_each_other() -> None:
    torch.manual_seed(0)
    model = heads.Heads(5, CONFIG).eval()
    x = torch.randn(1, 7, 5)
    together = model(x.expand(3, -1, -1))
    for seed in range(3):
        hidden = torch.relu(x[0] @ model.hidden[seed] + model.bias[seed])
        assert torch.allclose(together[seed], (hidden @ model.out[seed]).squeeze(-1) + model.offset[seed], atol=1e-6)
    together[0].sum().backward()
    assert model.hidden.grad[0].abs().sum() > 0 and model.hidden.grad[1:].abs().sum() == 0
    with pytest.raises(ValueError, match="were given"):
        model(x[..., :3])


def test_heads_learn_what_is_there_and_seeds_differ() -> None:
    toy = bench(signal=1.5)
    train, test = (np.flatnonzero(toy.posts["split"] == name) for name in ("train", "test"))
    said = heads.fit_predict(toy.text, toy.label, train, CONFIG, test)
    assert said.shape == (20, 3, len(test)) and np.isfinite(said).all()
    assert (((said[-1] >= 0) == toy.label[test]).mean(1) > 0.9).all()
    assert not np.allclose(said[-1, 0], said[-1, 1])
    assert np.array_equal(said, heads.fit_predict(toy.text, toy.label, train, CONFIG, test)), "same seed, same numbers"
    with pytest.raises(ValueError, match="both classes"):
        heads.fit_predict(toy.text, np.ones_like(toy.label), train, CONFIG, test)


# --- the waterfall --------------------------------------------------------------------------------

READ_TWICE = replace(CONFIG, readings=("test", experiments.EPOCH_ON_TEST))


def finished(outcome: Outcome) -> SimpleNamespace:
    """An outcome as the run that `results` would read back."""
    frame = evaluation.with_prob(outcome.predictions)
    return SimpleNamespace(name="a", predictions=lambda: frame, history=lambda: outcome.history, facts=outcome.facts)


def steps_of(toy: fixed_features.Bench) -> pd.DataFrame:
    plans = {"honest": ("", "both"), "random groups": ("grouped", "both"), "random posts": ("random", "both"),
             "metadata": ("random", "told")}  # fmt: skip
    made = {
        name: [finished(bench_runs.fitted(toy, bench_runs.side_of(toy, how), replace(READ_TWICE, inputs=inputs)))]
        for name, (how, inputs) in plans.items()
    }
    return anatomy.waterfall("toy", made).set_index("step")


def test_each_habit_adds_what_it_is_named_after() -> None:
    steps = steps_of(bench(identity=2.0))
    assert list(steps.index) == list(anatomy.STEPS)
    score = steps["accuracy"]
    assert abs(score["honest"] - 0.5) < 0.25, "an unseen picture says nothing"
    assert score["random posts"] > score["random groups"] + 0.2, "a picture that was seen tells its label"
    assert score["epoch on test"] >= score["random posts"] - 1e-9
    assert score["seed on test"] >= score["epoch on test"] - 1e-9
    assert score["metadata"] > 0.85
    assert steps["n_seeds"].tolist() == [3, 3, 3, 3, 1, 1]
    assert steps["gain"].iloc[1:].tolist() == pytest.approx(score.diff().iloc[1:].tolist())


def test_without_a_leak_the_split_adds_nothing() -> None:
    score = steps_of(bench(signal=1.0))["accuracy"]
    assert abs(score["random posts"] - score["honest"]) < 0.08


def test_what_is_stored_gives_the_choice_of_epochs_again() -> None:
    toy = bench(identity=2.0)
    made = bench_runs.fitted(toy, bench_runs.side_of(toy, "random"), READ_TWICE)
    right = (made.predictions["log_odds"] >= 0) == (made.predictions["label"] == 1)
    scored = right.groupby([made.predictions["split"], made.predictions["seed"]]).mean()
    for seed, curve in made.history.groupby("seed"):
        by_dev = curve.loc[curve["dev_loss"].idxmin(), "test_accuracy"]
        assert scored["test", seed] == pytest.approx(by_dev), "the epoch with the lowest loss on dev"
        assert scored[experiments.EPOCH_ON_TEST, seed] == pytest.approx(curve["test_accuracy"].max())
    honest = bench_runs.fitted(toy, bench_runs.side_of(toy, ""), CONFIG)
    assert "test_accuracy" not in honest.history and set(honest.metrics) == {"test"}, "test is read once"


def test_every_fit_is_planned_and_has_one_line_in_the_ledger(
    few_untrained: cfg.Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = replace(profiles.HEADS["demo"], epochs=2, n_seeds=2, doses=(0.0, 1.0))
    monkeypatch.setitem(profiles.HEADS, "demo", few)
    settings = cfg.resolve("demo")
    planned = [c for runs in experiments.anatomy_runs(settings, "demo-en").values() for c in runs]
    planned += experiments.dose_runs(settings, "demo-en").values()
    steps, doses, *behind = anatomy.measured(settings)
    lines = [line["run"] for line in ledger.read("demo")]
    assert sorted(lines) == sorted(c.path.as_posix() for c in planned)
    assert sorted(report.name for reports in behind for report in reports) == sorted(lines)
    again = anatomy.measured(cfg.resolve("demo", train="none"))
    assert again[0].equals(steps) and again[1].equals(doses), "from stored predictions, nothing trained"
    assert len(ledger.read("demo")) == len(lines), "reading what is stored is no reading of test"


def test_the_balanced_loss_weighs_classes_alike() -> None:
    label, prob = np.array([1, 0, 0, 0]), np.array([0.8, 0.1, 0.1, 0.4])
    by_hand = -(np.log(0.8) + np.mean([np.log(0.9), np.log(0.9), np.log(0.6)])) / 2
    log_odds = np.log(prob / (1 - prob))
    assert bench_runs.balanced_log_loss(label, log_odds) == pytest.approx(by_hand)
    weighted = bench_runs.balanced_log_loss(label, log_odds, np.array([1, 1, 1, 0]))
    assert weighted == pytest.approx(-(np.log(0.8) + np.log(0.9)) / 2)


@pytest.mark.parametrize("pictures", [True, False])
def test_doses_keep_all_sizes_and_leak_what_they_say(pictures: bool) -> None:
    toy, seen = bench(identity=2.0, pictures=pictures), {}
    honest = np.flatnonzero(toy.posts["split"] == "train")
    asked_ids: set[tuple] = set()
    for leak, dose, train, asked in bench_runs.dosed(toy, toy.posts["split"], CONFIG):
        asked_ids.add(tuple(asked))
        assert len(train) == len(honest) and len(set(train)) == len(train)
        entered = np.setdiff1d(train, honest)
        seen[leak, dose] = set(entered)
        assert (toy.posts["split"].iloc[entered] == "test").all()
        if leak == "same post":
            assert set(entered) <= set(asked)
        else:
            assert not set(entered) & set(asked)
    assert len(asked_ids) == 1, "the same posts are asked at every dose"
    kind = "same picture" if pictures else "other test posts"  # no record says that its events are known
    assert seen["", 0.0] == set() and seen[kind, 0.5] < seen[kind, 1.0], "a larger dose holds the smaller one"
    assert len(seen["same post", 1.0]) == len(next(iter(asked_ids)))


def test_more_leaks_higher_scores() -> None:
    toy = bench(identity=2.0)
    side = toy.posts["split"]
    made = {(leak, dose): finished(bench_runs.fitted_dose(toy, side, *rows, CONFIG))
            for leak, dose, *rows in bench_runs.dosed(toy, side, CONFIG)}  # fmt: skip
    curve = anatomy.doses("toy", made)
    same = curve[curve["leak"] == "same picture"].set_index("dose")["accuracy"]
    assert same[1.0] > same[0.0] + 0.1
    assert curve.groupby("leak")["dose"].apply(list).tolist() == [[0.0, 0.5, 1.0]] * 2, "every curve starts at 0"


@pytest.mark.parametrize("pictures", [True, False])
def test_the_leaks_that_are_planned_are_those_the_posts_allow(pictures: bool) -> None:
    laptop = cfg.resolve("laptop", train="none")
    for dataset in ("twitter", "mfan-pheme", "mfan-weibo") if pictures else ("weibo-text", "pheme-text"):
        toy = replace(bench(pictures=pictures), name=dataset)
        found = {leak for leak, *_ in bench_runs.dosed(toy, toy.posts["split"], CONFIG)} - {""}
        points = list(experiments.dose_runs(laptop, dataset))
        assert points[0] == ("", 0.0) and {leak for leak, _ in points} - {""} == found
    assert experiments.leaks(cfg.resolve("demo"), "demo-en") == (experiments.SCENE,)


def test_the_anatomy_is_of_posts_and_exchanges_need_pictures_with_frozen_encoders() -> None:
    demo, laptop = cfg.resolve("demo"), cfg.resolve("laptop", train="none")
    assert benches.of_anatomy(demo) == benches.with_pictures(demo) == ["demo-en"]
    assert benches.of_anatomy(laptop) == ["twitter", "weibo-text", "pheme-text"]
    assert benches.with_pictures(laptop) == ["photo-en", "twitter"]
    both = cfg.resolve("laptop", ["mfan-pheme", "mfan-weibo"], train="none")
    assert benches.of_anatomy(both) == benches.with_pictures(both) == ["mfan-pheme", "mfan-weibo"]
    assert (
        experiments.selection_dataset(demo),
        experiments.selection_dataset(laptop),
        experiments.selection_dataset(both),
    ) == ("demo-en", "twitter", None)
    assert "metadata" not in experiments.anatomy_runs(both, "mfan-weibo"), "its posts have no dates"


# --- selection ------------------------------------------------------------------------------------


def tried(name_loss: dict[str, list[float]]) -> Iterator[selection.Tried]:
    frame = pd.DataFrame({"post_id": ["a", "b"], "label": [0, 1], "image_group": ["x", "y"], "seed": 0})
    for choice in experiments.choices():
        losses = name_loss.get(choice.name, [1.0, 1.1, 1.2])
        good = choice.name == "MLP, both, lr=0.001"
        yield selection.Tried(
            choice.name, tuple(losses), 0, frame.assign(prob_rumor=[0.1, 0.9] if good else [0.9, 0.1])
        )


def test_each_rule_takes_what_it_says() -> None:
    losses = {
        "LR, text, C=0.001": [0.52, 0.50, 0.54],  # simplest within one standard error of the best
        "LR, both, C=0.1": [0.50, 0.44, 0.56],  # lowest mean
        "LR, image, C=0.01": [0.30, 1.5, 1.5],  # lowest on fold 0
        "LR, text, C=0.0001": [0.60, 0.61, 0.62],  # simpler, but out of reach
    }
    found = {rule: one.name for rule, one in selection._chosen(list(tried(losses))).items()}
    assert found == {
        "a priori": selection.DEFAULT,
        "cross-fit, one standard error": "LR, text, C=0.001",
        "cross-fit, lowest loss": "LR, both, C=0.1",
        "single dev": "LR, image, C=0.01",
        "oracle on test": "MLP, both, lr=0.001",
    }


def test_the_selection_table_on_drawn_scenes(few_untrained, monkeypatch: pytest.MonkeyPatch) -> None:
    few = [experiments.Choice("both", c=1e-3), experiments.Choice("text", lr=1e-3)]
    instead(monkeypatch, experiments.choices, lambda: few)
    rules, points, reports = selection.table(cfg.resolve("demo"), "demo-en")
    assert points["configuration"].tolist() == [choice.name for choice in few]
    assert rules["estimate"].max() == rules.set_index("rule").loc["oracle on test", "estimate"]
    assert points["epochs"].iloc[0] == 0 and points["epochs"].iloc[1] >= 1
    read = ledger.read("demo")
    assert [line["run"] for line in read] == [report.name for report in reports] and len(read) == len(few)
    assert "cross-fit" in selection.agreement(points)
    again, _, _ = selection.table(cfg.resolve("demo", train="none"), "demo-en")
    assert again.equals(rules) and len(ledger.read("demo")) == len(few), "from what is stored"


def test_rules_among_trained_detectors_read_what_is_stored() -> None:
    def report(variant: str, seed: int, dev: float, test: float) -> SimpleNamespace:
        """Right by `dev` and `test`: the probability of the right class on either split."""
        label = np.tile([0, 1], 8)
        right = np.repeat([dev, test], 8)
        frame = pd.DataFrame(
            {
                "post_id": [f"p{i}" for i in range(16)],
                "label": label,
                "image_group": "",
                "split": ["dev"] * 8 + ["test"] * 8,
                "prob_rumor": np.where(label == 1, right, 1 - right),
            }
        )
        config = cfg.RunConfig("micc", "demo-en", variant, seed, detector=cfg.MICCConfig())
        return SimpleNamespace(config=config, name=config.path.as_posix(), facts={}, predictions=lambda: frame)

    reports = [
        report("default", 0, 0.6, 0.4),
        report("default", 1, 0.6, 0.9),
        report("product", 0, 0.5, 0.8),
        report("product", 1, 0.9, 0.8),
        report("relevance", 0, 0.95, 0.3),
        report("relevance", 1, 0.2, 0.3),
    ]
    found = selection._of_trained(reports)
    assert {rule.removeprefix("MICC: "): one.name for rule, one in found.items()} == {
        "a priori": "MICC (literal)", "single dev": "MICC (product input)",
        "single dev, seed too": "MICC (relevance input), seed 0", "oracle on test": "MICC (product input)",
        "oracle on test, seed too": "MICC (literal), seed 1",
    }  # fmt: skip
    folds = [report("default", 0, dev, 0.1) for dev in (0.6, 0.7)] + [report("product", 0, d, 0.1) for d in (0.3, 0.9)]
    folds += [report("relevance", 0, dev, 0.1) for dev in (0.64, 0.68)]
    crossed = selection._of_trained(reports, folds)
    assert crossed["MICC: cross-fit, lowest loss"].name == "MICC (relevance input)"  # -ln .64 - ln .68 < -ln .6 - ln .7
    simplest = crossed["MICC: cross-fit, one standard error"]
    assert simplest.name == "MICC (literal)" and simplest.test.equals(found["MICC: a priori"].test)
    assert {rule: one.name for rule, one in crossed.items() if "cross-fit" not in rule} == {
        rule: one.name for rule, one in found.items()
    }
    row = selection._row("MICC: a priori", found["MICC: a priori"])
    assert row["estimate"] == pytest.approx(0.5), "mean over seeds"
    assert row["dev_loss"] == pytest.approx(-np.log(0.6)) and selection._of_trained([]) == {}


# --- counterfactuals ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", exchange_runs.EXCHANGES)
def test_exchanges_permute_pictures_within_what_they_keep(name: str) -> None:
    posts, (within, differs) = bench().posts, exchange_runs.EXCHANGES[name]
    found = fitting.partners(posts, within, differs)
    assert sorted(found) == list(range(len(posts))), "the set of pictures stays"
    if within:
        assert (posts[within].to_numpy()[found] == posts[within].to_numpy()).all()
    assert (posts[differs].to_numpy()[found] != posts[differs].to_numpy()).all()


def test_on_a_published_split_test_is_read_with_pictures_of_others_too() -> None:
    posts = bench().posts.assign(split=["train", "test"] * (len(bench().posts) // 2))
    test = posts[posts["split"] == "test"].reset_index(drop=True)
    outcome = Outcome({}, predictions=test.assign(log_odds=0.0))

    def answer(rows: torch.Tensor, others: torch.Tensor) -> np.ndarray:  # says whose picture it was shown
        assert rows.tolist() == np.flatnonzero(posts["split"] == "test").tolist()
        return others.numpy().astype(float)

    def read(dataset: str, kind: str = "text_image_lr", protocol: str = "") -> pd.DataFrame:
        config = cfg.RunConfig("baseline", dataset, protocol=protocol, detector=cfg.BaselineConfig(kind))
        return fitting.on_published_split(config, posts, outcome, answer).predictions

    found = read("mfan-pheme")
    shown = found.loc[found["split"] == fitting.OTHERS_PICTURES, "log_odds"].astype(int).to_numpy()
    assert sorted(shown) == np.flatnonzero(posts["split"] == "test").tolist(), "every test picture, once"
    assert (posts["event"].to_numpy()[shown] == test["event"].to_numpy()).all(), "within the event"
    assert (shown != np.flatnonzero(posts["split"] == "test")).mean() > 0.5
    train = posts[posts["split"] == "train"]
    crossing = test["image_group"].isin(train["image_group"]) | test["text_group"].isin(train["text_group"])
    assert (found.loc[found["split"] == "test", "twin"] == crossing.astype(int)).all()
    for other in ({"kind": "text_lr"}, {"dataset": "twitter"}, {"protocol": "resplit:1"}):
        assert len(read(**{"dataset": "mfan-pheme"} | other)) == len(test), "no second reading"


def test_a_regression_on_pictures_loses_what_the_exchange_takes() -> None:
    toy = bench(signal=0.0)
    told = toy.image + 3 * (2 * toy.label - 1)[:, None]  # the picture alone says the label
    toy = fixed_features.Bench(toy.name, toy.corpus, toy.text, told, None, toy.group)
    config = cfg.BaselineConfig("text_image_lr")
    made = {name: frame for name, frame, _ in exchange_runs._of_regression(toy, config)}
    accuracy = {name: ((f["log_odds"] >= 0) == f["label"]).mean() for name, f in made.items()}
    assert accuracy[exchange_runs.AS_IT_IS] == 1 and accuracy["pictures within label"] == 1
    assert accuracy[exchange_runs.BLANKED] < 0.8 and accuracy["pictures across events"] < 0.9
    assert accuracy[exchange_runs.TRAINED] < 0.9 and accuracy[exchange_runs.EMPTIED] == 1

    stored = exchange_runs.outcome(toy.posts, exchange_runs._of_regression(toy, config))
    report = finished(stored)
    rows = pd.DataFrame(counterfactuals._rows("toy", "LR", "demo-en", report, report)).set_index("intervention")
    assert list(rows.index) == list(exchange_runs.INTERVENTIONS), "a row per intervention"
    assert rows["estimate"].to_dict() == pytest.approx(accuracy), "the stored predictions give every score"
    probs = [evaluation.prob_of(made[name]["log_odds"]) for name in (exchange_runs.BLANKED, exchange_runs.AS_IT_IS)]
    assert rows.loc[exchange_runs.BLANKED, "moved"] == pytest.approx(np.abs(probs[0] - probs[1]).mean(), abs=1e-4)


def test_answers_that_were_stored_without_the_events_of_their_posts_cluster_by_them() -> None:
    config = cfg.BaselineConfig("text_image_lr", 1.0)
    whole = finished(exchange_runs.outcome(bench().posts, exchange_runs._of_regression(bench(), config)))
    told = bench_runs.stored(whole)
    assert {"event", "image_group"} <= set(told), "interventions keep what posts cluster by"
    again = counterfactuals.with_events(told.drop(columns="event"), whole)
    assert again["event"].equals(told["event"]) and counterfactuals.with_events(told, whole) is told


def test_a_detector_under_interventions_is_one_planned_run() -> None:
    regression, product = experiments.exchanged_runs(cfg.resolve("demo"), "demo-en")
    assert (regression.model, regression.variant) == ("bench", "exchanged")
    assert product.parent == replace(product, kind="train", variant="product", parent=None), (
        "of the run that the tables show"
    )
