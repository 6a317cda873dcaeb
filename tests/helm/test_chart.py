"""The chart, rendered by the real helm: valid, restricted, and the same as the command's files."""

from __future__ import annotations

import json
import re
import runpy
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from helm.conftest import CHART, NEEDED, Tools

from analyzer.cli import cli
from analyzer.measure.shard import Shard
from placement.export.kubernetes import CLAIM, deployment
from placement.export.servers import Server
from placement.layout import PlacedDevice

NEWEST = ("1.35", "1.36", "1.37")
GOLDEN = Path(__file__).with_name("default.yaml")
MATRIX: dict[str, dict[str, Any]] = {
    "default": NEEDED,
    "object-store": {
        "models": {
            "objectStore": {
                "uri": "s3://weights/triton",
                "secret": "s3",
                "env": [{"name": "RCLONE_S3_ENDPOINT", "value": "https://minio.example"}],
            }
        }
    },
    "claims made": {"models": {"create": {"enabled": True}}, "store": {"storageClass": "fast"}},
    "sub-paths": {
        "models": {"existingClaim": "all", "subPath": "triton"},
        "store": {"existingClaim": "all", "subPath": "placer"},
    },
    "mig": {**NEEDED, "gpu": {"resource": "nvidia.com/mig-1g.5gb"}, "runtimeClassName": "nvidia"},
    "cpu": {**NEEDED, "gpu": {"count": 0}, "tolerations": []},
    "shards": {
        **NEEDED,
        "shards": {"count": 3, "parallelism": 2},
        "kueue": {"queue": "gpus"},
        "nodeSelector": {"nvidia.com/gpu.product": "Tesla-T4"},
    },
    "serving": {
        **NEEDED,
        "serving": {"enabled": True, "tritonImage": "triton:mine"},
        "shards": {"count": 2},
    },
    "GPU types": {
        **NEEDED,
        "shards": {
            "count": 2,
            "withoutFailed": True,
            "gpuTypes": {
                "t4": {"product": "Tesla-T4"},
                "slice": {
                    "product": "NVIDIA-A100-SXM4-40GB",
                    "resource": "nvidia.com/mig-1g.5gb",
                },
            },
        },
        "nodeSelector": {"pool": "gpus"},
    },
    "all the rest": {
        **NEEDED,
        "image": {"repository": "r.example/placer", "digest": "sha256:" + "0" * 64},
        "imagePullSecrets": ["registry"],
        "serviceAccount": {"create": False, "name": "mine"},
        "affinity": {"podAntiAffinity": {}},
        "job": {
            "activeDeadlineSeconds": 3600,
            "podAnnotations": {"a.example/b": "c"},
            "podLabels": {"team": "vision"},
            "priorityClassName": "low",
        },
    },
}


def pods(documents: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        each["spec"] if each["kind"] == "Pod" else each["spec"]["template"]["spec"]
        for each in documents
        if each["kind"] in {"Pod", "Job"}
    ]


def containers(pod: dict[str, Any]) -> list[dict[str, Any]]:
    return [*pod.get("initContainers", []), *pod["containers"]]


