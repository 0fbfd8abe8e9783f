"""A saved detector: read back it answers to the last digit, and a folder that was changed is refused."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import forget, use_few_scenes
from PIL import Image
from torch import nn

import rumorlib
from rumorlib import config as cfg
from rumorlib import experiments, inputs, results
from rumorlib.config import Settings
from rumorlib.encoders.vocabulary import tokenize
from rumorlib.experiments import added, rivals
from rumorlib.results.saved import decision, explained, export, models, novelty
from rumorlib.results.saved.detector import Detector, SavedDetectorError
from rumorlib.results.saved.given import Picture


class Plain(nn.Module):
    """A detector of one's own: word vectors, sentence, image rows, one layer."""

    def __init__(self, given: Any) -> None:
        super().__init__()
        self.words = nn.Embedding.from_pretrained(given.word_vectors, freeze=False, padding_idx=0)
        self.layer = nn.Linear(given.word_vectors.shape[1] + given.d_text + given.image_shape[-1], 1)

    def log_odds(self, batch: Any) -> torch.Tensor:
        rows = [self.words(batch.text_ids).mean(1), batch.text_features, batch.images.float().mean(1)]
        return self.layer(torch.cat(rows, dim=1)).squeeze(-1)

    def training_loss(self, batch: Any) -> dict[str, torch.Tensor]:
        return {"loss": nn.functional.binary_cross_entropy_with_logits(self.log_odds(batch), batch.label)}


BASELINES = (*experiments.BASELINES, "text_forest", "image_forest")
MAKE = {
    "micc": lambda s: experiments.micc(s, "demo-en"),
    "micc, joint": lambda s: experiments.micc(s, "demo-en", variant="joint", freeze="sclip"),
    "micc, end to end": lambda s: experiments.micc(s, "demo-en", variant="all", freeze="nothing"),
    "dmfl": lambda s: experiments.dmfl(s, "demo-en"),
    "dmfl, joint words": lambda s: experiments.dmfl(s, "demo-en", variant="stage1", logic_init="stage1"),
    **{f"dmfl-{name}": lambda s, name=name: experiments.dmfl(s, "demo-en", variant=name,
                                                             **experiments.DMFL_VARIANTS[name])
       for name in ("TTRAS", "TCNN", "I")},
    **{name: lambda s, name=name: rivals.rival(s, "demo-en", name) for name in cfg.OTHERS},
    "own": lambda s: added.detector(s, "demo-en", f"{__name__}:Plain"),
    **{kind: lambda s, kind=kind: experiments.baseline(s, "demo-en", kind) for kind in BASELINES},
}  # fmt: skip


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory, few_runs: Path):
    """Demo settings on few scenes with the runs of all these tests, made once."""
    folder = tmp_path_factory.mktemp("saved")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RUMORLIB_OUTPUT", str(folder))
        patch.setenv("RUMORLIB_CACHE", str(few_runs / "cache"))
        use_few_scenes(patch)
        shutil.copytree(few_runs / "output", folder, dirs_exist_ok=True)
        yield cfg.resolve("demo", ["demo-en"])
    forget()


def posts_of(settings: cfg.Settings, n: int = 20) -> pd.DataFrame:
    corpus = inputs.corpus("demo-en", settings)
    test = corpus.posts[corpus.posts["split"] == "test"].head(n)
    return pd.DataFrame({"text": test["text"], "image": [corpus.images.pixels(key, 96) for key in test["image"]]})


@pytest.mark.parametrize("name", MAKE)
def test_read_back_it_answers_to_the_last_digit(name: str, few: cfg.Settings, tmp_path: Path) -> None:
    config = MAKE[name](few)
    made = Detector.from_runs([config], few)
    asked = posts_of(few)
    first = made.predict(asked)
    folder = made.save_pretrained(tmp_path / "d")
    again = rumorlib.Detector.from_pretrained(folder, own_code=name == "own")
    pd.testing.assert_frame_equal(again.predict(asked), first, check_exact=True)
    assert again.about == json.loads(json.dumps(made.about))
    stored = results.run_or_load(config, few).predictions().query("split == 'test'").head(len(asked))
    said = np.log(first["probability"] / (1 - first["probability"]))
    near = np.abs(stored["log_odds"]) < 20
    np.testing.assert_allclose(said[near.to_numpy()], stored["log_odds"][near], atol=5e-3, err_msg="as its run said")
    assert not list((tmp_path / "d").glob("*.pkl")) and "Label 1" in (tmp_path / "d" / "README.md").read_text()


