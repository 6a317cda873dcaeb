"""Names that mean something to a parser are taken as they stand, or refused, by real parsers."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import echo_model
import kubernetes_validate
import pytest
import yaml

from placement import export
from placement.export import nginx
from placement.export.nginx import Address
from placement.layout import Layout, PlacedDevice, Resident
from profiles.errors import InputError

NAMES = [
    *("a b", "a'b", 'a"b', "a$b", "$(id)", "${HOME}", "$HOME", "a;b", "#a", "a: b"),
    *(
        "{a}",
        "}",
        "a\\b",
        "\\",
        "a.b",
        "a*",
        "a|b",
        "^a$",
        "(?:a)",
        "ünï",
        "<script>",
        "&amp;",
        "%41",
    ),
    *("a,b", "`id`", "!!python", "a@b", "~", "null", "a\\nb", "--help", "yes", "1e3"),
]


def a_layout(models: Path, names: list[str], **device: object) -> Layout:
    for name in names:
        if not (models / name).exists():
            echo_model.write(models, name)
    residents = tuple(Resident(name, "o", rate=1.0) for name in names)
    return Layout((replace(PlacedDevice("d", "Xeon (2 cores)", residents), **device),))


@pytest.fixture
def written(tmp_path: Path) -> Path:
    layout = a_layout(tmp_path / "models", NAMES)
    formats = ("triton", "nginx", "compose", "kubernetes")
    export.export(layout, tmp_path / "models", tmp_path / "out", formats, copy=True)
    return tmp_path / "out"


def test_each_model_has_its_directory_and_none_leads_elsewhere(written: Path):
    (server,) = (path for path in (written / "triton").iterdir() if path.is_dir())
    there = {path.name for path in server.iterdir() if path.is_dir()}
    assert there == set(NAMES)


def test_nginx_takes_names_as_they_stand(written: Path, need: Callable[[str], str], tmp_path: Path):
    run = [need("nginx"), "-t", "-p", str(tmp_path), "-c", str(written / "nginx" / "nginx.conf")]
    done = subprocess.run(run, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    routes = (written / "nginx" / "model-placer.conf").read_text()
    patterns = re.findall(r'"~\^/v2/models/(.*)\(/\|\$\)" m\d+;', routes)
    assert len(patterns) == len(NAMES)
    for name, pattern in zip(sorted(NAMES), sorted(patterns, key=unescaped), strict=True):
        assert re.fullmatch(pattern.encode(), name.encode()), (name, pattern)


def unescaped(pattern: str) -> str:
    plain = re.sub(r"\\x(..)", lambda byte: chr(int(byte[1], 16)), pattern.replace("\\.", "."))
    return plain.encode("latin-1").decode()


def test_compose_and_kubernetes_start_triton_with_the_names(written: Path):
    wanted = [f"--load-model={name}" for name in sorted(NAMES)]
    (service,) = (
        s
        for s in yaml.safe_load((written / "compose" / "compose.yaml").read_text())[
            "services"
        ].values()
        if "command" in s
    )
    told = [word.replace("$$", "$") for word in service["command"]]  # as Compose reads it
    assert [word for word in told if word.startswith("--load-model=")] == wanted
    for file in (written / "kubernetes").rglob("*.yaml"):
        for document in yaml.safe_load_all(file.read_text()):
            if not document or document.get("kind") not in {"Deployment", "Service"}:
                continue
            kubernetes_validate.validate(
                document, kubernetes_validate.latest_version(), strict=True
            )
            if document["kind"] == "Deployment":
                (container,) = document["spec"]["template"]["spec"]["containers"]
                told = [word.replace("$$(", "$(") for word in container["args"]]
                assert [word for word in told if word.startswith("--load-model=")] == wanted


@pytest.mark.docker
def test_compose_itself_reads_the_names(written: Path, need: Callable[[str], str]):
    file = written / "compose" / "compose.yaml"
    command = [need("docker-compose"), "-f", str(file), "config"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    read = yaml.safe_load(done.stdout)
    (service,) = (s for s in read["services"].values() if s.get("command"))
    # `config` writes what can be read again: variables are out of the way by a second dollar.
    told = [word.replace("$$", "$") for word in service["command"]]
    assert told[-len(NAMES) :] == [f"--load-model={name}" for name in sorted(NAMES)]


@pytest.mark.parametrize("host", ["a b", "a;b", "a{", "$(id)", "a\nb", "a#b", '"', "ünï", "a/b"])
@pytest.mark.parametrize("kind", ["nginx", "kubernetes"])
def test_a_host_that_is_no_address_is_refused(tmp_path: Path, host: str, kind: str):
    """It would have ended nginx's directive, and begun another."""
    layout = a_layout(tmp_path / "models", ["m"], host=host)
    with pytest.raises(InputError, match="host"):
        export.export(layout, tmp_path / "models", tmp_path / "out", [kind])


@pytest.mark.parametrize(
    ("address", "fits"),
    [
        ("h:80", True),
        ("10.0.0.5:8000", True),
        ("[fe80::1]:8000", True),
        ("t4_1.example:1", True),
        ("h", False),
        ("h:", False),
        ("h:0", False),
        ("h:65535", False),  # gRPC is on the next port
        ("h:99999", False),
        ("h;include /etc/passwd:80", False),
        ("h:80;", False),
        ("user:secret@h:80", False),
        ("h\n:80", False),
    ],
)
def test_what_is_an_address(address: str, fits: bool):
    assert nginx.is_address(address) is fits


def test_five_hundred_servers_with_two_thousand_models_start(
    tmp_path: Path, need: Callable[[str], str]
):
    """Pools of 64 KiB held some 50 servers: "no memory in upstream zone http_all"."""
    for number in range(2000):
        echo_model.write(tmp_path / "models", f"m{number}")
    devices = tuple(
        PlacedDevice(
            f"d{number}",
            "Xeon (2 cores)",
            tuple(Resident(f"m{(4 * number + i) % 2000}", "o", rate=1.0) for i in range(5)),
        )
        for number in range(500)
    )
    everywhere = PlacedDevice("d500", "Xeon (2 cores)", (Resident("m0", "o", rate=1.0),))
    made = export.servers.servers(Layout((*devices, everywhere)), tmp_path / "models")
    addresses = {
        s.name: Address(f"10.0.{n // 250}.{n % 250 + 1}:80", f"10.0.{n // 250}.{n % 250 + 1}:81")
        for n, s in enumerate(made)
    }
    nginx.write(made, tmp_path / "nginx", addresses)
    run = [need("nginx"), "-t", "-p", str(tmp_path), "-c", str(tmp_path / "nginx" / "nginx.conf")]
    done = subprocess.run(run, check=False, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-500:]