def jobs(documents: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {each["metadata"]["name"]: each["spec"] for each in documents if each["kind"] == "Job"}


def config(documents: list[dict[str, Any]]) -> dict[str, Any]:
    (found,) = (each for each in documents if each["kind"] == "ConfigMap")
    read: dict[str, Any] = yaml.safe_load(found["data"]["model-placer.yaml"])
    return read


@pytest.fixture(params=MATRIX)
def rendered(request: pytest.FixtureRequest, tools: Tools) -> list[dict[str, Any]]:
    return tools.render(MATRIX[request.param])


@pytest.mark.parametrize("name", MATRIX)
def test_lint_has_nothing_to_say(tools: Tools, name: str):
    tools.values.write_text(yaml.safe_dump(MATRIX[name]))
    tools.run("lint", "--strict", str(CHART), "-f", str(tools.values))


def test_every_manifest_is_valid(rendered: list[dict[str, Any]]):
    for document in rendered:
        for version in NEWEST:
            kubernetes_validate.validate(document, version, strict=True)


def test_every_pod_meets_the_restricted_standard(rendered: list[dict[str, Any]]):
    """kubernetes.io/docs/concepts/security/pod-security-standards, row by row."""
    allowed = {"configMap", "emptyDir", "persistentVolumeClaim", "secret", "projected"}
    assert pods(rendered)
    for pod in pods(rendered):
        assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys()
        assert pod["securityContext"]["seccompProfile"]["type"] == "RuntimeDefault"
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] > 0
        assert pod["automountServiceAccountToken"] is False
        assert not {"shareProcessNamespace", "hostUsers"} & pod.keys()
        assert not {"sysctls", "seLinuxOptions", "windowsOptions"} & pod["securityContext"].keys()
        for volume in pod["volumes"]:
            assert volume.keys() - {"name"} <= allowed
        for container in containers(pod):
            context = container["securityContext"]
            assert context["allowPrivilegeEscalation"] is False
            assert context["capabilities"] == {"drop": ["ALL"]}
            assert context["readOnlyRootFilesystem"] is True
            assert not {"privileged", "procMount", "seLinuxOptions"} & context.keys()
            assert context.get("runAsUser", 1) > 0
            assert {"requests", "limits"} <= container["resources"].keys()
            assert not any("hostPort" in port for port in container.get("ports", []))


def test_every_container_sees_just_volumes_that_there_are(rendered: list[dict[str, Any]]):
    for pod in pods(rendered):
        names = {volume["name"] for volume in pod["volumes"]}
        for container in containers(pod):
            mounted = [mount["mountPath"] for mount in container["volumeMounts"]]
            assert {mount["name"] for mount in container["volumeMounts"]} <= names
            assert len(mounted) == len(set(mounted))


def test_the_command_takes_every_container_s_arguments(
    rendered: list[dict[str, Any]], tmp_path: Path
):
    """Each is parsed by the real command with the rendered file; what is missing is the models."""
    file = tmp_path / "model-placer.yaml"
    file.write_text(yaml.safe_dump(config(rendered)))
    for pod in pods(rendered):
        for container in containers(pod):
            if container["name"] == "fetch-models" or container.get("command"):
                continue
            arguments = [
                each.replace("/etc/model-placer/model-placer.yaml", str(file))
                .replace("$(JOB_COMPLETION_INDEX)", "0")
                .replace("/store", str(tmp_path / "store"))
                for each in container["args"]
            ]
            name, *rest = arguments
            command = cli.get_command(None, name)  # type: ignore[arg-type]
            assert command is not None
            command.make_context(name, rest)


def test_the_default_is_the_golden_file(tools: Tools):
    """To renew it: helm template demo helm/model-placer --set models.existingClaim=models"""
    assert tools.text(NEEDED) == GOLDEN.read_text()


def test_one_source_of_models_is_asked_for(tools: Tools):
    assert "set now: none" in tools.text({}, ok=False)
    both = {"models": {"existingClaim": "a", "hostPath": "/b"}}
    assert "models.existingClaim, models.hostPath." in tools.text(both, ok=False)


@pytest.mark.parametrize(
    "values",
    [
        {"shard": {"count": 2}},
        {"shards": {"count": -1}},
        {"gpu": {"count": 2}},
        {"models": {"objectStore": {"uri": "http://a/b"}}},
        {"models": {"hostPath": "relative"}},
        {"image": {"digest": "sha256:short"}},
        {"shards": {"count": 1, "gpuTypes": {"t4": {}}}},
        {"shards": {"count": 1, "gpuTypes": {"Tesla T4": {"product": "Tesla-T4"}}}},
    ],
)
def test_a_wrong_value_is_refused_by_the_schema(tools: Tools, values: dict[str, Any]):
    assert "schema" in tools.text({**NEEDED, **values}, ok=False)


def test_host_paths_are_mounted_and_said_to_be_refused_by_the_restricted_standard(tools: Tools):
    (pod, _) = pods(tools.render({"models": {"hostPath": "/srv/models"}}))
    (models,) = (volume for volume in pod["volumes"] if volume["name"] == "models")
    assert models["hostPath"] == {"path": "/srv/models", "type": "Directory"}
    notes = (CHART / "templates" / "NOTES.txt").read_text()
    assert "refuses models.hostPath" in notes


