"""Stage 1: SCLIP on image-caption pairs; scored by retrieval."""

from __future__ import annotations

import numpy as np
import torch

from rumorlib import inputs
from rumorlib.config import RunConfig, Settings
from rumorlib.data.batches import CPU, moved
from rumorlib.training import checkpoints, evidence, loop
from rumorlib.training.fitting import SPLITS, Outcome, mean_losses, n_parameters, told_faults


def run(config: RunConfig, settings: Settings) -> Outcome:
    """Stage 1: SCLIP on image-caption pairs; scored by retrieval."""
    tensors, images = inputs.caption_tensors(config, settings)
    loop.seed_everything(config.seed)
    model, tensors = loop.on_device(inputs.new_sclip(config, settings)), tensors.on(loop.device())
    rows = {split: inputs.rows_of(images, split) for split in SPLITS}
    train = config.train
    if config.n_train is not None:
        chosen = images["image"].isin(inputs.train_pictures(config, settings)).to_numpy()
        rows["train"] = torch.from_numpy(np.flatnonzero(chosen))

    if config.sclip.whiten_text:
        known = torch.isin(tensors.owner.cpu(), rows["train"])
        for language, texts in tensors.texts.items():
            model.text_towers[language].whiten_by(texts.features[known.to(texts.features.device)])

    def batches(generator: torch.Generator):
        return tensors.shuffled(rows["train"], train.batch_size, train.captions_per_image, generator)

    def dev_loss() -> dict[str, float]:
        generator = torch.Generator().manual_seed(0)  # the same dev pairs after every epoch
        dev = tensors.shuffled(rows["dev"], train.batch_size, train.captions_per_image, generator)
        return mean_losses(model, dev)

    n_batches = -(-len(rows["train"]) // train.batch_size)
    fit = loop.fit(model, batches, n_batches, dev_loss, train, config.seed, name=f"SCLIP {config.dataset}",
                   place=checkpoints.place())  # fmt: skip
    metrics = {
        split: {language: evidence.retrieval(model, tensors, rows[split], language) for language in tensors.texts}
        for split in ("dev", "test")
        if len(rows[split])
    }
    facts = {"n_parameters": n_parameters(model), "best_epoch": fit.best_epoch, "precision": fit.precision}
    facts |= told_faults(config, metrics, fit.history)
    return Outcome(metrics, fit.history, state=moved(model.state_dict(), CPU), facts=facts)
