"""How DMFL's cost grows with words, patches, heads and width (D-E7): formulas derived, and counted to be the same.

§6.5 of the paper lost its formulas and speaks of modules DMFL does not have. Ours, for one post and one pass, with L
text tokens, N patches, d = d_model, w = d_word, D = d_image, H heads of width e, and a logic chain of B layers of width
W: see `formulas`. Word vectors are looked up, not multiplied, so the vocabulary costs parameters and no multiply-add. A
logic chain that starts from BERT is counted as if it read as many word pieces as the post has words.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import torch
from scipy import stats
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from rumorlib.config import DMFLConfig, RunConfig
from rumorlib.data.batches import Batch
from rumorlib.models.dmfl import DMFL
from rumorlib.studies.cost.costs import FROZEN_WIDTHS, latency_ms, macs_by_module, one_post

PARTS = {  # module of DMFL -> what it is, and its multiply-adds in symbols (a = H e)
    "text_cnn": ("text CNN, Eq 4", "L w d (3+4+5)/3"),
    "image_projection": ("patch projection, Eq 10", "N D d"),
    "attention.text": ("self-attention of words, Eq 11", "4 L d a + 2 L^2 a + 2 L d^2"),
    "attention.image": ("self-attention of patches, Eq 11", "4 N d a + 2 N^2 a + 2 N d^2"),
    "align_text": ("alignment of words, Eq 15", "L d^2"),
    "align_image": ("alignment of patches, Eq 16", "N d^2"),
    "attention.text_image": ("cross-attention, Eq 12", "2 N d a + 2 L d a + 2 N L a + 2 N d^2"),
    "logic": ("logic chain, Eqs 13-14",
              "L w W if it reads word vectors + N D W + B (14 L W^2 + 2 L^2 W + 2 N W^2 + 2 N L W) + L W d"),
    "attention.fusion_semantic": ("fusion, semantic asks, Eq 18", "2 N d a + 2 L d a + 2 N L a + 2 N d^2"),
    "attention.fusion_logic": ("fusion, logic asks, Eq 18", "2 L d a + 2 N d a + 2 N L a + 2 L d^2"),
    "classifier": ("classifier, Eq 19", "2 d"),
}  # fmt: skip
AXES = ("L", "N", "heads", "width")
FAR = 2**20  # a size at which only the leading power is left


class Sizes:
    """Values per axis, and the middle that an axis has while another is varied."""

    def __init__(
        self,
        lengths: Sequence[int] = (16, 32, 64, 128),
        sides: Sequence[int] = (4, 6, 8, 12),
        heads: Sequence[int] = (2, 4, 8, 16),
        widths: Sequence[int] = (48, 96, 192, 384),
    ) -> None:
        self.values = dict(zip(AXES, (tuple(lengths), tuple(s * s for s in sides), tuple(heads), tuple(widths))))
        self.middle = {axis: self.values[axis][len(self.values[axis]) // 2] for axis in ("L", "N")}


def formulas(config: DMFLConfig, d_image: int, n_words: int, n_patches: int) -> dict[str, int]:
    """Multiply-adds of every part of the full token-wise model for one post without padding, by module; "" = all.

    Biases, norms, softmax and other sums of single numbers are not multiply-adds of products and are left out.
    """
    L, N, d, w, D = n_words, n_patches, config.d_model, config.word2vec.d_word, d_image
    a, W, B = config.n_heads * config.d_head, config.logic_width, config.logic_depth

    def attention(queries: int, keys: int) -> int:
        products = 2 * queries * d * a + 2 * keys * d * a + 2 * queries * keys * a
        return products + 2 * queries * d * d * config.attention_ffn

    layer = 14 * L * W * W + 2 * L * L * W + 2 * N * W * W + 2 * N * L * W  # 4 + 2 + 8 times L W^2
    parts = {
        "text_cnn": sum(config.kernel_sizes) * L * w * (d // len(config.kernel_sizes)),
        "image_projection": N * D * d,
        "attention.text": attention(L, L),
        "attention.image": attention(N, N),
        "align_text": L * d * d,
        "align_image": N * d * d,
        "attention.text_image": attention(N, L),
        "logic": L * w * W * (config.logic_init == "scratch") + N * D * W + B * layer + L * W * d,
        "attention.fusion_semantic": attention(N, L),
        "attention.fusion_logic": attention(L, N),
        "classifier": 2 * d,
    }
    return parts | {"": sum(parts.values())}


def image_encoder(image_px: int, patch_px: int, width: int, depth: int, d_mlp: int) -> int:
    """Multiply-adds of a ViT on one picture (Eqs 7-10): 3 p^2 D N of the patch projection, and in each layer
    4 D^2 + 2 D d_mlp for every row and 2 D for every pair of rows, [CLS] among them."""
    n = (image_px // patch_px) ** 2
    rows = n + 1
    return 3 * patch_px**2 * width * n + depth * rows * (4 * width**2 + 2 * width * d_mlp + 2 * rows * width)


def counted_image_encoder(image_px: int, patch_px: int, width: int, depth: int, d_mlp: int) -> int:
    """The same, counted by torch while an empty ViT of the library passes a picture; without its pooler."""
    from transformers import ViTConfig, ViTModel

    sizes = {"hidden_size": width, "num_hidden_layers": depth, "num_attention_heads": 1, "intermediate_size": d_mlp}
    with torch.device("meta"):
        model = ViTModel(ViTConfig(**sizes, image_size=image_px, patch_size=patch_px), add_pooling_layer=False).eval()
        with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
            model(pixel_values=torch.zeros(1, 3, image_px, image_px))
    return counter.get_total_flops() // 2


# All of it at once: `table` says for each part which of these terms is its own.
CLOSED = (
    "O(N p^2 D + l (N D^2 + N^2 D)  +  L w d + N D d + (L + N) d (a + d) + (L + N)^2 a"
    "  +  B (L W^2 + L^2 W + N W^2 + N L W))"
)


def image_width(run: RunConfig) -> int:
    """D of a run: components kept of a frozen map, its channels, or the width of stage 1's tower."""
    if run.detector.image_components:
        return run.detector.image_components
    vision = run.detector.image or run.stage1.sclip.vision
    return FROZEN_WIDTHS[vision.weights][0] if vision.kind == "feature_map" else vision.width


