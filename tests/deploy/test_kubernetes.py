"""The Kubernetes manifests: valid to the published schemas, locked down, true to the exit codes."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from widthwise.objectives.errors import ModelError
from widthwise.search.errors import (
    Drained,
    ExitCode,
    FingerprintMismatch,
    NothingFeasible,
    SpecError,
    TooManyFailures,
)
from widthwise.search.spec.spec import load_spec
from widthwise.storage.errors import SchemaMismatch, StorageUnreachable, StudyMismatch

from .compose import ROOT
from .verbs import default_grace, parse_command_line

FOLDER = ROOT / "deploy" / "kubernetes"
# What each manifest says it needs, and the newest schema that the validator brings.
OLDEST, NEWEST = "1.29", kubernetes_validate.latest_version()

Manifest = dict[str, Any]


def manifest(name: str) -> Manifest:
    (document,) = yaml.safe_load_all((FOLDER / name).read_text(encoding="utf-8"))
    return dict(document)


def apply_patch(base: Manifest, operations: list[dict[str, Any]]) -> Manifest:
    """A manifest with JSON Patch's `add` operations applied (RFC 6902), as Kustomize does."""
    result: Manifest = json.loads(json.dumps(base))  # what YAML's anchors share comes apart
    for operation in operations:
        assert operation["op"] == "add"
        keys = [
            part.replace("~1", "/").replace("~0", "~") for part in operation["path"].split("/")[1:]
        ]
        target: Any = result
        for key in keys[:-1]:
            target = target[int(key)] if isinstance(target, list) else target[key]
        assert isinstance(target, dict)
        target[keys[-1]] = operation["value"]
    return result


def gpu_job() -> Manifest:
    (patch,) = manifest("gpu/kustomization.yaml")["patches"]
    assert patch["target"] == {"kind": "Job", "name": JOB["metadata"]["name"]}
    return apply_patch(JOB, yaml.safe_load(patch["patch"]))


JOB = manifest("base/job.yaml")
POD = JOB["spec"]["template"]["spec"]
CONTAINERS = [*POD["initContainers"], *POD["containers"]]
MANIFESTS = {
    "job": JOB,
    "job with GPUs": gpu_job(),
    "checkpoints": manifest("base/checkpoints.yaml"),
    "secret": manifest("secret.example.yaml"),
}


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
@pytest.mark.parametrize("name", MANIFESTS)
def test_a_manifest_is_valid_to_the_published_schema(name: str, version: str) -> None:
    kubernetes_validate.validate(MANIFESTS[name], version, strict=True)


def test_the_validator_finds_a_wrong_word() -> None:
    wrong = apply_patch(JOB, [{"op": "add", "path": "/spec/paralelism", "value": 4}])
    with pytest.raises(kubernetes_validate.ValidationError, match="paralelism"):
        kubernetes_validate.validate(wrong, NEWEST, strict=True)


def test_the_kustomizations_name_files_that_are_there() -> None:
    for name in ("base", "gpu"):
        here = manifest(f"{name}/kustomization.yaml")
        files = [file for item in here.get("configMapGenerator", []) for file in item["files"]]
        for other in [*here["resources"], *files]:
            assert (FOLDER / name / other).exists(), other
    assert manifest("gpu/kustomization.yaml")["resources"] == ["../base"]


def test_an_example_secret_is_no_secret_and_goes_nowhere() -> None:
    assert MANIFESTS["secret"]["stringData"] == {"password": "PUT-THE-PASSWORD-HERE"}
    resources = [
        other
        for name in ("base", "gpu")
        for other in manifest(f"{name}/kustomization.yaml")["resources"]
    ]
    assert not any("secret" in other for other in resources)


def test_what_the_pod_mounts_is_what_the_manifests_make() -> None:
    base = manifest("base/kustomization.yaml")
    (generated,) = base["configMapGenerator"]
    volumes = {volume["name"]: volume for volume in POD["volumes"]}
    assert volumes["study"]["configMap"]["name"] == generated["name"]
    secret, claim = MANIFESTS["secret"], MANIFESTS["checkpoints"]
    assert volumes["password"]["secret"]["secretName"] == secret["metadata"]["name"]
    claimed = volumes["checkpoints"]["persistentVolumeClaim"]["claimName"]
    assert claimed == claim["metadata"]["name"]
    (image,) = base["images"]
    for container in CONTAINERS:
        assert container["image"] == image["name"]
        assert {mount["name"] for mount in container["volumeMounts"]} == set(volumes)


def test_the_commands_exist_and_speak_of_the_study_that_is_shipped() -> None:
    options = {
        container["name"]: parse_command_line(["widthwise", *container["args"]])
        for container in CONTAINERS
    }
    assert list(options) == ["migrate", "submit", "worker"]
    spec = FOLDER / "base" / str(options["submit"]["spec"])
    assert options["worker"]["name"] == load_spec(spec).name
    assert tomllib.loads(spec.read_text(encoding="utf-8"))["study"]["name"] == "digits"


