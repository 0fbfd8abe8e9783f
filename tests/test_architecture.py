"""Notation and diagrams are the modules' own."""

from __future__ import annotations

import dataclasses

import pytest

from rumorlib import config, experiments
from rumorlib.figures import diagrams
from rumorlib.models import dmfl
from rumorlib.studies.cost import architecture
from rumorlib.training import computation


def test_letters_are_those_of_the_models_own_legend() -> None:
    table = architecture.notation(dmfl)
    said = dict(zip(table["symbol"], table["meaning"]))
    assert said == {"B": "posts", "L": "text positions", "N": "image patches", "H": "heads", "d": "d_model",
                    "D": "d_image", "W": "logic_width"}  # fmt: skip


@pytest.mark.parametrize("alignment", ["forward", "none"])
def test_a_diagram_has_the_parts_that_ran_in_the_order_in_which_they_ran(alignment: str) -> None:
    demo = config.resolve("demo")
    run = experiments.dmfl(demo, "demo-en")
    run = dataclasses.replace(run, detector=dataclasses.replace(run.detector, alignment=alignment))
    model, batch = computation.build(run)
    found = architecture.flow(model, batch)
    assert ("align_text" in set(found["part"])) == (alignment == "forward")
    place = {part: i for i, part in enumerate(found["part"])}
    assert place["text_cnn"] < place["attention.text"] < place["attention.text_image"] < place["classifier"]
    assert found.loc[place["classifier"], "gives"] == f"{len(batch.label)} × 2"
    figure = diagrams.diagram(found, "DMFL")
    assert len(figure.axes[0].texts) >= len(found)
