"""A Python that is fetched for the embedded Triton, from where users get theirs."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest
from missing_part import missing

from analyzer.triton import fetched_python
from analyzer.triton.pythons import Python
from profiles.errors import SurroundingsError

NO_INDEX = {
    "PIP_INDEX_URL": "http://127.0.0.1:9/simple",
    "PIP_EXTRA_INDEX_URL": "",
    "PIP_RETRIES": "0",
}


@pytest.fixture(scope="module")
def by_apt(tmp_path_factory: pytest.TempPathFactory) -> Python:
    """The Python of another release of the distribution; skips elsewhere."""
    try:
        found = fetched_python.fetch(tmp_path_factory.mktemp("python"))
    except SurroundingsError as error:
        missing(str(error))
    if found.pip_wheel is None:
        pytest.skip("uv fetched it: apt has no source of this distribution")
    return found


def test_apt_unpacks_a_python_with_its_library_that_makes_environments(
    by_apt: Python, tmp_path: Path
) -> None:
    """As `server install` does: an environment without pip, then pip from its wheel."""
    assert by_apt.version in {"3.11", "3.12"}
    root = Path(by_apt.executable).parents[2]
    assert by_apt.prefix == str(root / "usr")
    assert by_apt.library_directory is not None
    library = Path(by_apt.library_directory) / f"libpython{by_apt.version}.so.1.0"
    assert library.is_relative_to(root)
    assert library.is_file()
    environment = tmp_path / "env"
    subprocess.run([by_apt.executable, "-m", "venv", "--without-pip", environment], check=True)
    said = subprocess.run(
        [environment / "bin/python", f"{by_apt.pip_wheel}/pip", "--version"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert said.startswith("pip ")


def test_only_the_unpacked_python_is_left_of_what_apt_fetched(by_apt: Python) -> None:
    root = Path(by_apt.executable).parents[2]
    assert sorted(path.name for path in root.parent.iterdir()) == ["root", "sources.list"]


def test_without_apt_uv_fetches_one(
    by_apt: Python, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A real uv, from pip; its download, from GitHub else, is an archive that is made here."""
    prefix = Path(by_apt.prefix)
    build = tmp_path / "python"
    shutil.copytree(prefix / "bin", build / "bin")
    skip = shutil.ignore_patterns("sitecustomize.py")  # a link to the system's: uv refuses it
    shutil.copytree(prefix / "lib", build / "lib", symlinks=True, ignore=skip)
    patch = subprocess.run(
        [by_apt.executable, "-c", "import sys; print(sys.version_info.micro)"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    archive = tmp_path / f"cpython-{by_apt.version}.{patch}+20260101-install_only.tar.gz"
    with tarfile.open(archive, "w:gz", compresslevel=1) as file:
        file.add(build, "python")
    entry = {
        "name": "cpython",
        "arch": {"family": "x86_64", "variant": None},
        "os": "linux",
        "libc": "gnu",
        "major": 3,
        "minor": int(by_apt.version.partition(".")[2]),
        "patch": int(patch),
        "prerelease": "",
        "url": archive.as_uri(),
        "sha256": hashlib.sha256(archive.read_bytes()).hexdigest(),
        "variant": None,
        "build": "20260101",
    }
    (tmp_path / "downloads.json").write_text(
        json.dumps({f"cpython-{by_apt.version}.{patch}-linux-x86_64-gnu": entry})
    )
    monkeypatch.setenv("UV_PYTHON_DOWNLOADS_JSON_URL", (tmp_path / "downloads.json").as_uri())
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(fetched_python, "UV_VERSION", by_apt.version)
    said: list[str] = []
    try:
        found = fetched_python.fetch(tmp_path / "fetched", said.append)
    except SurroundingsError as error:
        missing(str(error))
    assert said == ["Fetching uv", f"Fetching Python {by_apt.version} by uv"]
    assert found.version == by_apt.version
    assert Path(found.prefix).is_relative_to(tmp_path / "fetched" / "uv")
    assert Path(found.library_directory or "").is_relative_to(tmp_path / "fetched" / "uv")


def test_where_nothing_can_be_fetched_each_source_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    for name, value in NO_INDEX.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SurroundingsError) as refusal:
        fetched_python.fetch(tmp_path)
    _, apt, uv = str(refusal.value).splitlines()
    assert apt.strip() == "apt: this is neither Debian nor Ubuntu, or it has no apt-get"
    assert uv.strip().startswith("uv: ")
    assert list(tmp_path.iterdir()) == []


def test_a_release_that_apt_has_no_source_of_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if shutil.which("apt-get") is None:
        pytest.skip("no apt here")
    release = tmp_path / "os-release"
    release.write_text('ID=derived\nID_LIKE="ubuntu debian"\nVERSION_CODENAME=nosuch\n')
    monkeypatch.setattr(fetched_python, "OS_RELEASE", release)
    for name, value in NO_INDEX.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SurroundingsError, match="apt: apt has no source of nosuch"):
        fetched_python.fetch(tmp_path / "fetched")
