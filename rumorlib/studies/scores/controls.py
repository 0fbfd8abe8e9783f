"""What the comparisons rest on: the corpora counted, their leaks, bounds of one modality, pointing, retrieval.

Frames about real corpora hold counts only; the words and pictures of a post are shown for drawn scenes alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import comb
from typing import Any

import numpy as np
import pandas as pd

from rumorlib import inputs
from rumorlib.config import Settings, about
from rumorlib.data.drawn_scenes import drawn
from rumorlib.data.drawn_scenes.claims import DrawnConfig
from rumorlib.data.posts import Corpus
from rumorlib.experiments import corpus_name, model_name
from rumorlib.metrics.estimates import of_shares
from rumorlib.results import Report
from rumorlib.results.provenance import RUNS, by_runs, run_names
from rumorlib.studies.scores.comparison import pooled, score

SEES = {  # one-modality rows, each with its own Bayes bound
    "text_forest": "text", "tfidf_lr": "text", "surface_lr": "text", "text_lr": "text",
    "image_forest": "image", "image_lr": "image", "majority": "neither",
}  # fmt: skip
BY_HEART = 0.95  # train accuracy from which a fit knows the train posts by heart


# --- corpora ------------------------------------------------------------------------------------


def corpora(settings: Settings) -> list[Corpus]:
    """The profile's corpora with their dev splits, those without pictures last."""
    return [inputs.corpus(name, settings) for name in dict.fromkeys((*settings.datasets, *settings.text_only))]


def label_meanings(loaded: Sequence[Corpus]) -> pd.DataFrame:
    """What label 1 means on each corpus: dataset, label_1_means, posts, rumor_share, dropped."""
    return pd.DataFrame([
        {"dataset": c.name, "label_1_means": c.label_means, "posts": len(c.posts),
         "rumor_share": float(c.posts["label"].mean()), "dropped": len(c.dropped)}
        for c in loaded
    ])  # fmt: skip


def corpus_counts(posts: pd.DataFrame, name: str) -> pd.DataFrame:
    """Counts of one posts table per split and label (c_1).

    Returns: dataset, split, label, posts, events, images (distinct image groups), posts_per_image (of posts with one),
        without_image, texts (distinct), chars_median, chars_p90 (characters: Chinese has no spaces to count words by).
    """
    rows = []
    order = {split: i for i, split in enumerate(dict.fromkeys(["train", "dev", "test", *posts["split"]]))}
    for (split, label), part in posts.groupby(["split", "label"], sort=False):
        pictured = part[part["image"] != ""]
        images = pictured["image_group"].where(pictured["image_group"] != "", pictured["image"]).nunique()
        length = part["text"].str.len()
        rows.append({
            "dataset": name, "split": split or "(none)", "label": int(label), "posts": len(part),
            "events": part.loc[part["event"] != "", "event"].nunique(), "images": images,
            "posts_per_image": len(pictured) / images if images else np.nan,
            "without_image": len(part) - len(pictured), "texts": part["text"].nunique(),
            "chars_median": float(length.median()), "chars_p90": float(length.quantile(0.9)), "order": order[split],
        })  # fmt: skip
    frame = pd.DataFrame(rows).sort_values(["order", "label"], ignore_index=True)
    return frame.drop(columns="order")


def count_table(loaded: Sequence[Corpus]) -> pd.DataFrame:
    """`corpus_counts` of several corpora below each other (c_1; c_fig2 draws its posts)."""
    return pd.concat([corpus_counts(c.posts, c.name) for c in loaded], ignore_index=True)


def example_scenes(corpus: Corpus, colours: Mapping[str, str], split: str = "dev") -> dict[str, list[Any]]:
    """One drawn post without conflict and one of every conflict, with its truth box (c_fig1).

    Args:
        corpus: "demo-en": figures hold no Chinese.
        colours: "support" and "against" -> colour of that box.
    Returns: post_id, conflict, label, images, titles, boxes: lists of one length, as `pictures.example_posts` takes
        the last three.
    Raises: ValueError: not a drawn corpus.
    """
    if about(corpus.name).kind != "drawn":
        raise ValueError(f"{corpus.name}: only drawn scenes may be shown")
    posts = corpus.posts[corpus.posts["split"] == split]
    boxed = posts[(posts["support_x0"] >= 0) | (posts["against_x0"] >= 0)]
    shown = pd.concat([boxed, posts]).drop_duplicates("conflict").sort_values(["label", "conflict"])
    made: dict[str, list[Any]] = {name: shown[name].tolist() for name in ("post_id", "conflict", "label")}
    made["images"] = [corpus.images.pixels(key, 96) for key in shown["image"]]
    made["titles"] = [
        f"{'rumor' if row.label else 'non-rumor'} ({row.conflict}): {row.text}" for row in shown.itertuples()
    ]
    made["boxes"] = [
        [(tuple(row[f"{kind}_{edge}"] for edge in ("x0", "y0", "x1", "y1")), colour)
         for kind, colour in colours.items() if row[f"{kind}_x0"] >= 0]
        for row in shown.to_dict("records")
    ]  # fmt: skip
    return made


