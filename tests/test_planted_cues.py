"""Each detector of other authors gets as far as a planted cue allows, in numbers: up to Bayes' bound, not beyond."""

from __future__ import annotations

import pytest
import torch
from test_rivals import D_WORD, SMALL, D, N, class_of
from torch import nn

from rumorlib.data.batches import Batch
from rumorlib.encoders.vocabulary import CLS, SEP
from rumorlib.models.named import Given
from rumorlib.models.others import muse

N_TRAIN, N_TEST, BATCH = 600, 600, 50
STRENGTH = 0.7  # of the cue: in that share of posts it tells the label, else it is drawn anew
BAYES = 0.5 + STRENGTH / 2
SLACK = 3 * (BAYES * (1 - BAYES) / N_TEST) ** 0.5  # three standard errors of the test score
L, N_WORDS, CUES = 6, 24, (4, 5)
PAIRS = 4  # kinds of object that a text names and a picture shows


def planted(cue: str, n: int, seed: int) -> Batch:
    """Posts whose label stands in a word ("text"), in the picture's rows ("image"), in whether the picture shows what
    the text names ("pair"), or nowhere ("nothing")."""
    draw = torch.Generator().manual_seed(seed)
    label = torch.arange(n) % 2
    shown = torch.where(torch.rand(n, generator=draw) < STRENGTH, label, torch.randint(2, (n,), generator=draw))
    ids = torch.randint(6, N_WORDS, (n, L), generator=draw)
    ids[:, 0], ids[:, -1] = CLS, SEP
    text = torch.randn(n, D, generator=draw)
    images = 0.5 * torch.randn(n, N, D, generator=draw)
    if cue == "text":
        ids[:, 2] = torch.tensor(CUES)[shown]
        text[:, 0] = 4.0 * (2 * shown - 1)
    if cue == "image":
        images[:, :, 0] = 2.0 * (2 * shown - 1)[:, None]
    if cue == "pair":
        kinds = nn.functional.normalize(torch.randn(PAIRS, D, generator=torch.Generator().manual_seed(9)), dim=1)
        named = torch.randint(PAIRS, (n,), generator=draw)
        other = (named + torch.randint(1, PAIRS, (n,), generator=draw)) % PAIRS
        text = kinds[named] + 0.1 * torch.randn(n, D, generator=draw)
        images[:, 4] = 4 * kinds[torch.where(shown == 1, other, named)]  # a rumor's picture shows something else
    mask = torch.ones(n, L, dtype=torch.bool)
    return Batch(ids, mask, text, images, label.float(), torch.ones(n), torch.arange(n))


def made(name: str, train: Batch) -> nn.Module:
    torch.manual_seed(0)
    d_text = features(train).shape[1] if name == "muse" else D
    told = torch.arange(N_TRAIN) % 3, None, features(train) if name == "muse" else None
    return class_of(name)(Given(torch.randn(N_WORDS, D_WORD), d_text, (N, D), *told), **SMALL[name])


def features(batch: Batch) -> torch.Tensor:
    """What the MUSE-style row reads: similarities of text and patches, as the encoders of stage 1 would give them."""
    text, patches = (nn.functional.normalize(part, dim=-1) for part in (batch.text_features, batch.images))
    return muse.similarity_features(text, patches, [N])


def given(name: str, batch: Batch) -> Batch:
    return batch._replace(text_features=features(batch)) if name == "muse" else batch


def accuracy(name: str, cue: str, epochs: int = 6) -> float:
    """On fresh posts, after some epochs."""
    train, test = (given(name, planted(cue, n, seed)) for n, seed in ((N_TRAIN, 0), (N_TEST, 1)))
    model = made(name, planted(cue, N_TRAIN, 0)).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for epoch in range(epochs):
        order = torch.randperm(N_TRAIN, generator=torch.Generator().manual_seed(epoch))
        for rows in order.split(BATCH):
            optimizer.zero_grad()
            model.training_loss(Batch(*(part[rows] for part in train[:7])))["loss"].backward()
            optimizer.step()
    model.eval()
    with torch.no_grad():
        return float(((model.prob_rumor(test) >= 0.5) == (test.label == 1)).float().mean())


@pytest.mark.parametrize("cue", ["text", "image"])
@pytest.mark.parametrize("name", ["safe", "carmn", "mfan", "eann", "spotfake"])
def test_a_cue_in_one_modality_is_learnt_up_to_its_bound(name: str, cue: str) -> None:
    assert BAYES - 0.07 <= accuracy(name, cue) <= BAYES + SLACK


def test_similarities_tell_whether_the_picture_shows_what_the_text_names() -> None:
    assert BAYES - 0.07 <= accuracy("muse", "pair", epochs=12) <= BAYES + SLACK


@pytest.mark.parametrize("name", ["safe", "carmn", "mfan", "eann", "spotfake", "muse"])
def test_nothing_is_learnt_where_nothing_is_planted(name: str) -> None:
    assert abs(accuracy(name, "nothing") - 0.5) <= 3 * (0.25 / N_TEST) ** 0.5
