"""A detector as an ONNX file: onnxruntime's answers are the network's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from rumorlib import experiments, inputs
from rumorlib.config import Settings
from rumorlib.results.saved import export, models

runtime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")


@pytest.mark.parametrize("make", [experiments.micc, experiments.dmfl], ids=["micc", "dmfl"])
def test_an_exported_detector_answers_as_it_did(make, few_drawn: Settings, tmp_path: Path) -> None:
    part = models.of_run(make(few_drawn, "demo-en"), few_drawn)
    corpus = inputs.corpus("demo-en", few_drawn)
    texts, pictures = corpus.posts["text"].tolist()[:40], models.pictures_of(corpus, np.arange(40))
    told = part.log_odds(texts, pictures)
    fed = {name: tensor.numpy() for name, tensor in export.inputs_of(part.reader.batch(texts, pictures)).items()}
    answers, sizes = {}, {}
    for int8 in (False, True):
        path = tmp_path / f"{int8}.onnx"
        names = export.to_onnx(part, path, texts[:2], pictures[:2], int8)
        session = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
        read = {one.name for one in session.get_inputs()}  # what the answer does not depend on is no input
        assert read <= set(names)
        answers[int8] = session.run(None, {name: fed[name] for name in read})[0]
        sizes[int8] = path.stat().st_size
    np.testing.assert_allclose(answers[False], told, atol=1e-4)
    assert sizes[True] < 0.8 * sizes[False] and np.corrcoef(answers[True], told)[0, 1] > 0.98
