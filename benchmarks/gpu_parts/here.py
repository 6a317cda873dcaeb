"""What the check runs on: a real GPU, or the pretended NVML; and the models that it measures."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from analyzer.load.steady_state import SteadyStateRule
from analyzer.measure.grid import Sweep
from analyzer.measure.options import Options

ROOT = Path(__file__).parents[2]
MODEL = Path(__file__).with_name("model") / "1" / "model.py"
LOAD = Path(__file__).with_name("load.py")
INPUTS = {  # by network and size: data type and dims, without the batch
    ("resnet50", "full"): ("TYPE_FP32", "3, 224, 224"),
    ("resnet50", "small"): ("TYPE_FP32", "3, 32, 32"),
    ("transformer", "full"): ("TYPE_INT64", "128"),
    ("transformer", "small"): ("TYPE_INT64", "16"),
    ("segmentation", "full"): ("TYPE_FP32", "1, 512, 512"),
    ("segmentation", "small"): ("TYPE_FP32", "1, 32, 32"),
}
CONFIG = """
name: "{name}"
backend: "python"
max_batch_size: 8
input {{ name: "INPUT" data_type: {kind} dims: [ {dims} ] }}
output {{ name: "OUTPUT" data_type: TYPE_FP32 dims: [ 1 ] }}
instance_group {{ count: 1 kind: {instance_kind} }}
"""


@dataclass(frozen=True)
class Here:
    """This machine, and how long measurements may take on it."""

    pretended: bool
    packages: str  # where PyTorch is; empty without it
    folder: Path  # of this part's models and stores
    gpu: str = "0"

    @property
    def size(self) -> str:
        """Of the networks."""
        return "small" if self.pretended else "full"

    @property
    def seconds(self) -> float:
        """Of one measurement, at most: utilization comes in windows, of which it takes several."""
        return 1.5 if self.pretended else 4.0

    @property
    def together_s(self) -> float:
        """Of models that run side by side."""
        return 1.0 if self.pretended else 4.0

    def fleet(self) -> object:
        """The pretended fleet; its module is with the tests."""
        sys.path.insert(0, str(ROOT / "tests"))
        from pretended_nvml.fleet import Fleet

        return Fleet(ctypes.CDLL(os.environ["PRETENDED_NVML_LIBRARY"]))

    def add_model(
        self, repository: Path, name: str, network: str, told: Path | None = None, fault: str = ""
    ) -> None:
        """A model of the network in the repository."""
        directory = repository / name / "1"
        directory.mkdir(parents=True)
        (directory / "model.py").write_text(MODEL.read_text(encoding="utf-8"), encoding="utf-8")
        kind, dims = INPUTS[network, self.size]
        text = CONFIG.format(
            name=name,
            kind=kind,
            dims=dims,
            instance_kind="KIND_CPU" if self.pretended else "KIND_GPU",
        )
        parameters = {
            "network": network,
            "size": self.size,
            "packages": self.packages,
            "told": "" if told is None else str(told),
            "fault": fault,
        }
        text += "".join(
            f'parameters {{ key: "{key}" value {{ string_value: "{value}" }} }}\n'
            for key, value in parameters.items()
        )
        (repository / name / "config.pbtxt").write_text(text, encoding="utf-8")

    def options(self, repository: Path, store: Path, sweep: Sweep, **others: object) -> Options:
        """Of a `profile` on the GPU."""
        rule = SteadyStateRule(relative_half_width=0.05, max_duration_s=self.seconds)
        return Options(
            model_repository=repository,
            store=store,
            sweep=sweep,
            gpus=self.gpu,
            **{"rule": rule, **others},  # type: ignore[arg-type]
        )

    @contextmanager
    def load(self, *arguments: object) -> Iterator[subprocess.Popen[str]]:
        """A process that uses the GPU as load.py says; it ends with the block."""
        command = [sys.executable, str(LOAD), *map(str, arguments)]
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        try:
            yield process
        finally:
            process.stdin.close()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            process.stdout.close()


def model_placer(*arguments: object) -> subprocess.CompletedProcess[str]:
    """The command, in a process of its own."""
    command: Sequence[str] = [sys.executable, "-m", "analyzer.entry", *map(str, arguments)]
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        command,
        check=False,
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "PYTHONPATH": path},
    )