@pytest.mark.parametrize("name", MAKE)
def test_every_model_explains_its_answer(name: str, few: cfg.Settings) -> None:
    detector = Detector.from_runs([MAKE[name](few)], few)
    text, pixels = posts_of(few, 1).iloc[0]
    made = detector.explain({"text": text, "image": pixels})
    assert made.answer.equals(detector.predict({"text": text, "image": pixels}).iloc[0])
    calibration = detector.about["calibration"]

    def log_odds(**post: Any) -> float:
        prob = detector.predict(post)["probability"].item()
        return calibration["slope"] * np.log(prob / (1 - prob)) + calibration["intercept"]

    if detector.reads_text:
        assert "".join(made.words["word"]) == "".join(text.split()), "every word, in its order"
        last = text[: made.words["start"].iloc[-1]]
        effect = log_odds(text=text, image=pixels) - log_odds(text=last, image=pixels)
        assert made.words["effect"].iloc[-1] == pytest.approx(effect, abs=5e-3)
    assert made.words.empty == (not detector.reads_text) and np.isnan(made.picture_effect) == (made.pixels is None)
    if detector.reads_picture and detector.reads_text:
        wanted = log_odds(text=text, image=pixels) - log_odds(text=text)
        assert made.picture_effect == pytest.approx(wanted, abs=5e-3)
    maps = {"micc": "relevance", "dmfl": "attention", "carmn": "attention"}
    kind = name.split(",")[0]
    assert set(made.patches["map"]) == {maps[kind]} if kind in maps else made.patches.empty
    if detector.reads_picture and made.patches.empty:
        assert [flag for flag in made.flags if flag.startswith("map of")], made.flags


def test_the_maps_are_those_of_the_model(few: cfg.Settings) -> None:
    """MICC's kept patches are its top K per scale and their weights sum to 1; each patch of Eq 12 divides its attention
    among the words."""
    text, pixels = posts_of(few, 1).iloc[0]
    micc, dmfl = (Detector.from_runs([MAKE[name](few)], few) for name in ("micc", "dmfl"))
    patches = micc.explain({"text": text, "image": pixels}).patches
    k = micc.parts[0].config.detector.top_k
    for _, part in patches.groupby("scale"):
        assert set(part.nlargest(k, "value").index) == set(part.index[part["kept"].astype(bool)])
        assert part["x1"].max() == part["y1"].max() == 96 and (part["x1"] - part["x0"]).nunique() == 1
    assert patches["weight"].sum() == pytest.approx(1, abs=1e-4) and patches["value"].between(-1, 1).all()
    made = dmfl.explain({"text": text, "image": pixels})
    grid = made.attention["dmfl"]
    assert grid.columns.tolist() == tokenize(text, "word") and len(grid) == len(made.patches)
    assert grid.sum(axis=1).to_numpy() == pytest.approx(1, abs=1e-4)
    assert made.patches["value"].sum() == pytest.approx(1, abs=1e-4)


def test_a_post_that_lacks_something_is_explained_as_far_as_it_goes(both: Detector, of_words: Detector) -> None:
    black = np.zeros((9, 9, 3), np.uint8)
    texted, shown, neither = (
        both.explain(post) for post in ({"text": "a red lantern"}, {"image": black}, {"text": " "})
    )
    assert len(texted.words) == 3 and np.isnan(texted.picture_effect) and texted.patches.empty
    assert "picture: none" in texted.flags and "map: only of a post with text and picture" in texted.flags
    assert shown.words.empty and np.isfinite(shown.picture_effect) and "words: no text" in shown.flags
    assert neither.answer.isna()["calibrated"] and neither.words.empty and np.isnan(neither.text_effect)
    many = of_words.explain({"text": "red lantern " * 150})
    assert len(many.words) == explained.MOST_WORDS and "words: the first 200 of 300" in many.flags
    with pytest.raises(ValueError, match="one post"):
        both.explain([{"text": "x"}])


# --- posts --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def both(few: cfg.Settings) -> Detector:
    return Detector.from_runs([experiments.dmfl(few, "demo-en")], few)


