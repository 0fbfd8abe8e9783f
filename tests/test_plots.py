"""Figures show the numbers and boxes they are given: checked on the artists, never on pixels."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise, product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from rumorlib.figures import fronts, look, pictures, plots
from rumorlib.results import artifacts

pytest.importorskip("seaborn")
import matplotlib

matplotlib.use("agg")
import io

import matplotlib.pyplot as plt
import pytest
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from rumorlib.figures import evidence
from rumorlib.results.saved.explained import PATCHES, WORDS, Explanation

NAN = float("nan")
BOX = (8.0, 16.0, 24.0, 32.0)


@pytest.fixture(autouse=True)
def nothing_leaks() -> Iterator[None]:
    """No figure stays open and no global setting changes."""
    before, settings = plt.get_fignums(), dict(matplotlib.rcParams)
    yield
    assert plt.get_fignums() == before
    assert dict(matplotlib.rcParams) == settings


def scores(**columns: list) -> pd.DataFrame:
    """A frame over all combinations of `columns` with an estimate and its interval."""
    frame = pd.DataFrame(list(product(*columns.values())), columns=list(columns))
    estimate = 0.6 + 0.3 * np.arange(len(frame)) / len(frame)
    return frame.assign(estimate=estimate, low=estimate - 0.05, high=estimate + 0.03)


def values(name: str = "value", **columns: list) -> pd.DataFrame:
    return scores(**columns).rename(columns={"estimate": name}).drop(columns=["low", "high"])


LABELS = values("n", dataset=["demo-en", "twitter"], split=["train", "test"], label=[0, 1])
SHORTCUTS = scores(dataset=["twitter"], shortcut=["date", "length", "image"], metric=["auc"])
MODELS = scores(dataset=["demo-en", "photo-en"], model=["majority", "DMFL", "MICC"], metric=["accuracy", "macro_f1"])
LAMBDAS = scores(dataset=["demo-en", "demo-zh"], fusion_weight=[0.9, 0.1, 0.5], metric=["accuracy"])
RECALL = values("recall", direction=["text to image", "image to text"], k=[1, 5, 10], model=["one scale", "two scales"])
GRID = values("accuracy", top_k=[4, 1, 2], fusion_weight=[0.7, 0.3])
COSTS = pd.DataFrame(
    {"model": ["MICC", "DMFL"], "n_parameters": [2.3e6, 4.1e6], "n_macs": [3e8, 5e8], "latency_ms": [8.2, 0.25]}
)
HISTORY = pd.DataFrame(
    {"run": ["a"] * 3 + ["b"] * 3, "epoch": [1, 2, 3] * 2, "train_loss": [0.7, 0.5, 0.4, 0.8, 0.6, 0.5],
     "dev_loss": [0.7, 0.6, 0.65, 0.9, 0.8, 0.7], "train_align": [1.0] * 6, "lr": [0.1] * 6},
    index=[0, 1, 2] * 2,
)  # fmt: skip
Draw = Callable[[pd.DataFrame], Figure]
FRAMES: dict[str, tuple[Draw, pd.DataFrame, str, int]] = {  # draw, frame, a column it needs, axes expected
    "label_counts": (plots.label_counts, LABELS, "n", 2),
    "shortcut_scores": (plots.shortcut_scores, SHORTCUTS, "shortcut", 1),
    "training_curves": (plots.training_curves, HISTORY, "run", 2),
    "retrieval_bars": (plots.retrieval_bars, RECALL, "direction", 2),
    "metric_bars": (plots.metric_bars, MODELS, "high", 2),
    "sweep": (lambda frame: plots.sweep(frame, "fusion_weight"), LAMBDAS, "estimate", 2),
    "grid_heatmap": (lambda frame: plots.grid_heatmap(frame, "top_k", "fusion_weight", "accuracy"), GRID, "top_k", 2),
    "cost_bars": (fronts.cost_bars, COSTS, "n_macs", 3),
}
every_figure = pytest.mark.parametrize("name", FRAMES)


@every_figure
def test_a_frame_becomes_a_figure_and_stays_as_it_was(name: str) -> None:
    draw, frame, _, n_axes = FRAMES[name]
    before = frame.copy(deep=True)
    figure = draw(frame)
    figure.draw_without_rendering()
    assert isinstance(figure, Figure) and len(figure.axes) == n_axes
    pd.testing.assert_frame_equal(frame, before)


@every_figure
def test_a_missing_column_is_named(name: str) -> None:
    draw, frame, column, _ = FRAMES[name]
    with pytest.raises(ValueError, match=rf"lacks the column\(s\) {column}"):
        draw(frame.drop(columns=column))


@every_figure
def test_one_row_is_enough_and_no_row_is_refused(name: str) -> None:
    draw, frame, _, _ = FRAMES[name]
    draw(frame.iloc[:1]).draw_without_rendering()
    with pytest.raises(ValueError, match="nothing to draw"):
        draw(frame.iloc[:0])


@every_figure
def test_missing_numbers_are_left_out(name: str) -> None:
    draw, frame, _, _ = FRAMES[name]
    holes = frame.copy()
    numbers = ["estimate", "low", "high", "value", "recall", "accuracy", "dev_loss", "n_macs"]
    for column in set(frame) & set(numbers):
        holes[column] = holes[column].astype(float).where(np.arange(len(holes)) % 2 == 1)
    draw(holes).draw_without_rendering()


def legend_texts(figure: Figure) -> list[str]:
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def test_dots_and_intervals_stand_at_the_numbers_of_the_frame() -> None:
    figure = plots.metric_bars(MODELS, chance=0.5, title="Main comparison")
    assert [axes.get_title() for axes in figure.axes] == ["demo-en", "photo-en"]
    assert [tick.get_text() for tick in figure.axes[0].get_yticklabels()] == ["majority", "DMFL", "MICC"]
    assert legend_texts(figure) == ["accuracy", "macro F1", "chance"] and figure.get_suptitle() == "Main comparison"
    for axes, dataset in zip(figure.axes, ("demo-en", "photo-en")):
        dots = [line for line in axes.lines if line.get_linestyle() == "None"]
        intervals = [c for c in axes.collections if isinstance(c, LineCollection)]
        for metric, dot, interval in zip(("accuracy", "macro_f1"), dots, intervals):
            part = MODELS.query(f"dataset == {dataset!r} and metric == {metric!r}")
            np.testing.assert_allclose(dot.get_xdata(), part["estimate"])
            ends = np.array([segment[:, 0] for segment in interval.get_segments()])
            np.testing.assert_allclose(ends, part[["low", "high"]])
            np.testing.assert_array_equal(np.round(np.asarray(dot.get_ydata(), float)), [0, 1, 2])
    bottom, top = figure.axes[0].get_ylim()
    assert bottom > top  # the first model stands on top


def test_with_main_rows_each_dataset_has_its_best_first_and_names_what_it_lacks() -> None:
    frame = MODELS.drop(index=MODELS.query("dataset == 'photo-en' and model == 'DMFL'").index)
    frame.loc[frame["model"] == "majority", "estimate"] = [0.9, 0.1, 0.1, 0.1]
    figure = plots.metric_bars(frame, main=["MICC"])
    names = [[tick.get_text() for tick in axes.get_yticklabels()] for axes in figure.axes]
    assert names == [["majority", "MICC", "DMFL"], ["MICC", "majority"]]
    bold = [tick.get_text() for axes in figure.axes for tick in axes.get_yticklabels() if tick.get_weight() == "bold"]
    assert bold == ["MICC", "MICC"]
    assert [text.get_text() for axes in figure.axes for text in axes.texts] == ["not measured here: DMFL"]


def test_a_models_name_can_be_explained_beside_it() -> None:
    figure = plots.metric_bars(MODELS, told={"DMFL": "two chains"})
    assert [tick.get_text() for tick in figure.axes[0].get_yticklabels()] == ["majority", "DMFL: two chains", "MICC"]


def test_a_score_without_interval_is_a_dot_only() -> None:
    figure = plots.metric_bars(MODELS.iloc[:1].assign(low=NAN, high=None))
    figure.draw_without_rendering()
    assert figure.axes[0].lines[0].get_xdata()[0] == MODELS["estimate"][0]
    assert figure.axes[0].get_xlabel() == "accuracy" and not figure.legends


def test_many_categories_make_a_higher_figure() -> None:
    many = scores(dataset=["demo-en"], model=[f"model {i}" for i in range(40)], metric=["accuracy"])
    figure = plots.metric_bars(many)
    figure.draw_without_rendering()
    boxes = [label.get_window_extent() for label in figure.axes[0].get_yticklabels()]
    assert all(upper.y0 >= lower.y1 for upper, lower in pairwise(boxes))


def test_shortcuts_stand_beside_chance() -> None:
    axes = plots.shortcut_scores(SHORTCUTS).axes[0]
    assert any(list(line.get_xdata()) == [0.5, 0.5] for line in axes.lines) and axes.get_xlabel() == "AUC"
    assert not legend_texts(plots.shortcut_scores(SHORTCUTS, chance=None))


def bars(figure: Figure, axes: int = 0) -> list[list[float]]:
    return [[bar.get_height() for bar in group] for group in figure.axes[axes].containers if hasattr(group, "patches")]


def test_bars_hold_the_counts_of_each_class() -> None:
    figure = plots.label_counts(LABELS.assign(n=range(1000, 1008)))
    assert bars(figure) == [[1000, 1002], [1001, 1003]] and bars(figure, 1) == [[1004, 1006], [1005, 1007]]
    assert legend_texts(figure) == ["non-rumor", "rumor"]
    assert "1,003" in [text.get_text() for text in figure.axes[0].texts]


def test_retrieval_has_a_panel_per_direction() -> None:
    figure = plots.retrieval_bars(RECALL)
    assert [axes.get_title() for axes in figure.axes] == ["text to image", "image to text"]
    assert (
        bars(figure, 1)[0] == RECALL.query("direction == 'image to text' and model == 'one scale'")["recall"].tolist()
    )


def test_training_curves_mark_the_lowest_dev_loss() -> None:
    figure = plots.training_curves(HISTORY)
    loss, align = figure.axes
    assert (loss.get_ylabel(), align.get_ylabel()) == ("loss", "align")
    dots = [(line.get_xdata()[0], line.get_ydata()[0]) for line in loss.lines if line.get_marker() == "o"]
    assert dots == [(2, 0.6), (3, 0.7)] and len(align.lines) == 2
    assert legend_texts(figure) == ["a", "b", "train", "dev"]
    one_language = HISTORY.assign(train_en=HISTORY["train_loss"].where(HISTORY["run"] == "a"), train_zh=0.5)
    panels = [axes.get_ylabel() for axes in plots.training_curves(one_language).axes]
    assert panels == ["loss", "align", "loss, Chinese"], "English is all of the loss of the run that has it"
    with pytest.raises(ValueError, match="train_<quantity>"):
        plots.training_curves(HISTORY[["run", "epoch", "lr"]])


def test_a_sweep_is_drawn_in_order_with_its_band_its_best_point_and_the_papers() -> None:
    figure = plots.sweep(LAMBDAS, "fusion_weight", "λ", reference={"demo-en": 0.65})
    first, second = figure.axes
    part = LAMBDAS.query("dataset == 'demo-en'").sort_values("fusion_weight")
    reference, line, star = first.lines
    np.testing.assert_allclose(line.get_xdata(), [0.1, 0.5, 0.9])
    np.testing.assert_allclose(line.get_ydata(), part["estimate"])
    assert star.get_xdata()[0] == part.loc[part["estimate"].idxmax(), "fusion_weight"]
    assert list(reference.get_xdata()) == [0.65, 0.65] and len(second.lines) == 2
    band = next(c for c in first.collections if isinstance(c, PolyCollection)).get_paths()[0].vertices
    assert {round(v, 6) for v in band[:, 1]} == {round(v, 6) for v in [*part["low"], *part["high"]]}
    assert first.get_xlabel() == "λ" and legend_texts(figure) == ["best point", "best in the paper"]


def test_a_sweep_takes_std_for_the_band_or_nothing() -> None:
    bare = LAMBDAS.drop(columns=["low", "high"])
    plots.sweep(bare, "fusion_weight").draw_without_rendering()
    band = plots.sweep(bare.assign(std=0.1), "fusion_weight").axes[0].collections[0].get_paths()[0].vertices
    assert band[:, 1].min() == pytest.approx(LAMBDAS.query("dataset == 'demo-en'")["estimate"].min() - 0.1)


def test_a_sweep_can_be_logarithmic_or_over_categories() -> None:
    k = scores(dataset=["demo-en"], top_k=[1, 2, 4, 8], metric=["accuracy"])
    axes = plots.sweep(k, "top_k", scale="log").axes[0]
    assert axes.get_xscale() == "log" and [t.get_text() for t in axes.get_xticklabels()] == ["1", "2", "4", "8"]
    fields = scores(dataset=["demo-en"], fields=["[32]", "[64]", "[32, 64]"], metric=["accuracy"])
    axes = plots.sweep(fields, "fields", scale="category", reference={"demo-en": "[32, 64]"}).axes[0]
    assert [t.get_text() for t in axes.get_xticklabels()] == ["[32]", "[64]", "[32, 64]"]
    assert list(axes.lines[0].get_xdata()) == [2, 2] and list(axes.lines[1].get_xdata()) == [0, 1, 2]


def test_no_line_joins_two_points_and_a_sweep_says_how_far_it_moves() -> None:
    two = LAMBDAS[LAMBDAS["fusion_weight"] > 0.1]
    axes = plots.sweep(two, "fusion_weight", reference={"demo-en": 0.65}, best=False).axes[0]
    assert [(line.get_linestyle(), len(line.get_xdata())) for line in axes.lines] == [("None", 2)]
    assert axes.get_title() == "demo-en\nmoves 10.0 points, intervals up to 8.0 wide"
    said = "λ; the score moves {} than its intervals are wide{}"
    for wider, more, where in (
        (0, "more", ""),
        (0.2, "less", ""),
        (0.2 * (two["dataset"] == "demo-en"), "more", " on demo-zh alone"),
    ):
        figure = plots.sweep(two.assign(high=two["high"] + wider), "fusion_weight", title="λ")
        assert figure.get_suptitle().replace("\n", " ") == said.format(more, where)
    both = pd.concat([two, two.assign(metric="f1_weighted", low=np.nan, high=np.nan)])
    assert {"accuracy", "F1 weighted (no interval)"} <= set(legend_texts(plots.sweep(both, "fusion_weight")))
    panels = plots.sweep(two.assign(n_seeds=[1, 1, 3, 10]), "fusion_weight").axes
    assert [axes.get_title().split("\n")[0] for axes in panels] == ["demo-en, 1 seed", "demo-zh, 3 to 10 seeds"]


def test_the_grid_is_sorted_and_its_best_cell_framed() -> None:
    holes = GRID.drop(index=0)
    axes = plots.grid_heatmap(holes, "top_k", "fusion_weight", "accuracy").axes[0]
    assert [t.get_text() for t in axes.get_yticklabels()] == ["1", "2", "4"]
    frame = next(p for p in axes.patches if isinstance(p, Rectangle))
    best = GRID.loc[GRID["accuracy"].idxmax()]
    assert ([0.3, 0.7][int(frame.get_x())], [1, 2, 4][int(frame.get_y())]) == (best["fusion_weight"], best["top_k"])
    assert len(axes.texts) == 5
    scale = plots.grid_heatmap(GRID, "top_k", "fusion_weight", "accuracy", ends=(0.2, 0.9)).axes[0].collections[0]
    assert scale.get_clim() == (0.2, 0.9)
    with pytest.raises(ValueError, match="average over seeds first"):
        plots.grid_heatmap(pd.concat([GRID, GRID]), "top_k", "fusion_weight", "accuracy")


def test_costs_are_written_with_units() -> None:
    figure = fronts.cost_bars(COSTS)
    assert [[t.get_text() for t in axes.texts] for axes in figure.axes] == [
        ["2.3M", "4.1M"], ["300M", "500M"], ["8.2", "0.25"]
    ]  # fmt: skip
    assert look.compact(999_900) == "1M" and look.compact(0) == "0"
    assert len(fronts.cost_bars(COSTS, {"n_macs": "multiply-adds"}).axes) == 1


# --- pictures -----------------------------------------------------------------------------------


def scene(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, (96, 96, 3), dtype=np.uint8)


def frames(axes: plt.Axes) -> list[tuple[float, ...]]:
    return [(*p.get_xy(), p.get_x() + p.get_width(), p.get_y() + p.get_height()) for p in axes.patches]


def test_example_posts_frame_the_evidence() -> None:
    images = [scene(i) for i in range(6)]
    boxes = [[(BOX, pictures.SUPPORT)], None, [(BOX, pictures.CONTRADICTING)], [], None, None]
    figure = pictures.example_posts(images, [f"a red ball, number {i}" for i in range(6)], boxes)
    figure.draw_without_rendering()
    assert len(figure.axes) == 6 and figure.axes[5].get_title() == "a red ball, number 5"
    assert [frames(axes) for axes in figure.axes[:4]] == [[BOX], [], [BOX], []]
    np.testing.assert_array_equal(figure.axes[4].images[0].get_array(), images[4])
    assert list(figure.axes[0].images[0].get_extent()) == [0, 96, 96, 0]
    assert legend_texts(figure) == ["supports the claim", "contradicts the claim"]
    with pytest.raises(ValueError, match="images 6, titles 1"):
        pictures.example_posts(images, ["one"])
    with pytest.raises(ValueError, match="nothing to draw"):
        pictures.example_posts([], [])


def test_relevance_maps_have_a_row_per_scene_and_a_column_per_scale() -> None:
    random = np.random.default_rng(0)
    relevance = [[random.random((3, 3)), random.random((6, 6))] for _ in range(2)]
    relevance[1][1][0, 0] = -np.inf
    top_boxes = [[[(0, 0, 32, 32)], [BOX]], [[(32, 0, 64, 32)], []]]
    figure = pictures.relevance_maps(
        [scene(0), scene(1)], relevance, top_boxes, ["a red ball", "a star"], [BOX, None], ["32 px", "16 px"]
    )
    figure.draw_without_rendering()
    panels = figure.axes[:6]
    assert [axes.get_title() for axes in panels] == ["scene", "32 px", "16 px", "", "", ""]
    assert [axes.get_ylabel() for axes in panels] == ["a red ball", "", "", "a star", "", ""]
    assert [frames(a) for a in panels] == [[BOX], [BOX, (0, 0, 32, 32)], [BOX, BOX], [], [(32, 0, 64, 32)], []]
    overlays = [axes.images[-1] for axes in panels]
    np.testing.assert_allclose(overlays[1].get_array(), relevance[0][0])
    assert overlays[1].get_clim() == overlays[4].get_clim() != overlays[2].get_clim() == overlays[5].get_clim()
    assert overlays[5].get_array().mask[0, 0] and np.isfinite(overlays[5].get_clim()).all()
    assert legend_texts(figure) == ["object of the claim", "Top-K patch"]
    with pytest.raises(ValueError, match="scales 1, relevance 2"):
        pictures.relevance_maps([scene(0)], relevance[:1], top_boxes[:1], ["a"], scales=["32 px"])


def test_attention_has_one_colour_scale_over_the_epochs_of_a_corpus() -> None:
    random = np.random.default_rng(0)
    maps = {f"epoch {n}": random.dirichlet(np.full(6, 1 / n), size=4) for n in (1, 2, 3)}
    flat = {f"epoch {n}": np.full((3, 5), 0.2 + n / 1e4) for n in (1, 2, 3)}
    figure = pictures.attention_heatmaps({"one": maps, "two": flat}, "Attention", "image patch", "word")
    figure.draw_without_rendering()
    panels = [axes for axes in figure.axes if axes.images]
    assert [axes.get_title() for axes in panels[:3]] == [f"one, epoch {n}" for n in (1, 2, 3)] and len(panels) == 6
    limits = [axes.images[0].get_clim() for axes in panels]
    assert len(set(limits[:3])) == 1 == len(set(limits[3:])) and limits[0] != limits[3]
    assert limits[3] == pytest.approx((1 / 1.1, 1.1)), "noise is not stretched"
    assert panels[3].texts[0].get_text() == "even within 0.1 %", "a map that looks empty says so"
    for axes, weights in zip(panels, maps.values()):
        np.testing.assert_allclose(axes.images[0].get_array(), np.maximum(6 * weights, pictures.FAINTEST))
    assert (figure.get_supxlabel(), figure.get_supylabel()) == ("word", "image patch")
    with pytest.raises(ValueError, match="one shape"):
        pictures.attention_heatmaps({"one": {"a": np.ones((2, 2)), "b": np.ones((2, 3))}})
    with pytest.raises(ValueError, match="as many maps"):
        pictures.attention_heatmaps(
            {"one": {"a": np.ones((2, 2))}, "two": {"a": np.ones((2, 2)), "b": np.ones((2, 2))}}
        )


# --- the look -----------------------------------------------------------------------------------


def test_chinese_labels_are_refused() -> None:
    with pytest.raises(ValueError, match="English"):
        plots.metric_bars(MODELS.assign(model="谣言"))
    with pytest.raises(ValueError, match="English"):
        pictures.example_posts([scene(0)], ["红色的球"])


def test_colours_are_distinct_however_many() -> None:
    for n in (1, len(look.PALETTE), 30):
        assert len({tuple(np.atleast_1d(colour)) for colour in look.colours(n)}) == n


@pytest.mark.parametrize("name", ["m_e4", "m_e7", "d_e6"])
def test_saved_figures_of_the_demo_say_so(name: str, output: Path) -> None:
    maps = {"demo-en": {"epoch 1": np.full((2, 3), 1 / 3), "epoch 2": np.eye(2, 3)}}
    figures = {
        "m_e4": plots.sweep(scores(dataset=["demo-en"], top_k=[1, 2], metric=["accuracy"]), "top_k"),
        "m_e7": plots.grid_heatmap(GRID, "top_k", "fusion_weight", "accuracy"),
        "d_e6": pictures.attention_heatmaps(maps, "Attention"),
    }
    figure = figures[name]
    path = artifacts.save_figure(figure, name, GRID, [], "demo")
    titles = [figure.get_suptitle(), *(axes.get_title() for axes in figure.axes)]
    assert sum("demo profile" in title for title in titles) == 1
    assert path.read_bytes().startswith(b"\x89PNG")
    assert name != "d_e6" or figure.get_suptitle() == "Attention (demo profile)"


def test_a_title_is_no_formula() -> None:
    fig, _ = look.panels(1, 3, 2, title=r"$\frac{1}{$")
    fig.draw_without_rendering()
    plt.close(fig)


# --- pictures of an explanation -------------------------------------------------------------------


HOSTILE = ["$x", "$\\frac{$", "a$b$c", "$$", "\\$", "\x00\x07\x1b[31m", "\u202egnp\u202c", "\u200b\u200d", "洪水淹没",
           "😀👩\u200d🚀", "עברית", "مرحبا", "e\u0301" * 40, "\ufffe", "\ue000", "<b>&amp;</b>", "{}%s\\n",
           "W" * 10_000, "_^_", "#"]  # fmt: skip


def made(words: list[str], shown: bool = True, sides: tuple[int, ...] = (2, 4)) -> Explanation:
    frame = pd.DataFrame([(w, 0, 1, (-1.0) ** i * (i + 1), 0.5) for i, w in enumerate(words)], columns=WORDS)
    rows = [("micc", "relevance", f"{96 // side} px", i, x, y, x + 96 / side, y + 96 / side, float(i), i == 0, 0.5)
            for side in sides for i in range(side * side)
            for x, y in [(96 / side * (i % side), 96 / side * (i // side))]]  # fmt: skip
    answer = pd.Series({"calibrated": 0.7, "unlike_training": True, "missing": ""})
    pixels = np.full((96, 96, 3), 200, np.uint8) if shown else None
    patches = pd.DataFrame(rows if shown else [], columns=PATCHES)
    return Explanation(answer, pd.DataFrame(), frame, 0.25 if shown else np.nan, 1.5, patches, {}, pixels, [])


@pytest.mark.parametrize("text", HOSTILE)
def test_any_text_can_be_drawn(text: str) -> None:
    """Warnings are errors here: none of a glyph that is missing, no mathematics, no error."""
    for kind in ("png", "svg", "pdf"):
        evidence.why(made([text, "word"]), title=text).savefig(io.BytesIO(), format=kind)


def test_it_shows_the_frames() -> None:
    fig = evidence.why(made(["a", "b$c", "d"]))
    whole, coarse, fine, bars = fig.axes
    assert [len(axes.images) for axes in (whole, coarse, fine)] == [1, 2, 2]
    assert len(coarse.patches) == len(fine.patches) == 1, "the patch that is kept"
    assert coarse.images[1].get_array().tolist() == [[0, 1], [2, 3]]
    assert [text.get_text() for text in bars.texts] == ["a", "b$c", "d", "[whole text]", "[picture]"]
    assert [bar.get_width() for bar in bars.patches] == [1, -2, 3, 1.5, 0.25]
    assert "0.700" in fig.get_suptitle() and "unlike the training posts" in fig.get_suptitle()
    many = evidence.why(made([f"w{i}" for i in range(40)], shown=False))
    assert [text.get_text() for text in many.axes[0].texts] == [f"w{i}" for i in range(28, 40)] + ["[whole text]"]


def test_an_answer_without_anything_is_drawn() -> None:
    nothing = made([], shown=False)
    object.__setattr__(nothing, "text_effect", np.nan)
    fig = evidence.why(nothing)
    fig.savefig(io.BytesIO())
    assert fig.axes[0].get_title() == "nothing to leave out"
