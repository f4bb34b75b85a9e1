"""The command: a table of packages as Markdown to standard output, and all findings as JSON."""

import argparse
import json
import re
import sys
import tempfile
from collections import Counter, defaultdict
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from multiprocessing import get_context
from pathlib import Path

from .packages import find_tables
from .scan import TableScan, scan_job

QUICK_TABLES = 3
"""Tables of each package where it is to be quick."""


def main(arguments: list[str] | None = None) -> int:
    """Run the scan; returns 0 where nothing was raised and nothing leaked."""
    options = _options(arguments)
    scans: dict[str, list[tuple[str, TableScan]]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as scratch:
        tables = list(find_tables(options.folder, Path(scratch) / "unpacked"))
        if options.quick:
            tables = [
                table
                for package in {table.package: None for table in tables}
                for table in [one for one in tables if one.package == package][:QUICK_TABLES]
            ]
        jobs = [(table.path, number, Path(scratch)) for number, table in enumerate(tables)]
        if options.jobs == 1:
            results = list(map(scan_job, jobs))
        else:
            with ProcessPoolExecutor(options.jobs, mp_context=get_context("spawn")) as pool:
                results = list(pool.map(scan_job, jobs, chunksize=8))
    for table, scan in zip(tables, results, strict=True):
        scans[table.package].append((table.path.name, scan))
    print(_packages_table(scans), "", _refusals_table(scans), "", _lists(scans), sep="\n")
    if options.json is not None:
        findings = {
            package: {name: asdict(scan) for name, scan in entries}
            for package, entries in scans.items()
        }
        options.json.write_text(json.dumps(findings, indent=1))
    found = [scan for entries in scans.values() for _, scan in entries]
    return int(not found or any(scan.exceptions or scan.leaks for scan in found))


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.data_files", description=__doc__)
    parser.add_argument("folder", type=Path, help="where pip put the packages (--target)")
    parser.add_argument("--json", type=Path, help="file for all findings")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--quick", action="store_true", help="a few tables of each package")
    return parser.parse_args(arguments)


def _packages_table(scans: dict[str, list[tuple[str, TableScan]]]) -> str:
    titles = ("package", "files", "loads", "refusals", "exceptions", "planted", "leaks")
    lines = [" | ".join(titles), " | ".join("---" for _ in titles)]
    total = Counter[str]()
    for package, entries in scans.items():
        counts = Counter(files=len(entries))
        for _, scan in entries:
            counts.update(
                loads=scan.loads,
                refusals=len(scan.refusals),
                exceptions=len(scan.exceptions),
                planted=scan.planted,
                leaks=len(scan.leaks),
            )
        total.update(counts)
        lines.append(" | ".join([package, *(f"{counts[title]:,}" for title in titles[1:])]))
    lines.append(" | ".join(["all", *(f"{total[title]:,}" for title in titles[1:])]))
    return "\n".join(f"| {line} |" for line in lines)


def _refusals_table(scans: dict[str, list[tuple[str, TableScan]]]) -> str:
    """Return how often each reason was given: the sentences without names and numbers."""
    reasons = Counter(
        _reason(sentence)
        for entries in scans.values()
        for _, scan in entries
        for sentence in scan.refusals
    )
    lines = ["| refusals | reason |", "|---|---|"]
    return "\n".join([*lines, *(f"| {count} | {text} |" for text, count in reasons.most_common())])


def _reason(sentence: str) -> str:
    sentence = re.sub(r"\([^)]*\)", "(…)", sentence)
    sentence = re.sub(r"'[^']*'", "'…'", sentence)
    sentence = re.sub(r"^\S+\.(csv|tsv)\S*", "FILE", sentence)
    return re.sub(r"-?\d[\d.,e+-]*", "N", sentence).split(";")[0].split(": ")[0]


def _lists(scans: dict[str, list[tuple[str, TableScan]]]) -> str:
    found = [scan for entries in scans.values() for _, scan in entries]
    lists = {
        "Exceptions": [text for scan in found for text in scan.exceptions],
        "Leaks": [text for scan in found for text in scan.leaks],
        "Count on, and are kept": [text for scan in found for text in scan.counting],
    }
    return "\n\n".join(
        "\n".join([f"{title}: {len(texts)}", *(f"- {text}" for text in texts)])
        for title, texts in lists.items()
    )


if __name__ == "__main__":
    sys.exit(main())
