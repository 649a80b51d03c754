"""The HTML report in headless Chromium: nothing is fetched, nothing fails, and it can be read by everybody.

Skipped where there is no Chromium. By hand: axe-core 4.14.1 found no violation in such a page, light and dark.
"""

import json
import re
import shutil
import subprocess
from html import escape, unescape

import numpy as np
import pytest

from fpverify import verify
from fpverify.questions import eight_bit
from fpverify.reports import FORMATS, as_html
from fpverify.result import Judged

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium")

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
PROBE = """
<script>
const seen = [];
function luminance(text) {
  const [r, g, b] = text.match(/[0-9.]+/g).map(Number)
    .map(v => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}
const paper = luminance(getComputedStyle(document.body).backgroundColor);
let contrast = 99;
for (const one of document.querySelectorAll("h1, h2, p, th, td, li, figcaption, svg text")) {
  const style = getComputedStyle(one), ink = luminance(one.closest("svg") ? style.fill : style.color);
  contrast = Math.min(contrast, (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05));
}
const found = {
  width: innerWidth, scroll: document.documentElement.scrollWidth, contrast, paper,
  fetched: performance.getEntriesByType("resource").map(one => one.name).filter(name => !name.startsWith("data:")),
  headings: [...document.querySelectorAll("h1, h2, h3, h4")].map(one => one.tagName),
  unnamed: [...document.images].filter(one => !one.alt || !one.complete || !one.naturalWidth).length,
  images: document.images.length,
  scopes: [...document.querySelectorAll("th")].every(one => one.scope),
  mains: document.querySelectorAll("main").length, title: document.title, lang: document.documentElement.lang,
  figures: [...document.querySelectorAll("svg")].map(one => one.getAttribute("role")),
};
document.body.append(Object.assign(document.createElement("pre"), {id: "found", textContent: JSON.stringify(found)}));
</script></body>
"""


@pytest.fixture
def opened(tmp_path):
    """Opens a page in a browser; returns the page as it is then, and what the browser complained of."""

    def open_page(text, width=900, dark=False):
        page = tmp_path / "page.html"
        page.write_text(text)
        flags = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
        flags += ["--disable-component-update", "--disable-sync", f"--user-data-dir={tmp_path / 'profile'}"]
        flags += [f"--window-size={width},1200", "--virtual-time-budget=5000", "--enable-logging=stderr", "--dump-dom"]
        flags += ["--blink-settings=preferredColorScheme=0"] if dark else []
        command = [CHROMIUM, *flags, page.as_uri()]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
        return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]

    return open_page


@pytest.fixture
def shown(opened):
    """Opens a page with a script in it; returns what that found, and what the browser complained of."""

    def show(text, width=900, dark=False):
        assert POLICY in text
        probed = text.replace(POLICY, POLICY + "; script-src 'unsafe-inline'").replace("</body>", PROBE)
        page, complaints = opened(probed, width, dark)
        found = re.search(r'<pre id="found">(.*?)</pre>', page, re.DOTALL)
        assert found, complaints
        return json.loads(unescape(found[1])), complaints

    return show


@pytest.fixture
def result(fingerprint, derived_file):
    return verify(fingerprint, derived_file)


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [500, 900])
def test_a_page_is_whole_in_itself_and_can_be_read(shown, result, fingerprint, width, dark):
    starts = eight_bit(np.clip(fingerprint.inputs + 0.02, 0, 1), fingerprint.contract)
    found, complaints = shown(as_html.result(result, fingerprint, starts), width, dark)
    assert complaints == []
    assert (found["fetched"], found["unnamed"], found["images"]) == ([], 0, 3 * len(fingerprint))
    assert found["contrast"] >= 4.5  # WCAG 2.2, 1.4.3
    assert (found["paper"] < 0.1) is dark
    assert found["scroll"] <= found["width"] == width
    assert found["headings"][0] == "H1"
    assert set(found["headings"][1:]) == {"H2"}
    assert (found["mains"], found["lang"], found["scopes"], found["figures"]) == (1, "en", True, ["img"])
    assert found["title"].startswith("DERIVED")


def test_a_page_of_360_pixels_needs_no_sideways_scrolling(opened, result, fingerprint):
    """Chromium's window has at least 500 pixels, so the page lies in a frame."""
    starts = eight_bit(fingerprint.inputs, fingerprint.contract)
    text = escape(as_html.result(result, fingerprint, starts), quote=True)
    page, _ = opened(
        f'<iframe style="width: 360px; border: 0" srcdoc="{text}"></iframe><script>onload = () => {{'
        "const inside = document.querySelector('iframe').contentDocument.documentElement;"
        "document.title = `${inside.clientWidth} ${inside.scrollWidth}`}</script>"
    )
    width, needed = map(int, re.search(r"<title>(.*?)</title>", page)[1].split())
    assert needed <= width <= 360


def test_many_verdicts_are_a_page_too(shown, result):
    judged = [Judged("a.onnx", "f", result), Judged("<b>b</b>" * 40, "f", None, "it is broken")]
    found, complaints = shown("".join(FORMATS["html"].many(judged)), 500)
    assert (complaints, found["fetched"]) == ([], [])
    assert found["scroll"] <= found["width"]


def test_a_page_runs_no_script_even_if_one_got_into_it(opened, result):
    """Names are escaped; if that ever failed, the page's own policy stops a script."""
    text = FORMATS["html"].result(result).replace("</main>", "<script>document.title = 'it ran'</script></main>")
    page, complaints = opened(text)
    assert "<title>DERIVED" in page
    assert any("Content Security Policy" in line for line in complaints)
    page, _ = opened(text.replace(POLICY, ""))
    assert "<title>it ran" in page
