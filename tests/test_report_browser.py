"""The report in a real browser: drawn, without a word of complaint, on any screen and on paper."""

import io
import re

import numpy as np
import pytest
from browser import EXECUTABLE, Browser
from matplotlib.image import imread
from report_bundles import mapped_denoiser

from s5_to_loihi.profiling.findings import Sources, gather
from s5_to_loihi.reports.html.files import write

pytestmark = pytest.mark.skipif(
    EXECUTABLE is None, reason="chromium is not installed (apt install chromium)"
)
DESKTOP, PHONE = 1200, 375


@pytest.fixture(scope="module")
def browser():
    with Browser() as opened:
        yield opened


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    directory = tmp_path_factory.mktemp("browser")
    findings = gather(Sources(mapped_denoiser(directory), measure=False))
    path, _ = write(findings, "s5-to-loihi report", directory / "report.html")
    return path


@pytest.fixture(autouse=True)
def quiet(browser):
    """Start without complaints of another page."""
    browser.complaints.clear()
    browser.requests.clear()


def pixels(picture: bytes) -> np.ndarray:
    return imread(io.BytesIO(picture), format="png")[..., :3]


def test_the_browser_notices_what_it_should(browser, tmp_path):
    page = tmp_path / "bad.html"
    page.write_text(
        "<script>console.warn('careful')</script><script>throw Error('broken')</script>"
        "<img src='http://example.invalid/x.png'><p style='width: 900px'>wide</p>"
    )
    browser.open(page, PHONE)
    assert any("careful" in one for one in browser.complaints)
    assert any("broken" in one for one in browser.complaints)
    assert browser.requests == ["http://example.invalid/x.png"]
    assert browser.evaluate("document.documentElement.scrollWidth") > PHONE


@pytest.mark.parametrize("width", [DESKTOP, PHONE])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_is_drawn_without_complaint_and_without_network(browser, report, width, scheme):
    browser.open(report, width, scheme=scheme)
    assert browser.complaints == []
    assert browser.requests == []
    assert browser.evaluate("document.querySelectorAll('.chart').length") >= 6
    assert browser.evaluate(
        "[...document.querySelectorAll('.chart .row:not(.axis)')].every(one =>"
        " one.querySelector('.dot, .bar, .curve') && one.querySelector('.tip title'))"
    )
    text = browser.evaluate("document.body.innerText")
    assert "Keeps up with real time" in text
    for wanted in ("Latency of a token", "dense twin", "How each number came about"):
        assert wanted in text
    assert browser.evaluate("[...document.images].every(one => one.naturalWidth > 0)")
    assert browser.evaluate("document.querySelector('h1').textContent").startswith("</title>")


@pytest.mark.parametrize("width", [320, PHONE, 768, DESKTOP])
def test_nothing_is_wider_than_the_screen(browser, report, width):
    browser.open(report, width)
    widths = "[document.documentElement.scrollWidth, document.body.scrollWidth]"
    assert max(browser.evaluate(widths)) <= width
    # On a phone nothing but drawings scrolls, and that inside its frame.
    assert browser.evaluate(
        "[...document.querySelectorAll('.scroll')].every(one =>"
        " getComputedStyle(one).overflowX === 'auto' && one.clientWidth <= innerWidth"
        " && (innerWidth > 640 || one.classList.contains('picture')"
        " || one.scrollWidth <= one.clientWidth))"
    )
    # No chart is squeezed by its labels, and their letters keep their size.
    assert browser.evaluate(
        "Math.min(...[...document.querySelectorAll('.track')]"
        ".map(one => one.getBoundingClientRect().width))"
    ) > min(200, width / 2)
    assert browser.evaluate(
        "[...document.querySelectorAll('.chart .label, .chart .value, .chart text')].every(one =>"
        " parseFloat(getComputedStyle(one).fontSize) >= 12)"
    )
    # Numbers of an axis do not touch.
    assert browser.evaluate(
        """[...document.querySelectorAll('.axis .track')].every(axis => {
          const boxes = [...axis.querySelectorAll('text')].map(one => one.getBoundingClientRect());
          return boxes.every((box, at) => at === 0 || boxes[at - 1].right <= box.left);
        })"""
    )


def test_light_and_dark_differ_and_are_not_blank(browser, report):
    pictures = {}
    for scheme in ("light", "dark"):
        browser.open(report, DESKTOP, scheme=scheme)
        pictures[scheme] = pixels(browser.screenshot(whole=False))
        assert pictures[scheme].std() > 0.02
    assert pictures["light"].mean() > 0.8
    assert pictures["dark"].mean() < 0.25


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_texts_stand_out_from_what_is_behind_them(browser, report, scheme):
    browser.open(report, DESKTOP, scheme=scheme)
    colours = browser.evaluate(
        """(() => {
          const behind = (one) => {
            for (let part = one; part; part = part.parentElement) {
              const colour = getComputedStyle(part).backgroundColor;
              if (!colour.startsWith("rgba(0, 0, 0, 0")) return colour;
            }
            return "rgb(255, 255, 255)";
          };
          const found = {};
          for (const selector of ["h1", ".about", ".verdict", ".doubt", "dt", "dd", "h3",
            "nav a", ".name", ".value", ".scope", ".badge",
            ".badge.modelled", ".badge.measured", ".badge.published", "figcaption", "th", "td",
            "caption", "summary", ".legend", ".label", ".row .value"]) {
            const one = document.querySelector(selector);
            found[selector] = [getComputedStyle(one).color, behind(one)];
          }
          return found;
        })()"""
    )
    for selector, pair in colours.items():
        lights = sorted(luminance(colour) for colour in pair)
        # WCAG 2.1, level AA.
        assert (lights[1] + 0.05) / (lights[0] + 0.05) >= 4.5, selector


def luminance(colour: str) -> float:
    """Relative luminance as WCAG 2.1 defines it."""
    parts = np.array([int(part) for part in re.findall(r"\d+", colour)[:3]]) / 255
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def test_it_prints_on_pages_with_everything_open(browser, report):
    browser.open(report, DESKTOP, scheme="dark")
    folded = browser.evaluate("document.querySelectorAll('details:not([open])').length")
    assert folded > 0
    printed = browser.pdf()
    assert printed.startswith(b"%PDF")
    assert len(re.findall(rb"/Type\s*/Page\b(?!s)", printed)) >= 4
    assert browser.complaints == []
    # What was opened for printing is closed again.
    assert browser.evaluate("document.querySelectorAll('details:not([open])').length") == folded


def test_it_can_be_used_from_the_keyboard(browser, report):
    browser.open(report)
    assert browser.evaluate(
        "[...document.querySelectorAll('.scroll')].every(one => one.tabIndex === 0"
        " && one.getAttribute('aria-label'))"
    )
    assert browser.evaluate(
        "[...document.querySelectorAll('nav a')].every(one =>"
        " document.querySelector(one.getAttribute('href')))"
    )