@pytest.fixture(scope="module")
def of_words(few: cfg.Settings) -> Detector:
    rows = [experiments.baseline(few, "demo-en", kind) for kind in ("tfidf_lr", "surface_lr")]
    return Detector.from_runs(rows, few)


def test_every_form_of_the_same_post_gets_the_same_answer(both: Detector, few: cfg.Settings, tmp_path: Path) -> None:
    asked = posts_of(few, 1)
    text, pixels = asked.iloc[0]
    picture = Image.fromarray(pixels)
    picture.save(tmp_path / "a.png")
    data = (tmp_path / "a.png").read_bytes()
    wanted = both.predict({"text": text, "image": pixels})
    for image in (picture, data, tmp_path / "a.png", str(tmp_path / "a.png")):
        pd.testing.assert_frame_equal(both.predict([{"text": text, "image": image}]), wanted, check_exact=True)
    below = both.predict(pd.DataFrame({"text": [text], "image": ["a.png"]}), root=tmp_path)
    pd.testing.assert_frame_equal(below, wanted, check_exact=True)
    frame = asked.set_axis(["k"], axis=0)
    assert both.predict(frame).index.tolist() == ["k"] and len(both.predict([])) == 0


def test_what_is_missing_is_said_and_an_answer_given_where_there_is_one(both: Detector, of_words: Detector) -> None:
    black, nothing = np.zeros((9, 9, 3), np.uint8), {"text": None, "image": float("nan")}
    chinese = {"text": "今天洪水淹没了城市", "image": "no/such/file.png"}
    asked = [{"text": "a red lantern"}, {"image": black}, nothing, chinese, {"text": "\u200b \n", "image": 3}]
    said = both.predict(asked)
    assert said["calibrated"].notna().tolist() == [True, True, False, True, False]
    assert said["label"].isna().tolist() == [False, False, True, False, True]
    assert said["missing"].tolist()[:3] == ["picture", "text", "text; picture"]
    assert "cannot be read" in said["missing"][3] and "language: trained on en" in said["missing"][3]
    words = of_words.predict(asked)
    assert words["missing"].tolist()[:2] == ["", "text"] and words["label"].isna().tolist() == [0, 1, 1, 0, 1]
    assert words["unlike_training"][3], "Chinese is far from English training posts"
    with pytest.raises(ValueError, match="text, image or both"):
        both.predict({"words": "x"})


def test_a_picture_is_encoded_once_for_answer_and_distance(both: Detector, few: cfg.Settings, monkeypatch) -> None:
    seen: list[int] = []
    assert both.novelty.pictures is not None
    monkeypatch.setattr(Picture, "pixels", lambda self, size: seen.append(size) or self._decode(size))
    asked = posts_of(few, 3)
    first = both.predict(asked)
    assert len(seen) == 2 * 3, "once to see whether it opens, once for the encoder"
    pd.testing.assert_frame_equal(both.predict(asked), first, check_exact=True)


def test_several_runs_are_the_weighted_mean_of_their_standardised_log_odds(
    of_words: Detector, few: cfg.Settings
) -> None:
    dev = inputs.corpus("demo-en", few).posts.query("split == 'dev'")
    runs = [part.config for part in of_words.parts]
    each = np.array([results.run_or_load(one, few).predictions().query("split == 'dev'")["log_odds"] for one in runs])
    *_, weights = decision.joined(each, np.arange(len(dev)), dev["label"])
    wanted = weights @ ((each - each.mean(1, keepdims=True)) / each.std(1, keepdims=True))
    said = of_words.predict(pd.DataFrame({"text": dev["text"]}))["probability"]
    np.testing.assert_allclose(np.log(said / (1 - said)), wanted, atol=1e-3)


# --- folders ------------------------------------------------------------------------------------


