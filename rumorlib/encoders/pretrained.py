"""Folders of pretrained weights, read as data: no code of theirs runs, nothing outside is opened, nothing is random.

A folder is a local Hugging Face one: config.json, safetensors weights, and a tokenizer or preprocessor_config.json.
"""

from __future__ import annotations

import json
import logging
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import torch
from torch import nn

from rumorlib.data import files

# What makes the library read, fetch or run more than the folder's own files, wherever it stands in config.json.
_REFUSED = (
    "quantization_config", "fusion_config", "use_pretrained_backbone", "checkpoint_path", "pretrained_cfg_overlay",
    "cache_dir",
)  # fmt: skip
_SPARE = re.compile(r"(^|\.)pooler\.|\.num_batches_tracked$")  # tensors that no feature of ours passes through

# Said by libraries to one another, each time weights are read: progress bars here are text, and torchao registers two
# types in a way that torch no longer needs.
warnings.filterwarnings("ignore", message="IProgress not found")
logging.getLogger("torch.utils._pytree").setLevel(logging.ERROR)


class WeightsError(ValueError):
    """A folder of weights cannot be used; the message names it, what is wrong and what to do."""


def checked(weights: Path | str) -> Path:
    """The folder, if nothing in it leads elsewhere.

    Files are the folder's own (a link may lead to another of its files, or to the blobs of the same model in Hugging
    Face's cache) and regular; names in its JSON files stay inside; its config asks for no quantisation, no adapter and
    no other model's weights.

    Raises: FileNotFoundError: no such folder. WeightsError: something leads out.
    """
    folder = Path(weights)
    if not folder.is_dir():
        raise FileNotFoundError(f"no safetensors weights in {folder}; see the data guide in README.md")
    root = folder.resolve()  # a linked folder is its owner's choice of disk
    home = root.parent.parent if root.parent.name == "snapshots" else root
    for path in sorted(folder.iterdir()):
        try:
            inside = path.resolve().is_relative_to(home)
        except RuntimeError:  # a link to itself
            inside = False
        if not inside:
            raise WeightsError(f"{path} is a link that leaves the folder; put the file itself there")
        if not path.is_dir() and not files.is_regular(path):
            raise WeightsError(f"{path} is no regular file; restore it as published")
    if (folder / "adapter_config.json").exists():
        raise WeightsError(f"{folder} holds an adapter for another model; give the folder of a whole model")
    for name in ("config.json", "tokenizer_config.json"):
        if (folder / name).exists():
            _check_names(folder, name)
    for path in folder.glob("*.index.json"):
        for name in (_json(path).get("weight_map") or {}).values():
            if not isinstance(name, str) or name != PurePosixPath(name).name or "\\" in name or name in ("", ".", ".."):
                raise WeightsError(f"{path} names {name!r} as a file of weights, which is none of this folder's")
    return folder


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise WeightsError(f"{path}: not JSON ({error}); restore it as published") from None
    if not isinstance(found, dict):
        raise WeightsError(f"{path}: expected one JSON object; restore it as published")
    return found


def _check_names(folder: Path, file: str) -> None:
    """Whether a config names code, files or other models that lie outside the folder."""
    for key, value in _leaves(_json(folder / file)):
        parts = key.split(".")
        if file == "config.json" and value and not set(parts).isdisjoint(_REFUSED):
            raise WeightsError(f"{folder / file}: {key} asks for more than this folder; give plain float weights")
        if file == "config.json" and key == "architecture" and not re.fullmatch(r"[\w.]+", str(value)):
            raise WeightsError(f"{folder / file}: {value!r} is no name of an architecture of timm")
        # tokenizer configs often keep paths of the machine they were made on: one that leads nowhere is no harm
        a_file, named = parts[-1].endswith("_file"), key == "transformers_weights" or "auto_map" in parts
        if (a_file or named) and isinstance(value, str) and _leads_out(folder, value, if_there=a_file):
            raise WeightsError(f"{folder / file}: {key} {value!r} lies outside the folder; remove the entry")


def _leads_out(folder: Path, name: str, if_there: bool) -> bool:
    outside = name.startswith(("/", "~")) or "\\" in name or ".." in name.split("/") or Path(name).is_absolute()
    return outside and (not if_there or (folder / name).exists())