# --- references of the models -------------------------------------------------------------------


def pointing_table(reports: Iterable[Report], by_factor: bool = False) -> pd.DataFrame:
    """Share of matching dev posts whose most relevant patch lies on the claimed object, drawn scenes only.

    Args: by_factor: False: all posts, per scale; True: the pooled row per clutter and size of the claimed object.
    Returns: dataset, model, stage ("stage 1 only" or "fine-tuned"), scale or factor and level, n_reachable, chance,
        pointing, recall_chance, recall (at K; means over seeds), low, high (of pointing: 95 %, posts and seeds; empty
        for pooled rows, where a post counts once per scale), n_seeds.
    """
    reports = list(reports)
    frame = _extras(reports, "pointing")
    kind = ["factor", "level"] if by_factor else ["scale"]
    keys = ["dataset", "model", *kind, "stage"]
    shown = ["n_reachable", "chance", "pointing", "recall_chance", "recall"]
    if frame.empty:
        return pd.DataFrame(columns=[*keys, *shown, "n_seeds", "low", "high"])
    whole = frame["factor"] == "all"
    frame = frame[~whole & (frame["scale"] == "pooled")] if by_factor else frame[whole]
    groups = frame.groupby(keys, sort=False)
    found = [of_shares(part["pointing"], part["n_reachable"].mean()) for _, part in groups]
    frame = groups[shown].mean().reset_index().assign(n_seeds=groups.size().to_numpy())
    ends = pd.DataFrame([tuple(one)[1:] for one in found], columns=["low", "high"])
    single = np.zeros(len(frame), bool) if by_factor else (frame["scale"] != "pooled").to_numpy()
    return _of_models(frame.assign(low=ends["low"].where(single), high=ends["high"].where(single)), reports)


def abstention_table(reports: Iterable[Report]) -> pd.DataFrame:
    """How well the level of relevance alone tells each conflict from a match, drawn scenes only.

    Returns: dataset, model, conflict, factor, level, scale, stage, n, auc (mean over seeds; not trained on labels
        before stage 2; at random 0.5). factor, level: as `evidence.abstention` has them.
    """
    reports = list(reports)
    frame = _extras(reports, "abstention")
    keys = ["dataset", "model", "conflict", "factor", "level", "scale", "stage"]
    if frame.empty:
        return pd.DataFrame(columns=[*keys, "n", "auc"])
    frame = frame.reindex(columns=[*keys, "n", "auc"])  # runs of earlier versions have no factors
    read = pd.to_numeric(frame["level"])  # empty cells and whole numbers come back from a csv file as fractions
    frame["level"] = read.map(lambda level: "" if np.isnan(level) else f"{level:g}")
    frame["factor"] = frame["factor"].astype(object).where(frame["factor"].notna(), "all")
    return _of_models(frame.groupby(keys, sort=False)[["n", "auc"]].mean().reset_index(), reports)


def _of_models(frame: pd.DataFrame, reports: Sequence[Report]) -> pd.DataFrame:
    """The frame, each row of the runs of its dataset and model."""
    rows = [{"dataset": corpus_name(r.config), "model": model_name(r.config), RUNS: run_names([r])} for r in reports]
    runs = pd.DataFrame(rows).groupby(["dataset", "model"])[RUNS].sum()  # one tuple of all their runs
    return by_runs(frame.merge(runs.reset_index(), how="left"), "dataset", "model")


def _extras(reports: Iterable[Report], name: str) -> pd.DataFrame:
    """The extra frame of every report that has it, below each other."""
    frames = [
        r.extra(name).assign(dataset=corpus_name(r.config), model=model_name(r.config))
        for r in reports
        if f"extras/{name}.csv" in r.hashes
    ]
    return pd.concat(frames, ignore_index=True).astype({"scale": str}) if frames else pd.DataFrame()


