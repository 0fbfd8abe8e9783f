"""Notebook 11's form: a text, a picture and a detector; then its answer with what moved it, in words and as a picture.

Every field has a label and is reached by Tab. Nothing is sent anywhere, and nothing of a training post but its label is
shown.
"""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from rumorlib.results.saved.explained import Explanation

WIDTH = {"width": "98%", "max_width": "1100px"}  # no scroll bar below the form
STRONG, LEAST = 0.25, 0.05  # share of the largest effect, and log-odds, from which a word is marked


class Form:
    """The form on detectors by name. `view` is the widget; `ask` is what its button calls.

    Args: detectors: name -> folder of a saved detector. data: folder with weights/ of the encoders they name.
    """

    def __init__(self, detectors: Mapping[str, Path], data: Path | None = None) -> None:
        import ipywidgets as widgets

        self.opened = cache(lambda name: _opened(detectors[name], data))
        wide = {"layout": widgets.Layout(**WIDTH), "style": {"description_width": "7em"}}
        self.detector = widgets.Dropdown(options=list(detectors), description="Detector", **wide)
        self.text = widgets.Textarea(
            description="Text", placeholder="of the post, in English or Chinese", rows=4, **wide
        )
        self.picture = widgets.FileUpload(accept="image/*", multiple=False, description="Picture",
                                          tooltip="of the post; it need not have one")  # fmt: skip
        self.button = widgets.Button(description="Ask", button_style="primary", tooltip="ask the detector")
        self.clear = widgets.Button(description="Clear", tooltip="empty text and picture")
        self.shown = widgets.HTML()
        self.button.on_click(lambda _: self.ask())
        self.clear.on_click(lambda _: self.empty())
        buttons = widgets.HBox([self.picture, self.button, self.clear])
        self.view = widgets.VBox([self.detector, self.text, buttons, self.shown])

    def ask(self) -> Explanation | None:
        """Answer what the fields hold and show it; None: an error, which is shown."""
        self.button.disabled, self.shown.value = True, _said("asking …")
        try:
            detector = self.opened(self.detector.value)
            made = detector.explain({"text": self.text.value, "image": self.uploaded()})
            self.shown.value = page(made, detector.about["label_means"], detector.threshold)
        except (ValueError, OSError) as error:
            self.shown.value = _said(f"no answer: {error}")
            return None
        finally:
            self.button.disabled = False
        return made

    def empty(self) -> None:
        """No text, no picture, no answer."""
        self.text.value, self.picture.value, self.shown.value = "", (), ""

    def uploaded(self) -> bytes | None:
        """The picture chosen last, as it was."""
        return bytes(self.picture.value[-1]["content"]) if self.picture.value else None

    def upload(self, content: bytes, name: str = "post.png") -> None:
        """Choose a picture as somebody does by hand."""
        now = datetime.now(UTC)
        self.picture.value = ({"name": name, "type": "image/*", "size": len(content), "content": content,
                               "last_modified": now},)  # fmt: skip


def page(made: Explanation, label_means: str, threshold: float) -> str:
    """An explanation as HTML; whatever the post holds is text there."""
    from rumorlib.figures import evidence

    said = made.answer
    if said.isna()["calibrated"]:
        return _said(f"no answer: the detector needs {said['missing']}")
    far = "<b>yes: do not rely on the answer</b>" if said["unlike_training"] else "no"
    facts = {
        "probability": f"<b>{said['calibrated']:.3f}</b> that label 1 holds: {html.escape(label_means)}",
        "label": f"<b>{said['label']}</b> (1 from {threshold:.3f} on)",
        "unlike training": far,
        "missing": html.escape(said["missing"]) or "nothing",
        "nearest training posts": _nearest(made),
        "words": _words(made),
    }
    rows = "".join(f'<tr><th scope="row" style="text-align:left;vertical-align:top;padding-right:1em">{name}</th>'
                   f"<td>{value}</td></tr>" for name, value in facts.items())  # fmt: skip
    drawn = io.BytesIO()
    evidence.why(made).savefig(drawn, format="png", dpi=110)
    picture = base64.b64encode(drawn.getvalue()).decode()
    about = "The picture with the model's maps, and the words that move the answer most"
    notes = "".join(f"<li>{html.escape(flag)}</li>" for flag in made.flags)
    return (f'<div role="status" style="max-width:1100px;line-height:1.5"><table>{rows}</table>'
            f'<img alt="{about}" style="max-width:100%" src="data:image/png;base64,{picture}">'
            + (f"<p>Not explained:</p><ul>{notes}</ul>" if notes else "") + "</div>")  # fmt: skip


def _words(made: Explanation) -> str:
    """The text's words, those that matter marked by sign, colour and the change of the log-odds."""
    if made.words.empty:
        return "none to leave out"
    most, told, end = made.words["effect"].abs().max(), [], 0
    for word, start, effect in zip(made.words["word"], made.words["start"], made.words["effect"]):
        written = html.escape(word)
        if abs(effect) >= max(STRONG * most, LEAST):
            colour = "#fbe3d5" if effect > 0 else "#d6e9f8"
            written = (f'<span style="background:{colour};color:#000;padding:0 2px">{written}'
                       f"<sub>{effect:+.2f}</sub></span>")  # fmt: skip
        told.append(" " * (start > end) + f"<bdi>{written}</bdi>")  # Chinese stands without blanks
        end = start + len(word)
    return "".join(told) + "<br><small>change of the log-odds by the word: + towards label 1</small>"


def _nearest(made: Explanation) -> str:
    told = []
    for by, part in made.nearest.groupby("by", sort=False):
        labels = ", ".join(map(str, part["label"]))
        told.append(
            f"by {by}: labels {labels} (distances {part['distance'].min():.2f} to {part['distance'].max():.2f})"
        )
    return "<br>".join(told) or "not known"


def _said(message: str) -> str:
    return f'<p role="status">{html.escape(message)}</p>'


def _opened(place: Path, data: Path | None) -> Any:
    from rumorlib.results.saved.detector import Detector

    return Detector.from_pretrained(place, data)
