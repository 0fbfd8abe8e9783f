"""What a saved detector adds to its frozen encoders for one post and for many, warm, one thread; and the command's cold
start.

Ours is the laptop's MICC asked through `Detector.predict`; against it the two encoders' forward on the same word pieces
and pixels. Weights are random: time does not depend on them. From a JPEG our side also decodes.
"""

from __future__ import annotations

import argparse
import itertools
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
import towers
from feature_cache import photographs

from rumorlib import config as cfg
from rumorlib import experiments
from rumorlib.data.images import FolderImages
from rumorlib.encoders import frozen, pretrained
from rumorlib.encoders.sclip import SCLIP
from rumorlib.models.micc import MICC
from rumorlib.results.saved.detector import AT_ONCE, Detector
from rumorlib.results.saved.models import Part
from rumorlib.results.saved.novelty import Novelty
from rumorlib.results.saved.reader import Encoders, Reader
from rumorlib.studies.cost import timing

LIMIT_MS = 3.0  # above the encoders
BLOCK = AT_ONCE  # posts that `predict` asks at once, of however many
TEXT = " ".join(towers.WORDS[:24])


def save_text_tower(folder: Path, quick: bool) -> Path:
    """A local Hugging Face folder of the text tower with a tokenizer of its words."""
    from transformers import BertTokenizerFast

    folder.mkdir(parents=True)
    (folder / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *towers.WORDS]))
    BertTokenizerFast(str(folder / "vocab.txt"), mask_token="[UNK]").save_pretrained(folder)
    towers.text_tower(quick).save_pretrained(folder)
    return folder


def made(place: Path, quick: bool) -> tuple[Detector, Encoders]:
    """A detector of the laptop's sizes that nobody trained, and its encoders."""
    run = experiments.micc(cfg.resolve("laptop", ["photo-en"], train="none"), "photo-en")
    vision = run.stage1.sclip.vision
    folders = {vision.weights: towers.save_image_tower(place / "image", quick),
               run.stage1.sclip.text("en").weights: save_text_tower(place / "text", quick)}  # fmt: skip
    encoders = Encoders(folders.__getitem__)
    blank = np.zeros((vision.image_size_px, vision.image_size_px, 3), np.uint8)
    n_map = encoders.image(vision, False)([blank]).shape[1]
    reader = Reader(run, encoders, sclip=SCLIP(run.stage1.sclip, {}, {"en": 384}, n_map).eval())
    known = Novelty.fit([f"{word} {TEXT}" for word in towers.WORDS], torch.randn(1000, n_map))
    about = {"language": "en", "label_means": "", "encoders": [], "calibration": {"slope": 1.0, "intercept": 0.0},
             "threshold": {"value": 0.5}, "unlike_training": {"limits": [0.5, 0.5]}}  # fmt: skip
    return Detector([Part(reader, MICC(run.detector, reader.sclip, "en").eval())], about, known), encoders


def paths(place: Path, quick: bool) -> dict[str, object]:
    """What is timed, by name."""
    detector, encoders = made(place, quick)
    vision = detector.parts[0].config.stage1.sclip.vision
    (key,) = photographs(place, 1, (500, 375))
    pixels = FolderImages(place).pixels(key, vision.image_size_px)
    text_folder = encoders.folder(detector.parts[0].config.stage1.sclip.text("en").weights)
    tokens = pretrained.tokenizer_of(text_folder)(
        [TEXT], truncation=True, max_length=frozen.MAX_TOKENS, return_tensors="pt"
    )
    texts = pretrained.model_of(text_folder, "text_model")
    images = encoders.image(vision, False)

    @torch.inference_mode()
    def forward() -> None:
        texts(**tokens)
        images([pixels])

    return {"encoders": forward, "from pixels": lambda: detector.predict({"text": TEXT, "image": pixels}),
            "from a JPEG": lambda: detector.predict({"text": TEXT, "image": place / key})}  # fmt: skip


def many(place: Path, quick: bool) -> dict[str, object]:
    """A block of posts, each with a picture of its own: asked at once, and through the encoders alone."""
    detector, encoders = made(place, quick)
    stage1 = detector.parts[0].config.stage1.sclip
    keys = photographs(place, 2 if quick else BLOCK, (500, 375))
    pixels = [FolderImages(place).pixels(key, stage1.vision.image_size_px) for key in keys]
    texts = [f"{word} {TEXT}" for word, _ in zip(itertools.cycle(towers.WORDS), keys)]
    read, see = encoders.text(stage1.text("en")), encoders.image(stage1.vision, False)
    posts = [{"text": text, "image": one} for text, one in zip(texts, pixels)]
    return {"encoders": lambda: (read(texts), see(pixels)), "a block": lambda: detector.predict(posts)}


def cold_start_s(folder: Path) -> float:
    """Seconds of `rumorlib predict` with a detector of words, from nothing."""
    command = [sys.executable, "-m", "rumorlib", "predict", str(folder), "--text", TEXT]
    start = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True, cwd=cfg.PROJECT_ROOT)
    return time.perf_counter() - start


def main(argv: list[str] | None = None) -> int:
    """Print encoders, ours, their ratio and difference; 1 if ours from pixels is more than LIMIT_MS above."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one round of tiny towers: shows that it runs")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--cold", type=Path, help="a saved detector, whose command is timed from nothing")
    chosen = parser.parse_args(argv)
    torch.manual_seed(0)
    place = Path(tempfile.mkdtemp(prefix="bench-"))
    with timing.threads(1):
        times = timing.in_turns(paths(place, chosen.quick), 1 if chosen.quick else chosen.rounds,
                                1 if chosen.quick else 20, warmup=1)  # fmt: skip
    median = 1000 * times.groupby("path", sort=False)["time_s"].median()
    for name in ("from pixels", "from a JPEG"):
        above, ratio = median[name] - median["encoders"], timing.summary(timing.ratios(times, name, "encoders"))
        print(f"one post {name}: {median[name]:.1f} ms, the encoders' own forward {median['encoders']:.1f} ms; "
              f"{ratio['median']:.3f} times ({ratio['low']:.3f} … {ratio['high']:.3f}), {above:+.2f} ms")  # fmt: skip
    with timing.threads(1):
        times = timing.in_turns(many(Path(tempfile.mkdtemp(prefix="bench-")), chosen.quick), 1 if chosen.quick else 5,
                                1, warmup=1)  # fmt: skip
    share = timing.summary(timing.ratios(times, "encoders", "a block"))
    print(f"a block of {BLOCK} posts: {share['median']:.2f} of the encoders' own rate ({share['low']:.2f} … "
          f"{share['high']:.2f})")  # fmt: skip
    if chosen.cold:
        print(f"cold start of predict: {cold_start_s(chosen.cold):.1f} s")
    return int(not chosen.quick and median["from pixels"] - median["encoders"] > LIMIT_MS)


if __name__ == "__main__":
    sys.exit(main())
