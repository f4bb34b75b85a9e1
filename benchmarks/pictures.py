"""Makes the README's pictures from a study in a database, with the code as it is.

python -m benchmarks.pictures STUDY --storage URL --into docs/images

Writes `report.png`, the top of its report in Chromium, and `answer.png`, what a run ends with in a
terminal of 80 columns.
"""

import argparse
import io
import re
import shutil
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, sync_playwright
from rich.console import Console
from rich.terminal_theme import MONOKAI
from widthwise.search.cli.printed_report import print_report
from widthwise.search.report.console import PlainConsole
from widthwise.search.report.evidence import load_evidence
from widthwise.search.report.page.write import write_report
from widthwise.search.report.summary import build_summary
from widthwise.storage.database.database import Database, resolve_url

COLUMNS = 80
REPORT_SIZE = (1180, 1330)
"""CSS pixels of the report's picture: the verdict, quality against cost and what it costs."""
MAX_BYTES = 300_000


class _RecordingConsole(PlainConsole):
    """Keeps what is printed, as wide as a usual terminal."""

    def __init__(self) -> None:
        super().__init__(width=COLUMNS)
        self.record = True
        self.file = io.StringIO()
        self._color_system = Console(color_system="truecolor")._color_system


def main(arguments: list[str] | None = None) -> int:
    """Make the pictures; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pictures", description=__doc__)
    parser.add_argument("study")
    parser.add_argument("--storage", default="sqlite:///widthwise.db")
    parser.add_argument("--into", type=Path, default=Path("docs/images"))
    options = parser.parse_args(arguments)
    with Database.open(resolve_url(options.storage, {})) as database:
        evidence = load_evidence(database, options.study)
    console = _RecordingConsole()
    print_report(console, build_summary(evidence))
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        report = write_report(evidence, Path(folder))[0]
        answer = Path(folder) / "answer.html"
        svg = console.export_svg(title=f"widthwise run {options.study}.toml", theme=MONOKAI)
        svg = re.sub(r"@font-face\s*{.*?}", "", svg, flags=re.DOTALL)  # from a network
        svg = svg.replace("Fira Code", "DejaVu Sans Mono")
        answer.write_text(f"<body style='margin:0'>{svg}", encoding="utf-8")
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        options.into.mkdir(parents=True, exist_ok=True)
        _save(_photograph(browser, report, REPORT_SIZE), options.into / "report.png")
        _save(_photograph(browser, answer, None), options.into / "answer.png")
        browser.close()
    return 0


def _photograph(browser: Browser, page_path: Path, size: tuple[int, int] | None) -> bytes:
    """Return a page's picture: of the window, or of its only drawing."""
    width, height = size or (1000, 800)
    page = browser.new_page(viewport={"width": width, "height": height}, color_scheme="light")
    page.goto(page_path.as_uri())
    return page.screenshot() if size else page.locator("svg").screenshot()


def _save(png: bytes, path: Path) -> None:
    """Write a picture, in few colours where it would be large, and check that it is small."""
    picture = Image.open(io.BytesIO(png)).convert("RGB")
    picture.save(path, optimize=True)
    if path.stat().st_size > MAX_BYTES:
        picture.quantize(colors=64, dither=Image.Dither.NONE).save(path, optimize=True)
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise SystemExit(f"{path} has {size:,} bytes, expected at most {MAX_BYTES:,}")
    print(f"{path}: {size:,} bytes")


if __name__ == "__main__":
    sys.exit(main())