def test_the_password_comes_from_a_file_and_is_in_no_variable() -> None:
    for container in CONTAINERS:
        given = {value["name"]: value["value"] for value in container["env"]}
        mounts = {value["name"]: value["mountPath"] for value in container["volumeMounts"]}
        assert given["WIDTHWISE_STORAGE_PASSWORD_FILE"] == f"{mounts['password']}/password"
        assert ":" not in given["WIDTHWISE_STORAGE"].removeprefix("postgresql://").split("@")[0]
        assert given["WIDTHWISE_CHECKPOINTS"] == mounts["checkpoints"]


def test_pods_may_do_little() -> None:
    """What the Pod Security Standard "restricted" asks for, and no root file system to write to."""
    assert POD["securityContext"]["runAsNonRoot"]
    assert POD["securityContext"]["runAsUser"] > 0
    assert POD["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not POD["automountServiceAccountToken"]
    for container in CONTAINERS:
        context = container["securityContext"]
        assert not context["allowPrivilegeEscalation"]
        assert context["readOnlyRootFilesystem"]
        assert context["capabilities"] == {"drop": ["ALL"]}
        limits, requests = (container["resources"][kind] for kind in ("limits", "requests"))
        assert {*requests} <= {*limits} == {"cpu", "memory", "ephemeral-storage"}
        # A worker's own threads, as many as it starts by itself, have a CPU each.
        threads = parse_command_line(["widthwise", "worker", "digits"])["threads"]
        assert int(limits["cpu"]) >= threads


def test_a_stop_leaves_time_to_drain() -> None:
    assert POD["terminationGracePeriodSeconds"] >= default_grace() + 10


def test_each_worker_has_a_gpu_where_asked_and_nothing_else_changes() -> None:
    with_gpu = gpu_job()["spec"]["template"]["spec"]
    limits = [
        container["resources"]["limits"]
        for container in [*with_gpu["initContainers"], *with_gpu["containers"]]
    ]
    assert ["nvidia.com/gpu" in item for item in limits] == [False, False, True]
    assert all("nvidia.com/gpu" not in item["resources"]["limits"] for item in CONTAINERS)


# --- what the Job makes of the end of a pod -------------------------------------------------------


def action_on(code: int, *, disrupted: bool = False) -> str:
    """What Kubernetes does about a failed pod: the first rule that fits, else it is counted."""
    for rule in JOB["spec"]["podFailurePolicy"]["rules"]:
        conditions = rule.get("onPodConditions", [])
        if disrupted and {"type": "DisruptionTarget", "status": "True"} in conditions:
            return str(rule["action"])
        codes = rule.get("onExitCodes", {"values": [], "operator": "In"})
        assert codes["operator"] == "In"
        assert "containerName" not in codes  # the init containers' codes count as well
        if code in codes["values"]:
            return str(rule["action"])
    return "Count"


@pytest.mark.parametrize(
    ("code", "action"),
    [
        pytest.param(Drained.exit_code, "Ignore", id="drained"),
        pytest.param(FingerprintMismatch.exit_code, "FailJob", id="other code"),
        pytest.param(SchemaMismatch.exit_code, "FailJob", id="other tables"),
        pytest.param(StudyMismatch.exit_code, "FailJob", id="other spec"),
        pytest.param(SpecError.exit_code, "FailJob", id="wrong spec"),
        pytest.param(ModelError.exit_code, "FailJob", id="wrong model"),
        pytest.param(NothingFeasible.exit_code, "FailJob", id="nothing feasible"),
        pytest.param(TooManyFailures.exit_code, "FailIndex", id="failures in a row"),
        pytest.param(StorageUnreachable.exit_code, "Count", id="no database"),
        pytest.param(ExitCode.BUG, "Count", id="a bug"),
        pytest.param(137, "Count", id="out of memory"),
    ],
)
def test_a_job_understands_the_exit_codes(code: int, action: str) -> None:
    assert action_on(code) == action


@pytest.mark.parametrize("code", [137, 143, 5, 1])
def test_a_disruption_charges_nobody(code: int) -> None:
    assert action_on(code, disrupted=True) == "Ignore"


def test_the_job_keeps_the_rules_that_a_schema_does_not_know() -> None:
    """What the API server checks beyond the schema, from the API's reference."""
    spec = JOB["spec"]
    rules = spec["podFailurePolicy"]["rules"]
    assert len(rules) <= 20
    assert POD["restartPolicy"] == "Never"
    assert spec["podReplacementPolicy"] == "Failed"
    # FailIndex asks for both.
    assert spec["completionMode"] == "Indexed"
    assert spec["backoffLimitPerIndex"] >= 0
    for rule in rules:
        assert ("onExitCodes" in rule) != ("onPodConditions" in rule)
        values = rule.get("onExitCodes", {"values": [1]})["values"]
        assert values == sorted(set(values))
        assert 0 not in values


def test_there_is_no_other_manifest() -> None:
    document = {str(path.relative_to(FOLDER)) for path in Path(FOLDER).rglob("*.yaml")}
    assert document == {
        "base/kustomization.yaml",
        "base/job.yaml",
        "base/checkpoints.yaml",
        "gpu/kustomization.yaml",
        "secret.example.yaml",
    }
