"""Profile paper goes through before its weights and corpora are at hand: with random weights in folders of the real
formats and small corpora in the real layouts, one run of each kind, 64 posts and 5 steps.

`python -m tests.rehearsal` writes weights of the published sizes (2 GB, in a temporary folder) and prints what each run
took; --notebooks runs the notebooks instead, with one seed; --tiny shrinks the weights and the models with them.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from rumorlib import config as cfg
from rumorlib import results
from rumorlib.config import RunConfig, Settings, encoders, profiles
from rumorlib.experiments import plan
from tests.conftest import forget
from tests.published import tweet, weibo_record, write

POSTS, STEPS = 64, 5
WORDS = {"en": ["police", "fire", "man", "says", "photo", "storm", "city", "school", "today", "water", "news"],
         "zh": list("警方今天男子火车站发现图片网友城市学校水人新闻报道街视频")}  # fmt: skip
EVENTS = ("charliehebdo", "ferguson", "germanwings-crash", "ottawashooting", "sydneysiege")
TINY = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 128}


# --- weights ------------------------------------------------------------------------------------


def weights(root: Path, tiny: bool) -> None:
    """CLIP ViT-B/32, BERT base in English and Chinese, ViT-B/16, as Hugging Face folders lie on disk, random."""
    from transformers import BertConfig, BertModel, CLIPConfig, CLIPModel, ViTConfig, ViTModel

    small = TINY if tiny else {}
    torch.manual_seed(0)
    clip = CLIPConfig(vision_config=small | {"image_size": 224, "patch_size": 32}, text_config=small)
    _images(root / "clip-vit-base-patch32", CLIPModel(clip), [0.481, 0.458, 0.408], [0.269, 0.261, 0.276])
    _images(root / "vit-base-patch16-224", ViTModel(ViTConfig(**small)), [0.5] * 3, [0.5] * 3)
    for name, language, n_words in (("bert-base-uncased", "en", 30522), ("bert-base-chinese", "zh", 21128)):
        BertModel(BertConfig(vocab_size=n_words, **small)).save_pretrained(root / name)
        _tokenizer(root / name, language, n_words)


def _images(folder: Path, model: torch.nn.Module, mean: list[float], std: list[float]) -> None:
    model.save_pretrained(folder)
    scaling = {
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": mean,
        "image_std": std,
    }
    write(folder / "preprocessor_config.json", json.dumps(scaling))


def _tokenizer(folder: Path, language: str, n_words: int) -> None:
    from transformers import BertTokenizerFast

    known = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS[language], *map(str, range(10))]
    rest = [f"[unused{i}]" for i in range(n_words - len(known))]
    write(folder / "vocab.txt", "\n".join([*known, *rest]) + "\n")
    BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder)


# --- corpora ------------------------------------------------------------------------------------


def corpora(root: Path) -> None:
    """Weibo-17, PHEME's threads with pictures, Flickr30K with Karpathy's JSON, COCO-CN."""
    chance = random.Random(0)
    _weibo(root / "weibo_jin2017", chance)
    _pheme(root / "pheme", chance)
    _flickr(root / "flickr30k", chance)
    _coco(root / "coco_cn", chance)


def _text(chance: random.Random, language: str, n: int = 12) -> str:
    return (" " if language == "en" else "").join(chance.choices(WORDS[language], k=n)) + f" {chance.randrange(10**6)}"


def _picture(path: Path, chance: random.Random) -> None:
    """Noise of a size that photographs on the web have: no two are near-duplicates."""
    path.parent.mkdir(parents=True, exist_ok=True)
    coarse = np.random.default_rng(chance.randrange(2**32)).integers(0, 255, (12, 16, 3), dtype=np.uint8)
    Image.fromarray(coarse).resize((320, 240), Image.Resampling.BICUBIC).save(path, "JPEG")


def _weibo(root: Path, chance: random.Random) -> None:
    number = 0
    for name, n in (("train_rumor", 24), ("train_nonrumor", 24), ("test_rumor", 8), ("test_nonrumor", 8)):
        records = []
        for _ in range(n):
            number += 1
            author = "null" if "nonrumor" in name else "9"
            date = str(1444444444444 + number * 86_400_000)
            records.append(weibo_record(str(number), [f"http://w/large/p{number}.jpg"], _text(chance, "zh"), date,
                                        author))  # fmt: skip
            _picture(root / f"{name.split('_')[1]}_images" / f"p{number}.jpg", chance)
        write(root / "tweets" / f"{name}.txt", "\n".join(records) + "\n")


def _pheme(root: Path, chance: random.Random) -> None:
    for number in range(POSTS):
        event, folder = EVENTS[number % 5], ("rumours", "non-rumours")[number // 5 % 2]
        name = str(552784600502915072 + number)
        thread = root / f"{event}-all-rnr-threads" / folder / name
        text, day = _text(chance, "en"), f"Wed Jan {1 + number % 28:02} 11:11:33 +0000 2015"
        write(thread / "source-tweets" / f"{name}.json", tweet(name, text, lang="en", created_at=day))
        write(thread / "reactions" / f"{number + 1}.json", tweet(str(number + 1), _text(chance, "en", 5), name))
        _picture(root / "images" / f"{name}.jpg", chance)


def _flickr(root: Path, chance: random.Random) -> None:
    images = []
    for number in range(POSTS):
        name = f"{1000092795 + number}.jpg"
        captions = [{"raw": _text(chance, "en"), "tokens": []} for _ in range(5)]
        split = "train" if number < 48 else "val" if number < 56 else "test"
        images.append({"filename": name, "split": split, "sentences": captions})
        _picture(root / "flickr30k-images" / name, chance)
    write(root / "dataset_flickr30k.json", json.dumps({"images": images, "dataset": "flickr30k"}))


def _coco(root: Path, chance: random.Random) -> None:
    listed: dict[str, list[str]] = {"train": [], "val": [], "test": []}
    lines = []
    for number in range(POSTS):
        name = f"COCO_train2014_{number:012}"
        listed["train" if number < 48 else "val" if number < 56 else "test"].append(name)
        lines += [f"{name}#{k}\t{_text(chance, 'zh')}" for k in range(2)]
        _picture(root / "train2014" / f"{name}.jpg", chance)
    for split, names in listed.items():
        write(root / f"coco-cn_{split}.txt", "\n".join(names) + "\n")
    write(root / "imageid.human-written-caption.txt", "\n".join(lines) + "\n")


# --- runs ---------------------------------------------------------------------------------------


def one_of_each(settings: Settings) -> list[RunConfig]:
    """Of every kind of run of every model that the notebooks ask for, the first on each corpus."""
    names = [name for name in plan.OF_NOTEBOOK if name != "12_papers_own_posts"]  # its posts are MFAN's
    every, _ = plan.of_notebooks(names, settings, settings)
    first: dict[tuple[str, ...], RunConfig] = {}
    for config in every.values():
        detector = getattr(config.detector, "kind", "") if config.model == "baseline" else ""
        first.setdefault((config.kind, config.model, config.dataset, detector), config)
    return list(first.values())


@contextmanager
def rehearsed(place: Path, tiny: bool) -> Iterator[Settings]:
    """Profile paper on what `weights` and `corpora` make in a folder, with STEPS steps a training."""
    weights(place / "data" / "weights", tiny)
    corpora(place / "data")
    usual = profiles.SIZES["paper"]
    short = {"epochs": STEPS, "patience": None}
    sizes = replace(usual, **{name: replace(getattr(usual, name), **short)
                              for name in ("stage1", "micc_train", "dmfl_train", "rivals_train")})  # fmt: skip
    if tiny:
        vision = replace(sizes.vision, width=32, depth=1, n_heads=2)
        dmfl = replace(sizes.dmfl, logic_width=32, logic_depth=2, logic_heads=2, d_model=24, image_layers=3)
        sizes = replace(sizes, vision=vision, d_joint=16, dmfl=dmfl,
                        micc=replace(sizes.micc, width=16, text_layers=2))  # fmt: skip
    few = {"batch_size": POSTS}
    sizes = replace(sizes, stage1=replace(sizes.stage1, **few))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RUMORLIB_DATA", str(place / "data"))
        patch.setenv("RUMORLIB_OUTPUT", str(place / "output"))
        patch.setenv("RUMORLIB_CACHE", str(place / "cache"))
        patch.setitem(profiles.SIZES, "paper", sizes)
        if tiny:
            clip, small = encoders.CLIP["en"], {"width": 32, "n_heads": 2}
            texts = tuple((language, replace(text, **small)) for language, text in clip.texts)
            patch.setitem(encoders.CLIP, "en", replace(clip, texts=texts, vision=replace(clip.vision, **small)))
        patch.setitem(profiles.HEADS, "paper", replace(profiles.HEADS["paper"], n_seeds=2, epochs=STEPS))
        forget()
        yield cfg.resolve("paper", ["weibo", "pheme"], [0], data=str(place / "data"))
    forget()


def table(settings: Settings) -> pd.DataFrame:
    """Make one run of each kind; a row each: what it is, seconds, MiB, and steps of its training."""
    rows = []
    for config in one_of_each(settings):
        begun = time.perf_counter()
        report = results.run_or_load(config, settings)
        history = report.history() if config.learns else pd.DataFrame()
        steps = int(history["step"].max()) if len(history) else 0
        rows.append((config.kind, config.name, steps, time.perf_counter() - begun, report.facts["peak_memory_mib"]))
        print("{:9} {:60} {:2} steps {:7.1f} s {:6} MiB".format(*rows[-1]), flush=True)
    return pd.DataFrame(rows, columns=["kind", "run", "steps", "time_s", "peak_memory_mib"])


def notebooks(settings: Settings, names: Sequence[str] = ()) -> pd.DataFrame:
    """Run the notebooks that begin so (none: all but the 12th, which has MFAN's posts), each with one seed, in this
    process: a kernel of its own would know nothing of STEPS. A row each: its name, seconds, the most MiB this process
    had so far, and what stopped it or ""."""
    import resource

    import nbformat
    from IPython.core.inputtransformer2 import TransformerManager

    given, rows = {"profile": "paper", "datasets": list(settings.datasets), "seeds": [0]}, []
    for path in sorted((cfg.PROJECT_ROOT / "notebooks").glob("[01]*.ipynb")):
        if not path.name.startswith(
            tuple(names) or tuple(f"{number:02}" for number in range(1, 12))
        ):  # 12: MFAN's posts
            continue
        begun, stopped = time.perf_counter(), ""
        scope = {"__name__": "__main__", "display": lambda *shown, **more: [repr(one) for one in shown]}
        for number, cell in enumerate(nbformat.read(path, 4).cells):
            if cell.cell_type != "code":
                continue
            try:
                code = TransformerManager().transform_cell(cell.source)
                exec(compile(code, f"{path.name}, cell {number}", "exec"), scope)
            except Exception:
                stopped = traceback.format_exc()
                break
            if "parameters" in cell.metadata.get("tags", []):
                scope |= {name: value for name, value in given.items() if name in scope}
        plt.close("all")
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        rows.append((path.stem, time.perf_counter() - begun, most, stopped))
        print("{:28} {:7.1f} s {:6} MiB {}".format(*rows[-1]), flush=True)
    return pd.DataFrame(rows, columns=["notebook", "time_s", "peak_memory_mib", "stopped"])


def main(words: list[str]) -> int:
    """Make all of it in a temporary folder and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--notebooks", nargs="*", metavar="03", help="run these notebooks instead; none named: all but the 12th"
    )
    parser.add_argument("--tiny", action="store_true", help="weights and models of a few thousand numbers")
    given = parser.parse_args(words)
    with tempfile.TemporaryDirectory() as place, rehearsed(Path(place), given.tiny) as settings:
        if given.notebooks is None:
            table(settings)
        else:
            made = notebooks(settings, given.notebooks)
            return int(made.empty or made["stopped"].ne("").any())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