def _leaves(tree: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted key and value of every leaf; a list's items have its key."""
    if isinstance(tree, dict):
        for name, value in tree.items():
            yield from _leaves(value, f"{key}.{name}" if key else str(name))
    elif isinstance(tree, list):
        for value in tree:
            yield from _leaves(value, key)
    else:
        yield key, tree


# --- reading ----------------------------------------------------------------------------------


def config_of(weights: Path) -> Any:
    """The folder's transformers config. Raises: as `checked`; WeightsError: a model that transformers does not know."""
    from transformers import AutoConfig

    with _named(checked(weights), "config"):
        return AutoConfig.from_pretrained(weights, local_files_only=True, trust_remote_code=False)


def tokenizer_of(weights: Path) -> Any:
    """The folder's tokenizer. Raises: as `config_of`."""
    from transformers import AutoTokenizer

    with _named(checked(weights), "tokenizer"):
        return AutoTokenizer.from_pretrained(weights, local_files_only=True, trust_remote_code=False)


def model_of(weights: Path, tower: str = "", kind: Any = None, **options: Any) -> nn.Module:
    """The folder's model in float32 on the CPU, frozen.

    Attention is the library's own choice for the architecture (scaled_dot_product_attention where the model has it),
    never what the folder names: that may be a kernel of somebody's to fetch and run.

    Args:
        tower: of a two-tower model (CLIP) the tower wanted, alone; others are taken whole.
        kind: class of transformers, instead of the one config.json names; options: its own.
    Raises: as `config_of`; WeightsError: the safetensors cannot be read, or lack tensors other than a pooler's: the
        library would draw them at random, anew in every process.
    """
    from transformers import AutoModel

    if kind is None:
        config, options = config_of(weights), options | {"trust_remote_code": False}
    else:
        with _named(checked(weights), "config"):
            config = kind.config_class.from_pretrained(weights, local_files_only=True)
    asked = {"config": config, "attn_implementation": None, "local_files_only": True, "dtype": torch.float32}
    asked["use_safetensors"] = True  # a pytorch_model.bin is a pickle
    with _named(weights, "model"), _no_bar():
        model, info = (kind or AutoModel).from_pretrained(weights, output_loading_info=True, **asked, **options)
    used = getattr(model, tower, model) if tower else model
    within = f"{tower}." if used is not model else ""
    absent = sorted(name for name in info["missing_keys"] if name.startswith(within) and not _SPARE.search(name))
    if absent:
        shown = ", ".join(absent[:3]) + (", ..." if len(absent) > 3 else "")
        raise WeightsError(
            f"{weights}: its safetensors lack {len(absent)} of the model's {len(model.state_dict())} tensors, "
            f"then random ({shown}); restore the weights as published, or config.json if it is another model's"
        )
    return used.eval().requires_grad_(False)


@contextmanager
def _named(weights: Path, what: str) -> Iterator[None]:
    """The library's errors as one that names the folder; a damaged file raises anything."""
    try:
        yield
    except MemoryError:
        raise
    except Exception as error:
        own_code = "trust_remote_code" in str(error) or "custom code" in str(error)
        why = "it needs code of its own, which is never run" if own_code else str(error).strip().split("\n")[0]
        raise WeightsError(
            f"{weights}: its {what} cannot be loaded ({why}); give a whole folder of an architecture that the "
            "installed transformers (or timm) has"
        ) from error


@contextmanager
def _no_bar() -> Iterator[None]:
    """One progress bar is enough, and it is the encoding's."""
    from transformers.utils import logging as bars

    shown = bars.is_progress_bar_enabled()
    bars.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            bars.enable_progress_bar()


def width_of(weights: Path, tower: Literal["vision", "text"] = "vision") -> int:
    """Feature width of a folder, from its config; of a two-tower folder (CLIP) the tower's."""
    from transformers import MobileNetV2Config

    config = config_of(weights)
    config = getattr(config, f"{tower}_config", config)
    if isinstance(config, MobileNetV2Config):
        return max(1280, int(1280 * config.depth_multiplier))  # its last convolution
    return config.num_features if config.model_type == "timm_wrapper" else config.hidden_size


def pixel_scaling(weights: Path) -> dict[str, Any]:
    """Factors turning uint8 pixels into the network's input: (pixel * rescale - mean) / std, one per channel.

    Raises: as `checked`; FileNotFoundError: no preprocessor_config.json.
    """
    file = checked(weights) / "preprocessor_config.json"
    if not file.is_file():
        raise FileNotFoundError(f"{file} is missing: the folder must be a complete Hugging Face image model")
    read = _json(file)
    normalise = read.get("do_normalize", True)
    return {
        "rescale": read.get("rescale_factor", 1 / 255) if read.get("do_rescale", True) else 1.0,
        "mean": read["image_mean"] if normalise else [0.0, 0.0, 0.0],
        "std": read["image_std"] if normalise else [1.0, 1.0, 1.0],
    }
