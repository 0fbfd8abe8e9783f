"""B9: how fast and how complete the search for near-duplicates is: python benchmarks/audit.py [--posts 10000]

Plants altered copies of made-up pictures and posts, English and Chinese, and searches all of them. On a subsample
the naive way (imagehash differences and difflib ratios of all pairs, in Python) is timed in the same run; its comparing
grows with the square, so that is how it is carried over to all posts. With --images <folder> the pictures are the
photographs of that folder; alike ones that were not planted then count against precision.

Two shared cores, 10,000 posts: 12 s (texts 1.6 s, pictures 10.4 s), recall 1.0 of every kind, 314 times the naive way.
"""

from __future__ import annotations

import argparse
import difflib
import io
import itertools
import string
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import imagehash
import numpy as np
from PIL import Image

from rumorlib.data.images import ArrayImages
from rumorlib.data.keys import normalise_text
from rumorlib.data.splitting.duplicates import image_pairs, thumbnails
from rumorlib.data.splitting.text_duplicates import text_pairs

LETTERS = {"en": list(string.ascii_lowercase), "zh": [chr(code) for code in range(0x4E00, 0x4E00 + 3000)]}
SHARE_PLANTED = 0.1
NAIVE_POSTS = 120
LIMIT_S, LEAST_RECALL, LEAST_RATIO = 120.0, 0.99, 20.0


def noise_picture(random: np.random.Generator, side_px: int = 128) -> Image.Image:
    """A picture with the power spectrum of photographs: amplitude 1 / frequency, random phase, three channels."""
    frequency = np.hypot(np.fft.fftfreq(side_px)[:, None], np.fft.rfftfreq(side_px)[None])
    frequency[0, 0] = 1.0
    shape = (3, *frequency.shape)
    waves = (random.normal(size=shape) + 1j * random.normal(size=shape)) / frequency
    grey = np.fft.irfft2(waves[0], (side_px, side_px))
    channels = np.stack([grey + 0.5 * np.fft.irfft2(wave, (side_px, side_px)) for wave in waves], axis=2)
    channels = 128 + 48 * (channels - channels.mean()) / channels.std()
    return Image.fromarray(channels.clip(0, 255).astype(np.uint8))


def recompressed(picture: Image.Image, quality: int = 40) -> Image.Image:
    """The picture after JPEG."""
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=quality)
    return Image.open(io.BytesIO(file.getvalue())).convert("RGB")


def cropped(picture: Image.Image, random: np.random.Generator, share: float = 0.1) -> Image.Image:
    """The picture without `share` of its width and of its height, cut at a random place."""
    width, height = (round((1 - share) * side) for side in picture.size)
    left, top = (int(random.integers(0, side - kept + 1)) for side, kept in zip(picture.size, (width, height)))
    return picture.crop((left, top, left + width, top + height))


def made_up_text(random: np.random.Generator, language: str) -> str:
    """Twelve words of random letters, no two texts alike; Chinese ones stand without spaces."""
    words = ["".join(random.choice(LETTERS[language], random.integers(2, 8))) for _ in range(12)]
    return (" " if language == "en" else "").join(words)


def edited_text(text: str, random: np.random.Generator, language: str) -> str:
    """One word (English) or two neighbouring characters (Chinese) replaced, a link and a mention put around it."""
    parts = text.split(" ") if language == "en" else list(text)
    place = int(random.integers(len(parts) - 1))
    parts[place : place + 2] = ["changed", parts[place + 1]] if language == "en" else ["换", "了"]
    return f"@someone {(' ' if language == 'en' else '').join(parts)} https://example.org/{place}"


def recall(found: set[tuple[int, int]], planted: dict[tuple[int, int], str]) -> dict[str, float]:
    """Share of the planted pairs found, by kind."""
    kinds = dict.fromkeys(planted.values())
    return {kind: float(np.mean([pair in found for pair, name in planted.items() if name == kind])) for kind in kinds}


