"""The form as it is used: Chromium opens JupyterLab, runs notebook 11, types, adds a picture, reads the answer."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from rumorlib import config as cfg
from rumorlib.commands import at_hand
from rumorlib.config import Settings

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
webdriver = pytest.importorskip("selenium.webdriver", reason="THE FORM WAS NOT SEEN IN A BROWSER: pip install selenium")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="THE FORM WAS NOT SEEN IN A BROWSER: apt-get install chromium "
                                                         "chromium-driver"),
    pytest.mark.skipif("RUMORLIB_BROWSER" not in os.environ, reason="a minute or two: RUMORLIB_BROWSER=1 asks for it"),
]  # fmt: skip
NOTEBOOK = cfg.PROJECT_ROOT / at_hand.FORM
# The field of a file chooser is no part of the page: the test puts it there instead of opening the chooser.
CATCH = """HTMLInputElement.prototype.click = function() { this.id = "caught"; document.body.appendChild(this); }"""
WAIT_S = 120  # on a machine that does other things, too


@pytest.fixture
def lab(few_drawn: Settings, tmp_path: Path) -> Iterator[str]:
    """Address of notebook 11 in a JupyterLab of its own, which offers a detector of few scenes."""
    place = at_hand.detectors(few_drawn)["demo-en-micc"]
    text = NOTEBOOK.read_text(encoding="utf-8")
    assert "folders: list[str] = None" in text
    work = tmp_path / "work"
    work.mkdir()
    (work / NOTEBOOK.name).write_text(text.replace("folders: list[str] = None", f"folders: list[str] = ['{place}']"))
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", f"--port={port}", "--ip=127.0.0.1",
               f"--ServerApp.root_dir={work}", "--IdentityProvider.token=", "--LabApp.news_url="]  # fmt: skip
    homes = {f"JUPYTER_{name}_DIR": str(tmp_path / name) for name in ("CONFIG", "DATA", "RUNTIME")}
    environment = os.environ | homes | {"PYTHONPATH": str(cfg.PROJECT_ROOT), "OMP_NUM_THREADS": "1"}
    with (
        (tmp_path / "lab.log").open("w") as log,
        subprocess.Popen(command, env=environment, stdout=log, stderr=log) as lab,
    ):
        yield f"http://127.0.0.1:{port}/lab/tree/{NOTEBOOK.name}?reset"
        lab.terminate()


def test_the_form_answers_in_a_browser(lab: str, few_drawn: Settings, tmp_path: Path) -> None:
    text, picture = at_hand.drawn_post(few_drawn, "demo-en")
    (tmp_path / "post.png").write_bytes(picture)
    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for flag in (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--window-size=1280,1000",
    ):
        options.add_argument(flag)
    browser = webdriver.Chrome(options, webdriver.ChromeService(str(DRIVER)))
    try:
        _open(browser, lab)
        found = _first(browser, ".widget-textarea textarea")
        label = browser.find_element("css selector", f"label[for='{found.get_attribute('id')}']")
        assert label.text == "Text", "the field's label is its own"
        browser.execute_script("arguments[0].scrollIntoView()", found)
        found.send_keys(text)
        browser.execute_script(CATCH)
        _first(browser, "button.widget-upload").send_keys(" ")
        _first(browser, "#caught").send_keys(str(tmp_path / "post.png"))
        button = next(one for one in browser.find_elements("css selector", "button.widget-button") if one.text == "Ask")
        time.sleep(1)  # the picture travels to the kernel
        button.send_keys(" ")  # as from the keyboard
        answer = _first(browser, ".widget-html-content div[role=status] img")
        page = browser.find_element("css selector", ".widget-html-content div[role=status]").text
        assert "that label 1 holds" in page and "by picture: labels" in page, page
        assert answer.size["width"] <= 1280
        browser.execute_script("arguments[0].scrollIntoView({block: 'end'})", answer)
        shot = cfg.PROJECT_ROOT / "build" / "form.png"
        shot.parent.mkdir(exist_ok=True)
        assert browser.save_screenshot(str(shot))
    finally:
        browser.save_screenshot(str(tmp_path / "last.png"))
        browser.quit()


def _open(browser, address: str) -> None:
    """Open the notebook and choose Run All Cells in the menu."""
    for _ in range(WAIT_S):
        try:
            browser.get(address)
            break
        except Exception:
            time.sleep(1)
    _first(browser, ".jp-Notebook .jp-CodeCell")
    time.sleep(5)  # the kernel starts
    menus = browser.find_elements("css selector", ".lm-MenuBar-item")
    next(one for one in menus if one.text == "Run").click()
    _first(browser, "li[data-command='runmenu:run-all']").click()


def _first(browser, selector: str):
    """The first element of a selector, waited for."""
    end = time.monotonic() + WAIT_S
    while time.monotonic() < end:
        if found := browser.find_elements("css selector", selector):
            return found[0]
        time.sleep(0.5)
    raise AssertionError(f"{selector} did not appear")