def test_shards_are_an_indexed_job_and_the_last_step_takes_what_they_write(tools: Tools):
    documents = tools.render(MATRIX["shards"])
    measure, place = (
        jobs(documents)["demo-model-placer-1"],
        jobs(documents)["demo-model-placer-1-place"],
    )
    assert measure["completionMode"] == "Indexed"
    assert (measure["completions"], measure["parallelism"]) == (3, 2)
    assert measure["backoffLimitPerIndex"] == 2
    (profile,) = measure["template"]["spec"]["containers"]
    assert profile["resources"]["limits"]["nvidia.com/gpu"] == 1
    given = dict(each.lstrip("-").split("=", 1) for each in profile["args"][1:])
    merge = place["template"]["spec"]["initContainers"][0]["args"]
    for index in range(3):
        at = {
            key: text.replace("$(JOB_COMPLETION_INDEX)", str(index)) for key, text in given.items()
        }
        assert at["shard"] == f"{index}/3"
        Shard(index, 3)
        assert at["store"] in merge
        assert f"--wait-for={at['done']}" in merge
    for container in containers(place["template"]["spec"]):  # it needs no GPU, and waits for hours
        assert "nvidia.com/gpu" not in container["resources"]["limits"]


def test_each_gpu_type_has_a_job_on_its_nodes_and_all_are_merged(tools: Tools):
    found = jobs(tools.render(MATRIX["GPU types"]))
    assert list(found) == [f"demo-model-placer-1-{each}" for each in ("slice", "t4", "place")]
    asked = {}
    for key in ("slice", "t4"):
        pod = found[f"demo-model-placer-1-{key}"]["template"]["spec"]
        (profile,) = pod["containers"]
        (resource,) = profile["resources"]["limits"].keys() - {"memory"}
        asked[pod["nodeSelector"]["nvidia.com/gpu.product"]] = resource
        assert pod["nodeSelector"]["pool"] == "gpus"
        (store,) = (each for each in profile["args"] if each.startswith("--store="))
        merge = found["demo-model-placer-1-place"]["template"]["spec"]["initContainers"][0]["args"]
        for index in "01":
            assert store.split("=")[1].replace("$(JOB_COMPLETION_INDEX)", index) in merge
    assert asked == {
        "Tesla-T4": "nvidia.com/gpu",
        "NVIDIA-A100-SXM4-40GB": "nvidia.com/mig-1g.5gb",
    }
    stores = [each for each in merge if each.endswith(".db") and not each.startswith("--")]
    assert len(stores) == len(set(stores)) == 4
    alone = {**NEEDED, "shards": {"gpuTypes": {"t4": {"product": "Tesla-T4"}}}}
    assert "shards.gpuTypes needs shards.count" in tools.text(alone, ok=False)


def test_the_last_step_waits_for_as_many_tries_as_the_job_makes(tools: Tools):
    for without_failed in (False, True):
        shards = {"count": 2, "backoffLimitPerIndex": 4, "withoutFailed": without_failed}
        found = jobs(tools.render({**NEEDED, "shards": shards}))
        assert found["demo-model-placer-1"]["backoffLimitPerIndex"] == 4
        merge = found["demo-model-placer-1-place"]["template"]["spec"]["initContainers"][0]["args"]
        assert "--tries=5" in merge
        assert ("--without-failed" in merge) is without_failed


@pytest.mark.parametrize("shards", [0, 2])
def test_the_serving_claim_is_mounted_in_the_last_step_alone(tools: Tools, shards: int):
    """Shards on other nodes could not even start on a claim that is ReadWriteOnce."""
    values = {**NEEDED, "serving": {"enabled": True}, "shards": {"count": shards}}
    mounting = [
        container["name"]
        for pod in pods(tools.render(values))
        for container in containers(pod)
        if any(mount["name"] == "serving" for mount in container["volumeMounts"])
    ]
    assert mounting == ["export"]