def plant(
    originals: list, alter: dict[str, Callable[[object], object]], n_planted: int
) -> tuple[list, dict[tuple[int, int], str]]:
    """The originals with altered copies after them, and which rows belong together."""
    things, planted = list(originals), {}
    for row, (name, change) in zip(range(n_planted), itertools.cycle(alter.items())):
        planted[row, len(things)] = name
        things.append(change(originals[row]))
    return things, planted


def naive_s(pictures: list[Image.Image], texts: list[str]) -> tuple[float, float]:
    """Seconds of the plain way: to hash every picture, and to compare all pairs in Python."""
    start = time.perf_counter()
    hashes = [imagehash.phash(picture) for picture in pictures]
    hashed = time.perf_counter()
    assert all(one - other >= 0 for one, other in itertools.combinations(hashes, 2))
    for one, other in itertools.combinations(texts, 2):
        difflib.SequenceMatcher(None, one, other, autojunk=False).ratio()
    return hashed - start, time.perf_counter() - hashed


def main(arguments: Sequence[str] | None = None) -> int:
    """Print recall, precision, seconds and the ratio to the naive way; 1 if one misses its bar."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--posts", type=int, default=10_000)
    parser.add_argument("--images", type=Path, help="folder of photographs to take instead of made ones")
    options = parser.parse_args(arguments)
    random = np.random.default_rng(0)
    n_planted = int(SHARE_PLANTED * options.posts)
    n = options.posts - n_planted
    files = itertools.islice(sorted(options.images.rglob("*.jpg")), n) if options.images else []
    pictures = [Image.open(file).convert("RGB").resize((128, 128)) for file in files] or [
        noise_picture(random) for _ in range(n)
    ]
    alter = {
        "resized": lambda p: p.resize((p.width // 2, p.height // 2)),
        "recompressed": recompressed,
        "cropped by 10 %": lambda p: cropped(p, random),
        "cropped, recompressed": lambda p: recompressed(cropped(p, random)),
    }
    pictures, planted_pictures = plant(pictures, alter, min(n_planted, len(pictures)))
    languages = ["en" if row % 2 else "zh" for row in range(n)]
    texts = [made_up_text(random, language) for language in languages]
    changes = iter(languages)
    texts, planted_texts = plant(texts, {"edited": lambda t: edited_text(t, random, next(changes))}, n_planted)

    keys = [str(row) for row in range(len(pictures))]
    images = ArrayImages(keys, np.stack([np.asarray(p.resize((128, 128))) for p in pictures]))
    start = time.perf_counter()
    found_texts = text_pairs([normalise_text(text) for text in texts])
    text_s = time.perf_counter() - start
    found_images = image_pairs(thumbnails(images, keys)[0])
    total_s = time.perf_counter() - start

    some = [things[:: max(1, len(things) // NAIVE_POSTS)][:NAIVE_POSTS] for things in (pictures, texts)]
    hashed_s, compared_s = naive_s(*some)
    times = len(texts) / NAIVE_POSTS
    naive = hashed_s * times + compared_s * times**2
    worst = 1.0
    for what, pairs, planted in (("pictures", found_images, planted_pictures), ("texts", found_texts, planted_texts)):
        found = set(zip(pairs.left.tolist(), pairs.right.tolist()))
        precision = len(found & set(planted)) / max(len(found), 1)
        shares = recall(found, planted)
        worst = min([worst, *shares.values()])
        print(f"{what}: {len(planted)} planted, {len(found)} pairs found, precision {precision:.4f}")
        print("  recall " + ", ".join(f"{kind} {share:.4f}" for kind, share in shares.items()))
    print(f"{len(texts)} posts: texts {text_s:.1f} s, pictures {total_s - text_s:.1f} s, together {total_s:.1f} s")
    print(f"naive, {NAIVE_POSTS} posts: {hashed_s + compared_s:.2f} s; all: {naive:,.0f} s")
    print(f"ratio to the naive way: {naive / total_s:,.0f}")
    good = total_s <= LIMIT_S and worst >= LEAST_RECALL and naive / total_s >= LEAST_RATIO
    print(f"{'within' if good else 'MISSES'} {LIMIT_S:.0f} s, recall {LEAST_RECALL}, {LEAST_RATIO:.0f} times")
    return int(not good)


if __name__ == "__main__":
    sys.exit(main())
