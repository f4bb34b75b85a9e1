"""What a person sees: a real Chromium on the real dashboard of a study that misleads.

The trial with the best value breaks a limit. The page must name the best feasible one and show the
other as infeasible; optuna-dashboard by itself names the infeasible one.
"""

import base64

import optuna
import optuna_dashboard
import pytest
from playwright.sync_api import expect
from widthwise.storage.database.database import Database, resolve_url
from widthwise.storage.projection import dashboard
from widthwise.storage.projection.annotations import file_address

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture
def database(tmp_path):
    """The page is the same on every engine: the API's tests cover both."""
    with Database.open(resolve_url(f"sqlite:///{tmp_path / 'widthwise.db'}")) as opened:
        yield opened


@pytest.fixture
def study(database, make_finished_study):
    return make_finished_study(database, "misleading")


@pytest.fixture
def address(database, study, serve_dashboard):
    return f"{serve_dashboard(database)}/dashboard/studies/{study.optuna_study_id}"


@pytest.fixture
def stock_address(database, study, serve_dashboard, monkeypatch):
    """The same study in optuna-dashboard as it comes."""

    def as_it_comes(database, **_options):
        return optuna_dashboard.wsgi(optuna.storages.get_storage(database.optuna_storage()))

    monkeypatch.setattr(dashboard, "application", as_it_comes)
    return f"{serve_dashboard(database)}/dashboard/studies/{study.optuna_study_id}"


def test_the_page_names_the_best_feasible_trial(page, address):
    page.goto(address)
    expect(page.get_by_text("Best Trial (number=1)")).to_be_visible()
    expect(page.get_by_text("Params = [hidden: 16]")).to_be_visible()
    expect(page.get_by_text("Best Trial (number=2)")).to_have_count(0)


def test_optuna_dashboard_as_it_comes_names_the_infeasible_one(page, stock_address):
    """Were this to fail, optuna-dashboard had learned it, and the wrapping could go."""
    page.goto(stock_address)
    expect(page.get_by_text("Best Trial (number=2)")).to_be_visible()


def test_the_history_shows_the_infeasible_trial_as_such(page, address):
    page.goto(address)
    handle = page.wait_for_function(
        """() => {
            const plots = [...document.querySelectorAll(".js-plotly-plot")];
            const traces = plots.flatMap(plot => plot.data || []);
            const trace = name => traces.find(each => (each.name || "").startsWith(name));
            const [infeasible, best] = [trace("Infeasible Trial of"), trace("Best Value of")];
            return infeasible && best && {infeasible: infeasible.x, best: best.y};
        }"""
    )
    assert handle.json_value() == {"infeasible": [2], "best": [0.5, 0.75, 0.75]}


def test_the_list_of_trials_marks_the_best_and_says_what_is_broken(page, address):
    page.goto(f"{address}/trials?numbers=2")
    expect(page.get_by_text("no: flops +0.5")).to_be_visible()
    entries = page.get_by_role("button").filter(has_text="Best Trial")
    expect(entries).to_have_count(1)
    expect(entries).to_contain_text("Trial 1")


def test_the_page_cannot_delete_the_study(page, address, database, study):
    page.goto(address)
    status = page.evaluate(
        """async id => (await fetch(`/api/studies/${id}`, {
            method: "DELETE", body: "{}", headers: {"Content-Type": "application/json"},
        })).status""",
        study.optuna_study_id,
    )
    assert status == 403
    assert len(database.optuna_storage().get_all_trials(study.optuna_study_id)) == 3


EDITING = (
    "button:has(svg[data-testid=AddBoxIcon])",
    "button:has(svg[data-testid=DeleteIcon])",
    "button:has(svg[data-testid=DriveFileRenameOutlineIcon])",
    "button:has(svg[data-testid=EditIcon])",
)
"""Buttons that create, delete, rename and edit."""

PAGES = ("", "/trials", "/note")


def editing_buttons(page, address, selectors=EDITING):
    """How many such buttons are on the pages of a study and the list, and how many are seen."""
    counts = {"there": 0, "seen": 0}
    for url in [*(f"{address}{path}" for path in PAGES), address.partition("/studies/")[0]]:
        page.goto(url)
        page.wait_for_selector("svg[data-testid=MenuIcon]")
        page.get_by_text("misleading").first.wait_for()
        page.wait_for_timeout(500)
        for selector in selectors:
            counts["there"] += page.locator(selector).count()
            counts["seen"] += page.locator(f"{selector}:visible").count()
    return counts


def test_a_page_that_only_reads_has_no_button_that_edits(page, address):
    counts = editing_buttons(page, address)
    assert counts["seen"] == 0
    assert counts["there"] >= 4, "else they are called otherwise now, and this test finds nothing"


def test_a_writable_page_has_them(page, database, study, serve_dashboard):
    address = f"{serve_dashboard(database, writable=True)}/dashboard"
    counts = editing_buttons(page, f"{address}/studies/{study.optuna_study_id}")
    assert counts["seen"] >= 4


class Made:
    """The note and the files of every study."""

    def prepare(self, study_id):
        pass

    def note(self, study_id):
        return f"**No gain found.**\n\n![a dot]({file_address(study_id, 'dot.png')})"

    def files(self, _study_id):
        return {"dot.png": DOT, "report.html": b"<!doctype html><title>r</title>"}


DOT = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
"""A PNG of one pixel."""


@pytest.mark.parametrize("writable", [False, True], ids=["only reads", "writable"])
def test_a_study_has_its_note_with_pictures_and_its_files(
    page, database, study, serve_dashboard, writable
):
    logged, asked = [], []
    page.on("console", lambda message: logged.append(message.text))
    page.on("request", lambda request: asked.append(request.url))
    origin = serve_dashboard(database, annotations=Made(), writable=writable)
    address = f"{origin}/dashboard/studies/{study.optuna_study_id}"
    page.goto(f"{address}/note")
    expect(page.get_by_text("No gain found.")).to_be_visible()
    picture = page.get_by_role("img", name="a dot")
    expect(picture).to_be_visible()
    assert picture.evaluate("image => image.naturalWidth") == 1
    page.goto(address)
    expect(page.get_by_text("Study Artifacts")).to_be_visible()
    expect(page.get_by_text("report.html")).to_be_visible()
    expect(page.get_by_text("Upload a New File")).to_be_hidden()
    expect(page.get_by_label("delete artifact").first).to_be_hidden()
    assert [url for url in asked if not url.startswith((origin, "data:", "blob:"))] == []
    assert [text for text in logged if "error" in text.lower()] == []


def test_a_rebound_name_shows_nothing_and_changes_nothing(page, database, study, serve_dashboard):
    address = serve_dashboard(database, writable=True)
    port = address.rpartition(":")[2]
    answer = page.goto(f"http://rebound.example:{port}/dashboard/")
    assert answer.status == 421
    assert "misleading" not in page.content()
    status = page.evaluate(
        """async id => (await fetch(`/api/studies/${id}`, {
            method: "DELETE", body: "{}", headers: {"Content-Type": "application/json"},
        })).status""",
        study.optuna_study_id,
    )
    assert status == 421
    page.goto(f"{address}/dashboard/")
    expect(page.get_by_text("misleading")).to_be_visible()