def test_a_changed_byte_a_missing_file_and_another_version_are_refused(of_words: Detector, tmp_path: Path) -> None:
    of_words.save_pretrained(tmp_path / "d")
    for path in sorted((tmp_path / "d").iterdir()):
        if path.name == "README.md":
            continue
        content = path.read_bytes()
        for change in (content[:-9] + bytes([content[-9] ^ 1]) + content[-8:], content[: len(content) // 2], None):
            path.unlink() if change is None else path.write_bytes(change)
            with pytest.raises(SavedDetectorError, match=r"again|train"):
                Detector.from_pretrained(tmp_path / "d")
        path.write_bytes(content)
    about = json.loads((tmp_path / "d" / "config.json").read_text())
    (tmp_path / "d" / "config.json").write_text(json.dumps(about | {"format": 99, "rumorlib": "9.9"}))
    with pytest.raises(SavedDetectorError, match=r"saved by rumorlib 9\.9 .* install that version"):
        Detector.from_pretrained(tmp_path / "d")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").write_text("mine")
    with pytest.raises(SavedDetectorError, match="no saved detector"):
        of_words.save_pretrained(tmp_path / "other")


def test_a_class_of_ones_own_runs_only_where_it_is_allowed(few: cfg.Settings, tmp_path: Path) -> None:
    place = Detector.from_runs([MAKE["own"](few)], few).save_pretrained(tmp_path / "d")
    with pytest.raises(SavedDetectorError, match="own_code=True"):
        Detector.from_pretrained(place)


def test_a_detector_of_another_author_saved_before_the_one_door_still_answers(few: cfg.Settings) -> None:
    from rumorlib.results.saved import models

    part = Detector.from_runs([MAKE["safe"](few)], few).parts[0]
    about, tensors, words = models.tensors_of(part)
    made = about["run"]["detector"]
    read = {name: made[name] for name in ("word2vec", "image", "image_components")}
    about["run"]["detector"] = read | dict(made["options"])
    again = models.of_tensors(about, tensors, words, part.reader.encoders, own_code=False)
    assert again.config == part.config and again.log_odds(["a post"], [None]) == part.log_odds(["a post"], [None])


@pytest.mark.parametrize("path", ["rumorlib.models.others.pieces:Classifier", "rumorlib.models.micc:MICC",
                                  "rumorlib.models.nothing:Here", "rumorlib.models.others.safe:Tensor"])  # fmt: skip
def test_a_class_that_is_no_detector_is_a_clear_error(path: str, few: cfg.Settings, tmp_path: Path) -> None:
    from rumorlib.results.saved import models

    part = Detector.from_runs([MAKE["safe"](few)], few).parts[0]
    about, tensors, words = models.tensors_of(part)
    about["run"]["detector"]["path"] = path
    with pytest.raises((SavedDetectorError, ValueError)):
        models.of_tensors(about, tensors, words, part.reader.encoders, own_code=False)


def test_runs_that_no_single_post_can_be_asked_are_refused(few: cfg.Settings) -> None:
    micc = experiments.micc(few, "demo-en")
    for run in (
        micc.stage1,
        replace(micc, kind="exchange", parent=micc),
        rivals.rival(few, "demo-en", "mfan", graph=True),
    ):
        with pytest.raises(ValueError, match=r"no detector for single posts|replied to whom|one corpus"):
            Detector.from_runs([run], few)


# --- decisions ----------------------------------------------------------------------------------


def test_thresholds_do_what_their_goal_says() -> None:
    draw = np.random.default_rng(3)
    label = (draw.random(400) < 0.3).astype(int)
    prob = 1 / (1 + np.exp(-(2.0 * label - 1 + draw.normal(size=400))))

    def scores(limit: float) -> tuple[float, float, float, int]:
        called = prob >= limit
        right, alarms, missed = (
            (called & (label == 1)).sum(),
            (called & (label == 0)).sum(),
            (~called & (label == 1)).sum(),
        )
        return 2 * right / (2 * right + alarms + missed), right / max(1, right + alarms), right, 5 * missed + alarms

    every = [scores(limit) for limit in [0.0, *np.sort(prob), 1.0]]
    chosen = {goal: scores(decision.threshold(prob, label, goal)) for goal in ("f1", "precision=.9", "cost=5:1")}
    assert chosen["f1"][0] == max(f1 for f1, *_ in every)
    assert chosen["precision=.9"][1] >= 0.9
    assert chosen["precision=.9"][2] == max(right for _, precision, right, _ in every if precision >= 0.9)
    assert chosen["cost=5:1"][3] == min(cost for *_, cost in every)
    assert decision.threshold(prob, label, "0.3") == 0.3
    for goal in ("f2", "precision=2", "cost=5:0", "1.5", "", "cost=-1:1", "f1=.9"):
        with pytest.raises(ValueError, match=r"precision=\.9 or cost=5:1"):
            decision.threshold(prob, label, goal)
    with pytest.raises(ValueError, match=r"no threshold has a precision of 0\.99"):
        decision.threshold([0.9, 0.8], [0, 1], "precision=.99")


def test_calibration_finds_the_slope_that_was_drawn() -> None:
    draw = np.random.default_rng(0)
    true = draw.normal(size=20_000)
    label = (draw.random(20_000) < 1 / (1 + np.exp(-true))).astype(int)
    slope, intercept = decision.platt(3 * true + 1, label)
    assert slope == pytest.approx(1 / 3, rel=0.05) and intercept == pytest.approx(-1 / 3, abs=0.06)
    assert decision.platt([1.0] * 40, [0, 1] * 20) == (1.0, 0.0)
    assert decision.platt(-true, label) == (1.0, 0.0), "dev's labels run against it: better left as it is"


def test_a_detector_that_runs_against_the_labels_has_no_weight_and_scales_have_no_say() -> None:
    rng = np.random.default_rng(0)
    label, dev = np.tile([0, 1], 200), np.arange(300)
    good, fair, noise = (strength * label + rng.normal(size=400) for strength in (2.0, 1.0, 0.0))
    noise[:300] -= 0.3 * label[:300] - 0.15  # against the labels, by chance
    mean, spread, weights = decision.joined(np.array([good, fair, noise]), dev, label)
    assert weights[2] == 0 and weights[0] > weights[1] > 0 and weights.sum() == pytest.approx(1)
    *_, again = decision.joined(np.array([9 * good - 4, fair, noise]), dev, np.where(np.arange(400) < 300, label, 7))
    np.testing.assert_allclose(again, weights, atol=1e-9)
    np.testing.assert_allclose([mean[0], spread[0]], [good[dev].mean(), good[dev].std()])
    assert decision.joined(np.array([good, fair]), dev[:10], label)[2].tolist() == [0.5, 0.5], "too few to tell"
    assert decision.joined(np.array([-good, -fair]), dev, label)[2].tolist() == [0.5, 0.5], "nothing has a say"


def test_precision_at_another_share_of_rumors_is_bayes() -> None:
    found = decision.at_shares(0.8, 0.1)
    assert found["0.5"] == pytest.approx(0.8 / 0.9) and found["0.01"] == pytest.approx(0.008 / (0.008 + 0.099))


def test_posts_unlike_training_are_marked_and_the_others_seldom() -> None:
    draw = np.random.default_rng(1)
    words = [f"word{i}" for i in range(60)]
    like = [" ".join(draw.choice(words, 8)) for _ in range(400)]
    known = novelty.Novelty.fit(like[:200], None)
    limit = novelty.limits(known.distances(like[200:300], None))
    assert novelty.unlike(known.distances(like[300:], None), limit).mean() < 0.15
    assert novelty.unlike(known.distances(["今天洪水淹没了城市", "zzzz qqqq xxxx!!"], None), limit).all()
    assert not novelty.unlike(known.distances([""], None), limit).any(), "a post without text has no distance"


# --- A detector as an ONNX file: onnxruntime's answers are the network's.


@pytest.mark.parametrize("make", [experiments.micc, experiments.dmfl], ids=["micc", "dmfl"])
def test_an_exported_detector_answers_as_it_did(make, few_drawn: Settings, tmp_path: Path) -> None:
    runtime, _ = pytest.importorskip("onnxruntime"), pytest.importorskip("onnxscript")
    part = models.of_run(make(few_drawn, "demo-en"), few_drawn)
    corpus = inputs.corpus("demo-en", few_drawn)
    texts, pictures = corpus.posts["text"].tolist()[:40], models.pictures_of(corpus, np.arange(40))
    told = part.log_odds(texts, pictures)
    fed = {name: tensor.numpy() for name, tensor in export.inputs_of(part.reader.batch(texts, pictures)).items()}
    answers, sizes = {}, {}
    for int8 in (False, True):
        path = tmp_path / f"{int8}.onnx"
        names = export.to_onnx(part, path, texts[:2], pictures[:2], int8)
        session = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
        read = {one.name for one in session.get_inputs()}  # what the answer does not depend on is no input
        assert read <= set(names)
        answers[int8] = session.run(None, {name: fed[name] for name in read})[0]
        sizes[int8] = path.stat().st_size
    np.testing.assert_allclose(answers[False], told, atol=1e-4)
    assert sizes[True] < 0.8 * sizes[False] and np.corrcoef(answers[True], told)[0, 1] > 0.98