def retrieval_frame(reports: Iterable[Report]) -> pd.DataFrame:
    """Recall at k of stage 1 both ways, beside what a random order would reach (M-E1).

    Returns: dataset, model (SCLIP, text tower), language, split, direction (text to image or image to text),
        k, recall, recall_twins (captions of the same words counted as hits; empty where a run did not store it),
        chance (of recall), n_texts, n_images, median_rank.
    """
    ways = {"t2i": "text to image", "i2t": "image to text"}
    rows = []
    for report in reports:
        for split, languages in report.metrics.items():
            for language, values in languages.items():
                n_texts, n_images = int(values["n_texts"]), int(values["n_images"])
                of = {"dataset": corpus_name(report.config), "model": f"SCLIP, {language}",
                      "language": language, "split": split}  # fmt: skip
                for way, direction in ways.items():
                    found = {key: value for key, value in values.items() if key.startswith(f"{way}_recall_at_")}
                    for k in sorted(int(key.rsplit("_", 1)[1]) for key in found):
                        chance = min(1.0, k / n_images) if way == "t2i" else _any_of(n_texts, n_texts // n_images, k)
                        rows.append(of | {
                            "direction": direction, "k": k, "recall": found[f"{way}_recall_at_{k}"],
                            "recall_twins": values.get(f"{way}_twins_recall_at_{k}", np.nan), "chance": chance,
                            "n_texts": n_texts, "n_images": n_images, "median_rank": values[f"{way}_median_rank"],
                            RUNS: run_names([report]),
                        })  # fmt: skip
    return by_runs(pd.DataFrame(rows), "dataset", "model")


def _any_of(n: int, right: int, k: int) -> float:
    """Probability that k of n things drawn at random hold one of the `right` ones."""
    return 1 - comb(n - right, k) / comb(n, k) if k <= n else 1.0


def histories(reports: Iterable[Report]) -> pd.DataFrame:
    """Losses of every epoch of several runs, as `plots.training_curves` draws them: run, and the histories' columns."""
    frames = []
    for report in reports:
        config = report.config
        seed = f", seed {config.seed}" if config.seed else ""
        frame = report.history().assign(run=f"{model_name(config)}, {corpus_name(config)}{seed}")
        frames.append(frame.assign(**{RUNS: [run_names([report])] * len(frame)}))
    frame = pd.concat(frames, ignore_index=True)
    return by_runs(frame[["run", *(column for column in frame if column != "run")]], "run")


def bounds_table(reports: Iterable[Report], split: str = "dev") -> pd.DataFrame:
    """Accuracy beside the Bayes bounds of drawn scenes: one modality may not beat its bound, even known by
    heart; a model that uses both must.

    Returns: dataset, model, classifier_input (MICC only), sees, bound (of what it sees; of the rule oracle if both),
        train_accuracy, accuracy, low, high, over_text, over_image (accuracy minus each bound), reading.
    """
    reports = [r for r in reports if about(r.config.dataset).kind == "drawn"]
    train = {(corpus_name(r.config), model_name(r.config)): r.metrics["train"]["accuracy"] for r in reports}
    rows = [_oracle(dataset) for dataset in dict.fromkeys(corpus_name(r.config) for r in reports)]
    for config, predictions in pooled(reports):
        part = predictions[predictions["split"] == split].reset_index(drop=True)
        limit = drawn.bayes_bounds(DrawnConfig(seed=config.corpus_seed))
        text, image = limit["text_only"], limit["image_only"]
        sees = SEES.get(config.variant, "both")
        bound = {"text": text, "image": image, "neither": 0.5}.get(sees, limit["rule_oracle"])
        found = score(config.dataset, part, "accuracy")
        row = {"dataset": corpus_name(config), "model": model_name(config)}
        row |= {"classifier_input": getattr(config.detector, "classifier_input", "-"), "sees": sees, "bound": bound}
        row |= {"train_accuracy": train[row["dataset"], row["model"]], "accuracy": found.value}
        row |= {"low": found.low, "high": found.high, "over_text": found.value - text}
        row |= {"over_image": found.value - image}
        rows.append(row | {"reading": _reading(row, max(text, image)), RUNS: run_names(predictions)})
    return by_runs(pd.DataFrame(rows), "dataset", "model")


def _oracle(dataset: str) -> dict[str, Any]:
    """The row of the generator's own rule: a bound, no model."""
    limit = drawn.bayes_bounds()
    row = {"dataset": dataset, "model": "rule oracle", "classifier_input": "-", "sees": "both"}
    row |= {"bound": limit["rule_oracle"]} | dict.fromkeys(("train_accuracy", "accuracy", "low", "high"), np.nan)
    over = {f"over_{sees}": limit["rule_oracle"] - limit[f"{sees}_only"] for sees in ("text", "image")}
    return row | over | {"reading": "reference: the rule that made the labels"}


def _reading(row: dict[str, Any], unimodal: float) -> str:
    """What a row of `bounds_table` shows, from its interval."""
    if row["sees"] == "both":
        if row["low"] > unimodal:
            return "above both one-modality bounds"
        return "below a one-modality bound" if row["high"] < unimodal else "not told apart from the better bound"
    by_heart = "knows train by heart; " if row["train_accuracy"] >= BY_HEART else ""
    return by_heart + ("above its bound: look for a leak" if row["low"] > row["bound"] else "not above its bound")
