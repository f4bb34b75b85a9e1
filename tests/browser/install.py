"""Make sure that there is a Chromium for the browser tests; says nothing if there is one already.

python tests/browser/install.py
"""

import os
import shutil
import subprocess
import sys

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def find_chromium() -> str | None:
    """Path of a Chromium on PATH, or of the one that Playwright keeps."""
    for name in NAMES:
        if executable := shutil.which(name):
            return executable
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        executable = playwright.chromium.executable_path
    return executable if os.access(executable, os.X_OK) else None


def install_commands() -> list[list[str]]:
    """Ways to get one, the preferred first: each a shell command that is safe to repeat."""
    shell_commands = []
    if os.geteuid() == 0 and shutil.which("apt-get"):
        shell_commands.append(["sh", "-c", "apt-get update && apt-get install -y chromium"])
    shell_commands.append([sys.executable, "-m", "playwright", "install", "chromium"])
    return shell_commands


def main() -> int:
    """Find a Chromium or install one; returns the exit code."""
    if find_chromium():
        return 0
    failures = []
    for command in install_commands():
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        try:
            subprocess.run(command, env=environment, check=True, capture_output=True, timeout=900)
        except (OSError, subprocess.SubprocessError) as error:
            failures.append(f"{command[-1]!r}: {error}")
            continue
        if find_chromium():
            return 0
        failures.append(f"{command[-1]!r}: succeeded, but no Chromium was found afterwards")
    sys.stderr.write(
        "The browser tests need a Chromium and none could be installed; install one so that "
        f"`chromium` is on PATH. Tried {'; '.join(failures)}.\n"
    )
    return 1


if __name__ == "__main__":
    sys.exit(main())
