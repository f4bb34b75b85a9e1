"""A real headless Chromium, for the tests of this folder."""

import importlib.util
from pathlib import Path

import pytest
from playwright.sync_api import sync_playwright

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
