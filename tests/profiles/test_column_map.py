from pathlib import Path

import pytest

from profiles.errors import InputError
from profiles.import_files import Told, read_files

CSV = "Modell,QPS,gpu mem,p99,busy,threads\nbert,6000,1.5,2500,0.5,2\n"
MAP = """
model: Modell
throughput: {column: QPS, unit: 1/min}
memory_mb: {column: gpu mem, unit: GiB}
latency_p99_ms: {column: p99, unit: us}
utilization_percent: {column: busy, unit: fraction}
device_type: {value: Tesla T4}
parameter.threads: threads
"""


def read(tmp_path: Path, text: str, mapped: str):
    (tmp_path / "other.csv").write_text(text)
    (tmp_path / "map.yaml").write_text(mapped)
    return read_files([tmp_path / "other.csv"], Told(columns=tmp_path / "map.yaml"))


def test_columns_are_mapped_with_their_units(tmp_path: Path):
    """6000 a minute are 100 a second; 1.5 GiB are 1,610,612,736 bytes; 2500 us are 2.5 ms."""
    (m,) = read(tmp_path, CSV, MAP).measurements
    assert (m.model, m.device_type, m.throughput) == ("bert", "Tesla T4", 100)
    assert m.usage is not None
    assert m.usage.memory_hot_bytes == 1_610_612_736
    assert m.usage.utilization_percent == 50
    assert m.latency is not None
    assert m.latency.p99_ms == 2.5
    assert m.variant.parameters == (("threads", "2"),)


@pytest.mark.parametrize(
    ("mapped", "named"),
    [
        ("{speed: QPS}", "map.yaml: speed: unknown column. Known columns: "),
        ("{throughput: Qps}", "map.yaml: throughput: the table has no column 'Qps'. It has: Mod"),
        ("{memory_mb: {column: a, unit: MiBB}}", "memory_mb: unknown unit 'MiBB'. Known units: B,"),
        ("{model: {column: a, value: b}}", "map.yaml: model: give either column or value"),
        ("{model: [a]}", "map.yaml: model: expected a column, or"),
        ("[]", "map.yaml: expected a mapping"),
    ],
)
def test_a_map_that_is_wrong_is_named(tmp_path: Path, mapped: str, named: str):
    with pytest.raises(InputError, match=named):
        read(tmp_path, CSV, mapped)


def test_a_cell_that_is_no_number_is_named_by_the_plain_column(tmp_path: Path):
    with pytest.raises(InputError, match="line 2: throughput: 'many' is not a number"):
        read(tmp_path, CSV.replace("6000", "many"), MAP)
