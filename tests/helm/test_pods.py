"""The chart's own pods, run as containers on the local engine as a kubelet would run them.

Images, arguments, environment, users, mounts and restrictions are what the real helm renders; only
the volumes are folders, the resources are left out (two cores are not four), and one container of a
pod is started after the other here.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from helm.conftest import Tools
from product_images.build import Images

from profiles.measurement import Measurement
from profiles.store import ProfileStore

pytestmark = [pytest.mark.docker, pytest.mark.timeout(900)]  # the first test builds the images

FILE_MODELS = ["file_type", "ocr_orientation"]
SWEEP = {"batch_sizes": [1], "concurrency": [1, 2], "max_duration": "1s", "models": FILE_MODELS}


@dataclass(frozen=True)
class Node:
    """Where the pods of a rendered chart run."""

    image: str
    documents: list[dict[str, Any]]
    folders: dict[str, Path]  # of the volumes; those not named are made in memory

    def pod(self, job: str) -> dict[str, Any]:
        (found,) = (
            each["spec"]["template"]["spec"] if each["kind"] == "Job" else each["spec"]
            for each in self.documents
            if each["kind"] in {"Job", "Pod"} and each["metadata"]["name"] == job
        )
        pod: dict[str, Any] = found
        return pod

    def command(
        self, pod: dict[str, Any], container: dict[str, Any], name: str, index: int
    ) -> list[str]:
        """`docker run` of one container, as index `index` of an Indexed Job."""
        context = pod["securityContext"]
        command = [
            *("docker", "run", f"--name={name}", "--rm", "--network=none"),
            f"--user={context['runAsUser']}:{context['runAsGroup']}",
        ]
        own = container["securityContext"]
        assert own["readOnlyRootFilesystem"]
        assert not own["allowPrivilegeEscalation"]
        command += ["--read-only", "--security-opt=no-new-privileges"]
        command += [f"--cap-drop={each}" for each in own["capabilities"]["drop"]]
        command += [f"--env={each['name']}={each['value']}" for each in container["env"]]
        for mount in container["volumeMounts"]:
            path, folder = mount["mountPath"], self.folders.get(mount["name"])
            if path == "/dev/shm":
                command.append("--shm-size=256m")
            elif folder is None:
                command.append(f"--tmpfs={path}")
            else:
                folder = folder / mount.get("subPath", "")
                mode = ":ro" if mount.get("readOnly") else ""
                command.append(f"--volume={folder}:{path}{mode}")
        if container.get("command"):
            command.append(f"--entrypoint={container['command'][0]}")
        arguments = [
            each.replace("$(JOB_COMPLETION_INDEX)", str(index)) for each in container["args"]
        ]
        return [*command, self.image, *arguments]

    def start(self, job: str, index: int = 0, step: str = "") -> subprocess.Popen[str]:
        """One container of the Job's pod: the only one, or the one of the name."""
        pod = self.pod(job)
        every = [*pod.get("initContainers", []), *pod["containers"]]
        (container,) = (each for each in every if not step or each["name"] == step)
        return subprocess.Popen(
            self.command(pod, container, f"{job}-{index}-{container['name']}", index),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, job: str) -> str:
        """The pod's containers, one after the other; what they said."""
        pod = self.pod(job)
        said = ""
        for container in [*pod.get("initContainers", []), *pod["containers"]]:
            process = self.start(job, step=container["name"])
            words, _ = process.communicate(timeout=240)
            assert process.returncode == 0, words
            said += words
        return said


@pytest.fixture
def folders(example_repository: Path, tmp_path: Path) -> dict[str, Path]:
    found = {"models": example_repository}
    for name in ("config", "store", "serving"):
        found[name] = tmp_path / name
        found[name].mkdir()
        found[name].chmod(0o777)  # as a volume is that belongs to the pod's fsGroup
    return found


def a_node(
    tools: Tools, images: Images, folders: dict[str, Path], values: dict[str, Any], name: str
) -> Node:
    given = {"models": {"existingClaim": "models"}, "gpu": {"count": 0}, **values}
    documents = [each for each in yaml.safe_load_all(tools.text(given, name)) if each]
    (config,) = (each for each in documents if each["kind"] == "ConfigMap")
    for key, text in config["data"].items():
        (folders["config"] / key).write_text(text)
    return Node(images.server, documents, folders)


@pytest.fixture
def release() -> str:
    return f"p{os.getpid()}-model-placer"


def rows(path: Path, copy: Path) -> list[Measurement]:
    copy.write_bytes(path.read_bytes())
    with ProfileStore(copy, read_only=True) as store:
        return list(store.history())


