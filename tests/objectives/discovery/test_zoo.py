"""The zoo: what a person would name in each architecture is found, resized and trained."""

from dataclasses import dataclass
from fnmatch import fnmatchcase

import pytest
import torch
from torch import nn
from widthwise.objectives.discovery.discover import discover
from widthwise.objectives.discovery.groups import Discovery

from .zoo.architecture import Architecture, Width, parameter_shapes
from .zoo.catalogue import ZOO

WIDTHS = [
    pytest.param(architecture, width, id=f"{name}: {width.name}")
    for name, architecture in ZOO.items()
    for width in architecture.widths
]


@pytest.mark.parametrize(("architecture", "width"), WIDTHS)
def test_what_is_written_down_is_what_the_constructor_moves(
    architecture: Architecture, width: Width
) -> None:
    today, other = (
        architecture.build(**{width.name: size}) for size in (width.size, 3 * width.size)
    )
    assert parameter_shapes(today) == parameter_shapes(architecture.make())
    moved = {
        (id(parameter), dim)
        for name, parameter in today.named_parameters(remove_duplicate=False)
        for dim in range(parameter.dim())
        if parameter.shape[dim] != other.get_parameter(name).shape[dim]
    }
    assert moved == width.members_in(today)


@dataclass(frozen=True)
class Found:
    """One architecture, one model of it, and what discovery says."""

    architecture: Architecture
    model: nn.Module
    discovery: Discovery


@pytest.fixture(scope="module", params=ZOO)
def found(request: pytest.FixtureRequest) -> Found:
    architecture = ZOO[request.param]
    model = architecture.make()
    return Found(architecture, model, discover(architecture.make, architecture.inputs))


def test_what_a_person_would_name_is_found_and_nothing_else(found: Found) -> None:
    groups = {
        frozenset(
            (id(found.model.get_parameter(member.qualified_parameter)), member.dim)
            for member in group.members
        ): group
        for group in found.discovery.groups
    }
    assert len(groups) == len(found.discovery.groups)
    expected = {
        frozenset(width.members_in(found.model)): width
        for width in found.architecture.flow or found.architecture.widths
    }
    assert {members: (group.size, group.multiple_of) for members, group in groups.items()} == {
        members: (width.size, width.multiple_of) for members, width in expected.items()
    }
    for members, width in expected.items():
        assert groups[members].name in {width.name, *width.called}


def test_what_stays_has_its_reason(found: Found) -> None:
    fixed = {layer.module: layer.reason for layer in found.discovery.fixed}
    patterns = found.architecture.fixed
    expected = {
        path: reason
        for path in fixed
        for pattern, reason in patterns.items()
        if fnmatchcase(path, pattern)
    }
    assert fixed.keys() == expected.keys()
    assert [path for path, reason in expected.items() if reason not in fixed[path]] == []
    assert [p for p in patterns if not any(fnmatchcase(path, p) for path in fixed)] == []


def test_no_layer_is_left_out(found: Found) -> None:
    spoken_of = {member.module for group in found.discovery.groups for member in group.members}
    spoken_of |= {layer.module for layer in found.discovery.fixed}
    assert spoken_of == {
        path for path, module in found.model.named_modules() if [*module.parameters(recurse=False)]
    }


def test_a_model_that_exists_is_as_good_as_what_makes_it_and_stays_as_it_is(found: Found) -> None:
    before = {name: value.clone() for name, value in found.model.state_dict().items()}
    assert discover(found.model, found.architecture.inputs) == found.discovery
    after = found.model.state_dict()
    assert before.keys() == after.keys()
    assert [name for name, value in after.items() if not torch.equal(value, before[name])] == []
