"""Why the towers' attention is plain matrix products on a CPU: python benchmarks/attention_backend.py

One training step (forward and backward) of the Transformer both towers use, with PyTorch's fused attention kernel and
with its MATH backend, in turns within one process, so that whatever else the machine does falls on both alike. Both
are printed as the ratio fused / plain: above 1, `ShortSequenceEncoder` is right to refuse the fused kernel.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from rumorlib.config import VisionConfig
from rumorlib.encoders.text import transformer
from rumorlib.encoders.vision import grid_sides
from rumorlib.studies.cost import timing

FUSED = [SDPBackend.FLASH_ATTENTION, SDPBackend.MATH]  # PyTorch takes the first it can use
PLAIN = [SDPBackend.MATH]
DEMO = VisionConfig(image_size_px=96, receptive_fields=(16, 32), width=96, depth=2, n_heads=4)  # drawn scenes


def step(encoder: nn.TransformerEncoder, tokens: Tensor, backends: Sequence[SDPBackend]) -> None:
    """One forward and backward pass."""
    encoder.zero_grad(set_to_none=True)
    with sdpa_kernel(list(backends)):  # the parent's forward: ShortSequenceEncoder's own would choose for itself
        nn.TransformerEncoder.forward(encoder, tokens).square().mean().backward()


def ratios(encoder: nn.TransformerEncoder, tokens: Tensor, rounds: int, steps: int) -> list[float]:
    """fused / plain of each round; a round times `steps` steps of each, alternating, after one of each to warm up."""
    paths = {"fused": partial(step, encoder, tokens, FUSED), "plain": partial(step, encoder, tokens, PLAIN)}
    return timing.ratios(timing.in_turns(paths, rounds, steps), "fused", "plain")


def main(argv: Sequence[str] | None = None) -> int:
    """Print one line per sequence length and dtype."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7, help="rounds per line, at least 5")
    parser.add_argument("--steps", type=int, default=5, help="steps of each backend in a round")
    parser.add_argument("--batch", type=int, default=64)
    chosen = parser.parse_args(argv)
    if chosen.rounds < 5 or chosen.steps < 1:
        parser.error("--rounds must be at least 5 and --steps at least 1")
    torch.manual_seed(0)
    lengths = {side * side for side in grid_sides(DEMO)} | {24}  # patches of each scale, words of a short text
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, batch {chosen.batch}, width {DEMO.width}")
    print(f"{'tokens':>6} {'dtype':>9} {'dropout':>7}   fused/plain: median (min … max of {chosen.rounds})")
    for length in sorted(lengths):
        tokens = torch.randn(chosen.batch, length, DEMO.width)
        for dtype in (torch.float32, torch.bfloat16):
            for dropout in (0.0, 0.1):  # the fused CPU kernel has no dropout: PyTorch falls back to MATH by itself
                encoder = transformer(DEMO.width, DEMO.depth, DEMO.n_heads, dropout)
                with torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype == torch.bfloat16):
                    found = ratios(encoder, tokens, chosen.rounds, chosen.steps)
                spread = f"{statistics.median(found):.2f} ({min(found):.2f} … {max(found):.2f})"
                print(f"{length:6} {str(dtype)[6:]:>9} {dropout:7}   {spread}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