def test_the_job_profiles_places_and_exports_and_its_test_prints_the_layout(
    tools: Tools, images: Images, folders: dict[str, Path], release: str
):
    """Read-only root, no capabilities, no network: the Triton inside measures a real model."""
    profile = {**SWEEP, "models": ["ocr_orientation"], "concurrency": [1]}
    values = {"config": {"profile": profile}, "serving": {"enabled": True}}
    node = a_node(tools, images, folders, values, release)
    node.run(f"{release}-1")
    (row,) = rows(folders["store"] / "profiles.db", folders["config"] / "copy.db")
    assert row.status == "ok", row.reason
    assert row.throughput > 0
    (server,) = (each for each in (folders["serving"] / "triton").iterdir() if each.is_dir())
    assert (server / "ocr_orientation" / "config.pbtxt").is_file()
    assert (folders["serving"] / "kubernetes" / "kustomization.yaml").is_file()
    said = node.run(f"{release}-layout")  # what `helm test --logs` starts
    assert said.count("ocr_orientation") > 1
    assert (folders["store"] / "layout.yaml").read_text() in said


def same_point(row: Measurement) -> Measurement:
    """A row without what differs from one run to the next: its figures, and when it was."""
    return Measurement(
        row.variant, row.load, row.device_type, row.environment,
        status=row.status, model_digest=row.model_digest,
    )  # fmt: skip


@pytest.fixture
def one_run(
    tools: Tools, images: Images, folders: dict[str, Path], release: str, tmp_path: Path
) -> Iterator[subprocess.Popen[str]]:
    """The same sweep by a Job without shards, into a store of its own."""
    own = folders | {"store": tmp_path / "one", "config": tmp_path / "one-config"}
    for name in ("store", "config"):
        own[name].mkdir()
        own[name].chmod(0o777)
    node = a_node(tools, images, own, {"config": {"profile": SWEEP}}, f"{release}-one")
    process = node.start(f"{release}-one-1", step="profile")
    yield process
    process.kill()


def test_shards_side_by_side_with_one_killed_and_retried_give_what_one_run_gives(
    tools: Tools,
    images: Images,
    folders: dict[str, Path],
    release: str,
    tmp_path: Path,
    request: pytest.FixtureRequest,
):
    """Index 0 is killed after its first point; the last step has waited for it all along.

    The merged store has each row of the shards' stores unchanged, and row by row the points of one
    run over all models: figures apart, which no two runs have in common.
    """
    values = {"config": {"profile": SWEEP}, "shards": {"count": 2}, "serving": {"enabled": True}}
    node = a_node(tools, images, folders, values, release)
    job = f"{release}-1"
    first, second = node.start(job, 0), node.start(job, 1)
    merging = node.start(f"{job}-place", step="merge")
    assert first.stdout is not None
    said: list[str] = []
    for line in first.stdout:
        said.append(line)
        if line.startswith("[1/2]"):
            break
    subprocess.run(["docker", "kill", f"{job}-0-profile"], check=True, capture_output=True)
    assert first.wait(60) == 137, said
    first.stdout.close()
    assert merging.poll() is None
    again = node.start(job, 0)  # what the Job's controller does
    for process in (again, second, merging):
        words, _ = process.communicate(timeout=240)
        assert process.returncode == 0, words
    place = node.pod(f"{job}-place")
    for step in ("place", "export"):
        process = node.start(f"{job}-place", step=step)
        words, _ = process.communicate(timeout=120)
        assert process.returncode == 0, words
    assert len(place["containers"]) == 1
    for model in FILE_MODELS:
        assert model in (folders["store"] / "layout.yaml").read_text()
        assert list((folders["serving"] / "triton").glob(f"*/{model}/config.pbtxt"))

    merged = rows(folders["store"] / "profiles.db", tmp_path / "merged.db")
    parts = [
        rows(folders["store"] / "shards" / f"{index}-of-2.db", tmp_path / f"{index}.db")
        for index in range(2)
    ]
    assert [len(part) for part in parts] == [2, 2]  # nothing was measured twice
    assert {repr(row) for row in merged} == {repr(row) for part in parts for row in part}
    one: subprocess.Popen[str] = request.getfixturevalue("one_run")
    words, _ = one.communicate(timeout=240)
    assert one.returncode == 0, words
    alone = rows(tmp_path / "one" / "profiles.db", tmp_path / "alone.db")
    ours, theirs = (sorted((same_point(row) for row in each), key=repr) for each in (merged, alone))
    assert ours == theirs
    assert len(ours) == 4
