"""The form of notebook 11, the detectors it offers, and the command that `make demo` ends with."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from rumorlib import config as cfg
from rumorlib import inputs
from rumorlib.commands import at_hand, form
from rumorlib.config import Settings
from rumorlib.results.saved.detector import Detector

ipywidgets = pytest.importorskip("ipywidgets")


@pytest.fixture
def asked(few_drawn: Settings) -> form.Form:
    return form.Form(at_hand.detectors(few_drawn))


def test_what_the_button_does_is_what_the_detector_says(asked: form.Form, few_drawn: Settings) -> None:
    text, picture = at_hand.drawn_post(few_drawn, "demo-en")
    assert asked.detector.options == ("demo-en-micc", "demo-en-dmfl")
    for name in asked.detector.options:
        asked.detector.value, asked.text.value = name, text
        asked.upload(picture)
        asked.button.click()
        page = asked.shown.value
        detector = Detector.from_pretrained(at_hand.folder_of("demo") / name)
        said = detector.predict({"text": text, "image": picture}).iloc[0]
        assert f"<b>{said['calibrated']:.3f}</b>" in page and f"<b>{said['label']}</b>" in page
        assert "by words: labels" in page and "by picture: labels" in page and "data:image/png;base64," in page
    training = inputs.corpus("demo-en", few_drawn).posts.query("split == 'train'")["text"]
    assert not [one for one in training if one != text and one in page], "of training posts labels alone"
    asked.clear.click()
    assert (asked.text.value, asked.uploaded(), asked.shown.value) == ("", None, "")


def test_a_post_is_text_there_and_an_error_is_said(asked: form.Form) -> None:
    asked.text.value = "<script>alert(1)</script> <img src=x onerror=alert(1)> \u202egnp $x$ & more "
    asked.text.value += "洪水淹没了城市，今天有很多人在街上看到鲨鱼"
    made = asked.ask()
    page = asked.shown.value
    assert made is not None and "<script" not in page and len(re.findall("<img", page)) == 1
    assert "language: trained on en" in page and "picture" in page
    asked.upload(b"<html>no picture</html>", "page.jpg")
    assert asked.ask() is not None and "picture: the picture given" in asked.shown.value
    asked.text.value = " "
    assert "no answer: the detector needs" in (asked.ask(), asked.shown.value)[1]
    (at_hand.folder_of("demo") / "demo-en-dmfl" / "model.safetensors").unlink()
    asked.detector.value = "demo-en-dmfl"
    assert asked.ask() is None and "is missing" in asked.shown.value and not asked.button.disabled


def test_every_field_has_a_label(asked: form.Form) -> None:
    fields = (asked.detector, asked.text, asked.picture, asked.button, asked.clear)
    assert [field.description for field in fields] == ["Detector", "Text", "Picture", "Ask", "Clear"]


def test_detectors_are_made_once_and_again_for_other_runs(few_drawn: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    made, usual = [], Detector.from_runs

    def counted(runs, settings, threshold: str = "0.5") -> Detector:
        made.append(runs[0].model)
        return usual(runs, settings, threshold)

    monkeypatch.setattr(Detector, "from_runs", counted)
    places = at_hand.detectors(few_drawn)
    at_hand.detectors(few_drawn)
    assert made == ["micc", "dmfl"] and all(place.is_relative_to(cfg.output_root()) for place in places.values())
    config = places["demo-en-dmfl"] / "config.json"
    config.write_text(config.read_text(encoding="utf-8").replace("0.", "0.1", 1), encoding="utf-8")
    at_hand.detectors(few_drawn)
    assert made == ["micc", "dmfl", "dmfl"]


def test_the_command_after_the_demo_works_as_it_is_printed(
    few_drawn: Settings, output: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    _, command, place = at_hand.closing_lines(few_drawn)
    assert str(tmp_path) not in command, "as one would type it"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert done.returncode == 0 and "that label 1 holds" in done.stdout, done.stderr
    assert (cfg.PROJECT_ROOT / place.rsplit(" ", 1)[1]).is_file() and (tmp_path / "output" / "detectors").is_dir()
