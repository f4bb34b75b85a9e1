"""The registry of engines: each entry makes the engine of its name, and torch is not needed."""

from __future__ import annotations

import subprocess
import sys

import pytest
from pydantic import ValidationError
from widthwise.objectives.engines.registry import ENGINES, PLAIN_ENGINE
from widthwise.search.spec.proxy_section import ProxySection


@pytest.mark.parametrize("name", ENGINES)
def test_an_entry_makes_the_engine_of_its_name(name: str) -> None:
    assert ENGINES[name].name == name
    assert ENGINES[name].create().name == name


def test_the_plain_engine_is_one_of_them() -> None:
    assert ENGINES[PLAIN_ENGINE.name] is PLAIN_ENGINE


def test_the_spec_takes_the_engines_of_the_registry() -> None:
    for name in ("auto", *ENGINES):
        assert ProxySection(data="digits", engine=name).engine == name
    with pytest.raises(ValidationError, match=r"'auto', 'plain', 'replay', 'stacked' or 'dense'"):
        ProxySection(data="digits", engine="magic")


def test_the_registry_does_not_load_torch() -> None:
    code = (
        "import sys, widthwise.objectives.engines.registry\n"
        "assert not {'torch', 'numba'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