def test_an_eviction_is_no_failure_and_a_no_is_not_asked_again(tools: Tools):
    (job,) = jobs(tools.render()).values()
    ignored, failed = job["podFailurePolicy"]["rules"]
    assert (ignored["action"], ignored["onPodConditions"][0]["type"]) == (
        "Ignore",
        "DisruptionTarget",
    )
    names = {each["name"] for each in containers(job["template"]["spec"])}
    assert failed["onExitCodes"]["containerName"] in names
    assert failed["onExitCodes"]["values"] == [1, 2]  # nothing fits; bad input


def test_kueue_queues_the_job_that_measures_and_it_alone(tools: Tools):
    documents = [each for each in tools.render(MATRIX["shards"]) if each["kind"] == "Job"]
    queued = {
        each["metadata"]["name"]: each["metadata"]["labels"].get("kueue.x-k8s.io/queue-name")
        for each in documents
    }
    assert queued == {"demo-model-placer-1": "gpus", "demo-model-placer-1-place": None}
    assert documents[0]["spec"]["suspend"] is True


def test_models_of_an_object_store_are_copied_before_the_start(tools: Tools):
    (pod, _) = pods(tools.render(MATRIX["object-store"]))
    fetch = pod["initContainers"][0]
    assert fetch["args"][:3] == ["copy", ":s3,env_auth:weights/triton", "/models"]
    assert fetch["envFrom"] == [{"secretRef": {"name": "s3"}}]


def test_what_is_exported_lies_where_the_exported_manifests_mount_it(tools: Tools):
    documents = tools.render(MATRIX["serving"])
    export = config(documents)["export"]
    assert export["copy"] is True
    assert export["output"] == "/serving"
    assert "triton" in export["format"]
    pod = jobs(documents)["demo-model-placer-1-place"]["template"]["spec"]
    (serving,) = (volume for volume in pod["volumes"] if volume["name"] == "serving")
    assert serving["persistentVolumeClaim"]["claimName"] == CLAIM
    server = Server("t4-1", (PlacedDevice("t4/1", "Tesla T4", ()),), "gpu", None, ("0",), 8000)
    (triton,) = deployment(server, "triton")["spec"]["template"]["spec"]["containers"]
    assert triton["volumeMounts"][0]["subPath"] == "triton/t4-1"


@pytest.mark.parametrize("name", ["default", "shards", "GPU types"])
def test_the_notes_name_the_jobs_and_containers_that_there_are(tools: Tools, name: str):
    found = jobs(tools.render(MATRIX[name]))
    said = tools.run("install", "demo", str(CHART), "--dry-run=client", "-f", str(tools.values))
    notes = said.partition("NOTES:")[2]
    assert set(re.findall(r"job/([a-z0-9-]+)", notes)) == found.keys()
    for job, container in re.findall(r"logs --follow job/(\S+) -c (\S+)", notes):
        spec = found[job]["template"]["spec"]
        assert container in {each["name"] for each in containers(spec)}


def test_a_revision_has_jobs_and_marks_of_its_own(tools: Tools):
    """Jobs cannot be changed; another sweep does not take an earlier one's shards for its own."""
    first = tools.text(MATRIX["shards"])
    other = {**MATRIX["shards"], "config": {"profile": {"batch_sizes": [8]}}}
    marks = [
        {line.strip() for line in text.splitlines() if "--wait-for" in line}
        for text in (first, tools.text(other))
    ]
    assert len(marks[0]) == 3
    assert not marks[0] & marks[1]


def test_the_schema_knows_every_value():
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    schema = json.loads((CHART / "values.schema.json").read_text())
    assert schema["properties"].keys() - {"global"} == values.keys()


def test_the_readme_is_that_of_the_values():
    """To renew it: python helm/readme.py"""
    made = runpy.run_path(str(CHART.parent / "readme.py"))["readme"]()
    assert made == (CHART / "README.md").read_text()
    rows = [line.split("|") for line in made.splitlines() if line.startswith("| `")]
    assert len(rows) > 50
    assert [row[1] for row in rows if not row[3].strip()] == []
