"""What a person sees: a real Chromium on the real dashboard of a study that misleads.

The trial with the best value breaks a limit. The page must name the best feasible one and show the
other as infeasible; optuna-dashboard by itself names the infeasible one.
"""

import importlib.util
from pathlib import Path

import optuna
import optuna_dashboard
import pytest
from playwright.sync_api import expect, sync_playwright
from widthwise.storage.database.database import Database, resolve_url
from widthwise.storage.projection import dashboard

pytestmark = [pytest.mark.browser, pytest.mark.slow]

FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    # What DNS rebinding does: somebody else's name that points to this machine.
    "--host-resolver-rules=MAP rebound.example 127.0.0.1",
)


@pytest.fixture(scope="module")
def chromium():
    spec = importlib.util.spec_from_file_location("install", Path(__file__).with_name("install.py"))
    install = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(install)
    path = install.find_chromium()
    assert path, "no Chromium: run tests/browser/install.py"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(FLAGS))
        yield browser
        browser.close()


@pytest.fixture
def page(chromium):
    page = chromium.new_page()
    page.set_default_timeout(30_000)
    yield page
    page.close()


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