def counted(config: DMFLConfig, d_image: int, n_words: int, n_patches: int) -> dict[str, int]:
    """The same multiply-adds, counted by torch while an untrained model passes one post."""
    model, post = _untrained(config, d_image, n_words, n_patches)
    counts = macs_by_module(model, post)
    return {name: counts.get(name, 0) for name in PARTS} | {"": counts["Global"]}


def _untrained(config: DMFLConfig, d_image: int, n_words: int, n_patches: int) -> tuple[DMFL, Batch]:
    words = replace(config.word2vec, max_length=max(config.word2vec.max_length, n_words))
    start = "scratch" if config.logic_init == "scratch" else "stage1"  # all others look tokens up, or are given rows
    config = replace(config, word2vec=words, logic_init=start, logic_frozen=0)
    model = DMFL(config, torch.zeros(8, config.word2vec.d_word), d_image, n_patches, n_tokens=8).eval()
    return model, one_post(torch.zeros(1, n_patches + config.image_cls, d_image), n_words)


def at(config: DMFLConfig, d_image: int, axis: str, value: int, sizes: Sizes) -> tuple[DMFLConfig, int, int, int]:
    """Arguments of `formulas` with one axis at a value; width: d, w, W and D alike, and the heads' width with them."""
    lengths = sizes.middle | {axis: value}
    if axis == "heads":
        config = replace(config, n_heads=value)
    if axis == "width":
        words, d_head = replace(config.word2vec, d_word=value), max(1, value // config.n_heads)
        config = replace(config, d_model=value, d_head=d_head, logic_width=value, word2vec=words)
        d_image = value
    return config, d_image, lengths["L"], lengths["N"]


def table(run: RunConfig, sizes: Sizes | None = None) -> pd.DataFrame:
    """Multiply-adds of DMFL and its parts for one post, and how they grow (d_e7).

    Args: run: the full model; its widths are used, its data are not.
    Returns: part, formula, n_parameters (word vectors left out), macs_smallest, macs_largest (L and N at their smallest
        or largest), equal (every count was the formula's number), and per axis exponent_<axis>, its 95 % bounds
        <axis>_low, <axis>_high (least squares on logarithms; wide = no pure power in this range), and <axis>_far, the
        exponent that is left at a size far beyond any post.
    """
    sizes, config, d_image = sizes or Sizes(), run.detector, image_width(run)
    model, _ = _untrained(config, d_image, *sizes.middle.values())
    ends = [{axis: sizes.values[axis][end] for axis in ("L", "N")} for end in (0, -1)]
    arguments = {axis: [at(config, d_image, axis, value, sizes) for value in sizes.values[axis]] for axis in AXES}
    smallest, largest = (formulas(config, d_image, *end.values()) for end in ends)
    checked = [*(one for each in arguments.values() for one in each), *((config, d_image, *e.values()) for e in ends)]
    same = [{name: formulas(*one)[name] == n for name, n in counted(*one).items()} for one in checked]
    rows = []
    for name, (label, formula) in {"": ("whole model", "sum of the parts"), **PARTS}.items():
        n_parameters = parameters(model, name)
        row = {"part": label, "formula": formula, "n_parameters": n_parameters, "macs_smallest": smallest[name],
               "macs_largest": largest[name], "equal": all(counts[name] for counts in same)}  # fmt: skip
        for axis in AXES:
            row |= _named(axis, fit(sizes.values[axis], [formulas(*one)[name] for one in arguments[axis]]))
            row[f"{axis}_far"] = _far(config, d_image, axis, sizes, name)
        rows.append(row)
    return pd.DataFrame(rows)


def parameters(model: DMFL, name: str = "") -> int:
    """Of a module, tables of words left out: their length is the vocabulary's."""
    part = model.get_submodule(name)
    tables = [
        m for key, m in part.named_modules() if isinstance(m, torch.nn.Embedding) and not key.endswith("position")
    ]
    return sum(p.numel() for p in part.parameters()) - sum(table.weight.numel() for table in tables)


def _named(axis: str, exponent: tuple[float, float, float]) -> dict[str, float]:
    return dict(zip((f"exponent_{axis}", f"{axis}_low", f"{axis}_high"), exponent, strict=True))


def fit(sizes: Sequence[float], amounts: Sequence[float]) -> tuple[float, float, float]:
    """Exponent b of amounts ~ sizes^b, and its 95 % bounds: least squares on logarithms, t on n - 2 degrees."""
    found = stats.linregress(np.log(sizes), np.log(amounts))
    half = stats.t.ppf(0.975, len(sizes) - 2) * found.stderr
    return tuple(round(float(b), 4) for b in (found.slope, found.slope - half, found.slope + half))


def _far(config: DMFLConfig, d_image: int, axis: str, sizes: Sizes, name: str) -> float:
    """Exponent between FAR and 2 FAR, by the formula."""
    near, far = (formulas(*at(config, d_image, axis, size, sizes))[name] for size in (FAR, 2 * FAR))
    return round(float(np.log2(far / near)), 3)


# --- what else grows ----------------------------------------------------------------------------------


def growth(run: RunConfig, sizes: Sizes | None = None) -> pd.DataFrame:
    """The whole model's parameters, multiply-adds and training memory along every axis (d_e7_growth), tidy.

    Returns: quantity ("parameters", "multiply-adds", "kept activations, bytes"), axis, size, amount, and of the whole
        axis exponent, low, high as `fit` gives them.
    """
    measures: dict[str, Callable[[DMFL, Batch], float]] = {
        "parameters": lambda model, _: parameters(model),
        "multiply-adds": lambda model, post: macs_by_module(model, post)["Global"],
        "kept activations, bytes": kept_bytes,
    }
    return _along(run, sizes or Sizes(), measures)


def timing(run: RunConfig, sizes: Sizes | None = None, repeats: int = 10) -> pd.DataFrame:
    """As `growth`: milliseconds of one post on this machine. It depends on the machine: shown, never written to csv."""
    return _along(run, sizes or Sizes(), {"milliseconds": lambda model, post: latency_ms(model, post, repeats)})


def exponents(frame: pd.DataFrame) -> pd.DataFrame:
    """Of `growth` or `timing`: a line per quantity, a column per axis, "exponent [low, high]"."""
    lines = frame.drop_duplicates(["quantity", "axis"])
    text = [f"{r.exponent:.2f} [{r.low:.2f}, {r.high:.2f}]" for r in lines.itertuples()]
    return lines.assign(text=text).pivot(index="quantity", columns="axis", values="text")[list(AXES)]


def _along(run: RunConfig, sizes: Sizes, measures: dict[str, Callable[[DMFL, Batch], float]]) -> pd.DataFrame:
    frames = []
    for axis in AXES:
        models = [_untrained(*at(run.detector, image_width(run), axis, v, sizes)) for v in sizes.values[axis]]
        for quantity, of in measures.items():
            amounts = [of(*model_and_post) for model_and_post in models]
            exponent, low, high = fit(sizes.values[axis], amounts)
            frames.append(pd.DataFrame({
                "quantity": quantity, "axis": axis, "size": sizes.values[axis], "amount": amounts,
                "exponent": exponent, "low": low, "high": high,
            }))  # fmt: skip
    return pd.concat(frames, ignore_index=True)


def kept_bytes(model: DMFL, post: Batch) -> int:
    """Bytes of intermediate results that a training step keeps for its backward pass, parameters and inputs left out.

    Attention is done by plain products, so its L x N weights count; a fused kernel would not keep them.
    """
    own = {p.untyped_storage().data_ptr() for p in (*model.parameters(), *(part for part in post if part is not None))}
    kept: dict[int, int] = {}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with sdpa_kernel(SDPBackend.MATH), torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        loss = model.training_loss(post)["loss"]  # holds the graph, so no storage is used twice
    del loss
    return sum(kept.values())
