"""What a person sees: a real Chromium on a report from disk, light, dark and as wide as a phone."""

import re

import pytest
from playwright.sync_api import expect
from widthwise.search.report.page.write import write_report
from widthwise.tests.search.report.made_study import make_evidence

pytestmark = [pytest.mark.browser, pytest.mark.slow]

HOSTILE = {
    "name": "x <script>document.title='taken'</script> {{ 7 * 7 }}",
    "names": ("\"'><script>alert(2)</script>", "</svg></style><img/src/onerror>"),
}
KEY_FIGURES = (
    "front-parameters",
    "costs",
    "history",
    "parallel",
    "response-1",
    "response-2",
    "learning-curves",
    "losses",
)


@pytest.fixture(scope="module")
def reports(tmp_path_factory):
    """The addresses of two reports on disk, by name."""
    folder = tmp_path_factory.mktemp("reports")
    write_report(make_evidence(20), folder / "usual")
    write_report(make_evidence(8, **HOSTILE), folder / "hostile")
    return {path.name: (path / "report.html").as_uri() for path in folder.iterdir()}


@pytest.fixture(params=["light", "dark"])
def theme(request):
    return request.param


@pytest.fixture
def open_page(chromium):
    """Open an address in a fresh profile; what it logs and asks for is kept on the page."""
    contexts = []

    def open_in(address, *, width=1280, theme="light"):
        context = chromium.new_context(
            viewport={"width": width, "height": 844}, color_scheme=theme, offline=True
        )
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(30_000)
        page.logged, page.asked = [], []
        page.on("console", lambda message: page.logged.append(message.text))
        page.on("pageerror", lambda error: page.logged.append(str(error)))
        page.on("request", lambda request: page.asked.append(request.url))
        page.goto(address)
        return page

    yield open_in
    for context in contexts:
        context.close()


@pytest.mark.parametrize("name", ["usual", "hostile"])
def test_it_asks_for_nothing_and_complains_of_nothing(open_page, reports, theme, name):
    page = open_page(reports[name], theme=theme)
    page.mouse.wheel(0, 20_000)
    page.screenshot(full_page=True)
    assert page.logged == []
    assert [url for url in page.asked if not url.startswith("data:")] == [reports[name]]


def test_the_verdict_is_the_first_thing_seen(open_page, reports):
    page = open_page(reports["usual"], width=390)
    verdict = page.locator("#verdict")
    expect(verdict).to_be_in_viewport()
    expect(verdict.locator(".answer")).not_to_be_empty()
    first_figure = page.locator("figure").first.bounding_box()
    assert verdict.bounding_box()["y"] < first_figure["y"]


def test_every_key_figure_is_visible(open_page, reports, theme):
    page = open_page(reports["usual"], theme=theme)
    for name in KEY_FIGURES:
        drawing = page.locator(f"#{name} svg")
        expect(drawing).to_be_visible()
        box = drawing.bounding_box()
        assert box["width"] > 400
        assert box["height"] > 150
        assert drawing.get_attribute("aria-label")


def test_figures_take_the_theme(open_page, reports):
    colours = {}
    for theme in ("light", "dark"):
        page = open_page(reports["usual"], theme=theme)
        colours[theme] = page.evaluate(
            """() => ({
                page: getComputedStyle(document.body).backgroundColor,
                text: getComputedStyle(document.querySelector("#history svg text")).fill,
                surface: getComputedStyle(document.querySelector("#history svg path")).fill,
            })"""
        )
    light, dark = colours["light"], colours["dark"]
    assert _brightness(light["page"]) > 200 > 60 > _brightness(dark["page"])
    assert _brightness(light["surface"]) > 200 > 60 > _brightness(dark["surface"])
    assert _brightness(light["text"]) < 140 < _brightness(dark["text"])


def _brightness(colour):
    return sum(map(int, re.findall(r"\d+", colour)[:3])) / 3


def test_on_a_phone_nothing_is_wider_than_the_screen(open_page, reports):
    page = open_page(reports["usual"], width=390)
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    letters = page.evaluate(
        """() => [...document.querySelectorAll("figure svg text")].map(
            text => text.getBoundingClientRect().height)"""
    )
    assert min(letters) > 6, "letters of figures are read without a glass"
    expect(page.locator("#networks table")).to_be_visible()


def test_names_are_text_and_run_nothing(open_page, reports):
    page = open_page(reports["hostile"])
    expect(page.locator("h1")).to_have_text(HOSTILE["name"])
    assert "taken" not in page.title().split(" <")[0]
    assert page.evaluate("document.scripts.length") == 0
    assert page.evaluate("document.images.length") == 0
    expect(page.locator("#verdict .widths span").first).to_have_text(HOSTILE["names"][0])
