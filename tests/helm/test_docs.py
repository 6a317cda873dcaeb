"""Every command of docs/kubernetes.md and docs/docker.md: run by the real program, or rendered.

Without a cluster, helm and kubectl get as far as its address; without NVIDIA's images and container
toolkit, the images are those that the tests build, and no GPU is asked for.
"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import kubernetes_validate
import pytest
import yaml
from helm.conftest import CHART, Tools
from helm.test_chart import NEWEST
from missing_part import missing
from product_images.build import Images

from analyzer.cli import cli
from analyzer.triton.options import DEFAULT_IMAGE
from placement import export
from placement.export.compose import TRITON_IMAGE
from placement.layout import Layout, PlacedDevice, Resident
from profiles.store import ProfileStore

ROOT = CHART.parents[1]
PAGES = {name: (ROOT / "docs" / name).read_text() for name in ("kubernetes.md", "docker.md")}
COMMANDS = [
    line
    for page in PAGES.values()
    for block in re.findall(r"^```\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    for line in block.replace("\\\n", "").splitlines()
]
NOWHERE = "127.0.0.1:9"  # no cluster is there


def those(*starts: str) -> list[str]:
    return [each for each in COMMANDS if each.startswith(starts)]


INSTALLS = those("helm install", "helm upgrade")
ON_A_CLUSTER = those("kubectl", "helm test")
OURS = those("model-placer ")
BUILDS, RUNS, PUSHES = those("docker build"), those("docker run"), those("docker push")


def test_each_command_is_tried_here():
    assert sorted(COMMANDS) == sorted(INSTALLS + ON_A_CLUSTER + OURS + BUILDS + RUNS + PUSHES)
    assert len(PUSHES) == 1  # to a registry of yours
    (pushed,) = (line.split()[-1] for line in PUSHES)
    assert any(f"-t {pushed} " in line for line in BUILDS)


def test_measured_and_served_is_one_triton_by_default():
    """Figures hold for the version that they were measured on."""
    assert TRITON_IMAGE == DEFAULT_IMAGE
    assert f"ARG TRITON_IMAGE={DEFAULT_IMAGE}\n" in (ROOT / "Dockerfile").read_text()
    named = set(re.findall(r"\S*/tritonserver:\S+", "\n".join(COMMANDS)))
    assert named == {f"TRITON_IMAGE={DEFAULT_IMAGE}"}


@pytest.mark.parametrize("line", INSTALLS)
def test_helm_renders_it(tools: Tools, line: str):
    words = [word for word in shlex.split(line)[2:] if word != "--reuse-values"]
    words[1] = str(CHART)
    if "--reuse-values" in line:  # what an upgrade has from before
        words += ["--set", "models.existingClaim=models"]
    assert "kind: Job" in tools.run("template", *words)


@pytest.mark.parametrize("line", ON_A_CLUSTER)
def test_the_program_takes_it_as_far_as_the_cluster(tools: Tools, line: str, tmp_path: Path):
    """A flag or a resource that it did not know would end it before."""
    program, *rest = shlex.split(line)
    if program == "kubectl":
        exported(tmp_path)
        command = [str(tools.kubectl), f"--server=http://{NOWHERE}", *rest]
    else:
        command = [str(tools.helm), *rest, f"--kube-apiserver=http://{NOWHERE}"]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=60, cwd=tmp_path
    )
    assert done.returncode != 0
    assert f"{NOWHERE}: connect: connection refused" in done.stderr or (
        f"The connection to the server {NOWHERE} was refused" in done.stderr
    ), done.stderr


def test_the_jobs_and_containers_that_are_waited_for_are_the_charts(tools: Tools):
    page = PAGES["kubernetes.md"]
    documents = []
    for shards in ({"count": 0}, {"count": 2}):
        text = tools.text({"models": {"existingClaim": "m"}, "shards": shards}, "placer")
        documents += [each for each in yaml.safe_load_all(text) if each]
    found = {each["metadata"]["name"]: each for each in documents if each["kind"] == "Job"}
    assert set(re.findall(r"job/([\w-]+)", page)) == found.keys()
    claims = [each for each in documents if each["kind"] == "PersistentVolumeClaim"]
    assert f"`{claims[0]['metadata']['name']}`" in page
    steps = {
        container["name"]
        for each in found.values()
        for key in ("initContainers", "containers")
        for container in each["spec"]["template"]["spec"].get(key, [])
    }
    named = set(re.findall(r"logs? of `(\w+)`", page)) | set(re.findall(r"logs .*?-c (\w+)", page))
    assert named
    assert named <= steps


def exported(folder: Path) -> Path:
    """What `export --format triton,kubernetes --copy` writes there."""
    devices = (
        PlacedDevice("t4/1", "Tesla T4", (Resident("file_type", "o"), Resident("echo", "o"))),
        PlacedDevice("t4/2", "Tesla T4", (Resident("file_type", "o"),)),
    )
    models = folder / "models"
    shutil.copytree(ROOT / "examples" / "model_repository" / "file_type", models / "file_type")
    shutil.copytree(models / "file_type", models / "echo")
    config = models / "echo" / "config.pbtxt"
    config.write_text(config.read_text().replace('name: "file_type"', 'name: "echo"', 1))
    export.export(Layout(devices), models, folder, ["triton", "kubernetes"], copy=True)
    return folder


@pytest.mark.parametrize("line", those("kubectl apply -k"))
def test_kustomize_builds_what_is_applied(tools: Tools, line: str, tmp_path: Path):
    folder = exported(tmp_path) / shlex.split(line)[-1]
    built = subprocess.run(
        [str(tools.kubectl), "kustomize", str(folder)], check=True, capture_output=True, text=True
    ).stdout
    documents = list(yaml.safe_load_all(built))
    kinds = sorted(each["kind"] for each in documents)
    assert kinds == ["Deployment", "Deployment", "Service", "Service"]
    for document in documents:
        for version in NEWEST:
            kubernetes_validate.validate(document, version, strict=True)
        if document["kind"] == "Deployment":  # the folder that it mounts is there
            (container,) = document["spec"]["template"]["spec"]["containers"]
            (models,) = (each for each in container["volumeMounts"] if each["name"] == "models")
            assert (tmp_path / models["subPath"] / "file_type" / "config.pbtxt").is_file()


@pytest.mark.parametrize("line", OURS)
def test_the_command_parses_it(line: str):
    name, *rest = shlex.split(line)[1:]
    command = cli.get_command(None, name)  # type: ignore[arg-type]
    assert command is not None
    command.make_context(name, rest)


@pytest.mark.docker
@pytest.mark.parametrize("line", BUILDS)
def test_docker_takes_the_build_and_the_dockerfile_has_its_target_and_arguments(line: str):
    """The build itself is the fixture `images`, with other base images. Here there are no files."""
    if shutil.which("docker") is None:
        missing("Docker's command is not installed")
    text = (ROOT / "Dockerfile").read_text()
    words = shlex.split(line)
    assert words[-1] == "."
    done = subprocess.run(
        [*words[:-1], "/nowhere"], capture_output=True, text=True, check=False, timeout=60
    )
    assert 'path "/nowhere" not found' in done.stderr, done.stderr
    for i, word in enumerate(words):
        if word == "--target":
            assert re.search(rf"^FROM .* AS {words[i + 1]}$", text, re.MULTILINE)
        if word == "--build-arg":
            assert f"\nARG {words[i + 1].partition('=')[0]}=" in text


@pytest.mark.docker
@pytest.mark.timeout(900)  # it may be the first that builds the images
@pytest.mark.parametrize("line", RUNS)
def test_docker_runs_it(
    line: str, images: Images, triton_image: str, example_repository: Path, tmp_path: Path
):
    """As it stands in the page, but for images and GPUs, and with less to measure."""
    model = "ocr_orientation"
    shutil.copytree(example_repository / model, tmp_path / "models" / model)
    line = re.sub(r" --gpus (all|device=0|first)", "", line)
    names = {"model-placer": images.command, "model-placer:server": images.server}
    line = re.sub(r" (model-placer\S*) profile", lambda it: f" {names[it[1]]} profile", line)
    line += " --gpus none --batch-sizes 1 --concurrency 1 --max-duration 1s"
    if "--launch-mode docker" in line:
        line += f" --triton-image {triton_image}"
    done = subprocess.run(
        ["sh", "-c", line], capture_output=True, text=True, check=False, timeout=120, cwd=tmp_path
    )
    assert done.returncode == 0, done.stdout + done.stderr
    with ProfileStore(tmp_path / "profiles.db", read_only=True) as store:
        (row,) = store.measurements()
    assert row.status == "ok", row.reason
