"""Model repositories whose models use the pretended GPU."""

from __future__ import annotations

import shutil
from pathlib import Path

MODEL = Path(__file__).with_name("model")
CONFIG = """
name: "{name}"
backend: "python"
max_batch_size: 2
input {{ name: "INPUT" data_type: TYPE_FP32 dims: [ 4 ] }}
output {{ name: "OUTPUT" data_type: TYPE_FP32 dims: [ 4 ] }}
instance_group {{ count: 1 kind: KIND_CPU }}
"""


def add_model(
    repository: Path,
    name: str,
    *,
    cold_bytes: int,
    hot_bytes: int,
    utilization_percent: float = 50,
    memory_percent: float = 10,
    service_ms: float = 8,
    gpu: int | None = 0,
) -> None:
    """A copy of the test model with these needs; `model/1/model.py` says what they mean.

    Without `gpu` it uses the one that its server sees.
    """
    shutil.copytree(MODEL, repository / name)
    parameters = {
        **({} if gpu is None else {"gpu": gpu}),
        "cold_bytes": cold_bytes,
        "hot_bytes": hot_bytes,
        "utilization_percent": utilization_percent,
        "memory_percent": memory_percent,
        "service_ms": service_ms,
    }
    config = CONFIG.format(name=name) + "".join(
        f'parameters {{ key: "{key}" value {{ string_value: "{value}" }} }}\n'
        for key, value in parameters.items()
    )
    (repository / name / "config.pbtxt").write_text(config)
