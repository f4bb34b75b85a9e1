"""The command: what a report and the dashboard of many trials take, as Markdown and as JSON."""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from widthwise.storage.database.database import Database, resolve_url
from widthwise.storage.projection.dashboard import make_server
from widthwise.storage.study.study import load_study

from .study import NAME, make_study

FLAGS = ("--no-sandbox", "--disable-gpu")


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark; returns the exit code."""
    options = _options(arguments)
    with tempfile.TemporaryDirectory() as folder:
        figures = measure(Path(folder), options.trials, browser=not options.no_browser)
    print("| measured | |", "|---|---|", sep="\n")
    for name, value in figures.items():
        print(f"| {name} | {value:,.4g} |" if isinstance(value, float) else f"| {name} | {value} |")
    if options.json is not None:
        options.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    return 0


def measure(folder: Path, trials: int, *, browser: bool) -> dict[str, Any]:
    """Return what a report and the dashboard of so many trials take.

    Args:
        folder: An empty one.
        trials: How many.
        browser: Whether the pages are opened in a headless Chromium.
    """
    url = f"sqlite:///{folder / 'many.db'}"
    _log(f"a study of {trials} trials")
    make_study(url, trials, folder)
    _log("its report")
    out = folder / "report"
    started = time.perf_counter()
    subprocess.run(
        [_command(), "report", NAME, "--out", str(out), "--storage", url],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    figures: dict[str, Any] = {
        "trials": trials,
        "report --out, s": time.perf_counter() - started,
        "report.html, MB": (out / "report.html").stat().st_size / 1e6,
        "report.json, MB": (out / "report.json").stat().st_size / 1e6,
        "all PNG, MB": sum(path.stat().st_size for path in out.glob("*.png")) / 1e6,
    }
    with Database.open(resolve_url(url, {})) as database:
        study = load_study(database, NAME)
        with make_server(database, port=0) as server:
            thread = threading.Thread(target=server.serve_forever)
            thread.start()
            try:
                address = server.url
                api = address.replace("/dashboard/", f"/api/studies/{study.optuna_study_id}")
                _log("the dashboard's API")
                for which in ("first", "second"):
                    started = time.perf_counter()
                    with urlopen(api, timeout=120) as answer:
                        size = len(answer.read())
                    seconds = time.perf_counter() - started
                    figures[f"dashboard, {which} answer, s"] = seconds
                figures["dashboard, answer, MB"] = size / 1e6
                if browser:
                    _log("both pages in a browser")
                    page = f"{address}studies/{study.optuna_study_id}"
                    figures |= _open_pages(out / "report.html", page)
            finally:
                server.shutdown()
                thread.join()
    return figures


def _open_pages(report: Path, dashboard: str) -> dict[str, Any]:
    """Return how long the two pages take in a headless Chromium until they can be read."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=_chromium(), args=list(FLAGS))
        page = chromium.new_page()
        page.set_default_timeout(180_000)
        started = time.perf_counter()
        page.goto(report.as_uri())
        page.screenshot()
        loaded = time.perf_counter() - started
        scroll = page.evaluate(
            """async () => {
                const waits = [];
                const next = () => new Promise(done => requestAnimationFrame(done));
                for (let top = 0; top < document.body.scrollHeight; top += 300) {
                    const before = performance.now();
                    window.scrollTo(0, top);
                    await next();
                    waits.push(performance.now() - before);
                }
                waits.sort((first, second) => first - second);
                return [document.querySelectorAll("*").length, waits[Math.floor(waits.length / 2)],
                        waits[waits.length - 1]];
            }"""
        )
        started = time.perf_counter()
        page.goto(dashboard)
        page.wait_for_function(
            "() => [...document.querySelectorAll('.js-plotly-plot')].some(one => one.data?.length)"
        )
        ready = time.perf_counter() - started
        chromium.close()
    return {
        "report in Chromium, s": loaded,
        "report, elements": scroll[0],
        "report, a scroll step, median ms": float(scroll[1]),
        "report, a scroll step, longest ms": float(scroll[2]),
        "dashboard in Chromium until its first plot, s": ready,
    }


def _command() -> str:
    """Return the path of `widthwise` beside this Python."""
    return str(Path(sys.executable).with_name("widthwise"))


def _chromium() -> str | None:
    """Return the path of a Chromium; None for Playwright's own."""
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    return next((path for name in names if (path := shutil.which(name))), None)


def _log(text: str) -> None:
    print(f"progress: {text}", file=sys.stderr, flush=True)


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.report", description=__doc__)
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--no-browser", action="store_true", help="open no page")
    parser.add_argument("--json", type=Path, help="write all figures here")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
