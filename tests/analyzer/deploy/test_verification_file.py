"""What `verify` found, written and read again."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from analyzer.deploy.judge import Check
from analyzer.deploy.ramp import Headroom
from analyzer.deploy.verification_file import VerificationRecord, load, save
from analyzer.deploy.verify import Verification
from profiles.errors import InputError

SEEN = Verification(
    (
        Check("gpu-1", "bert", "throughput", 100.0, 80.0, "infer/s", False, "slow"),
        Check("gpu-1", None, "memory", None, 3e9, "bytes", None),
    ),
    ("a note",),
    Headroom(1.5, 2.0, (Check("gpu-1", "bert", "latency", 10.0, 12.0, "ms p99", False),)),
)
RECORD = VerificationRecord("layout.yaml", 30.0, 0.1, SEEN, "2026-11-27T06:00:00+00:00")


def test_a_record_is_read_as_it_was_written(tmp_path: Path):
    save(RECORD, tmp_path / "v.yaml")
    assert load(tmp_path / "v.yaml") == RECORD
    assert yaml.safe_load((tmp_path / "v.yaml").read_text())["holds"] is False


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"schema_version": 9}, "schema_version is 9"),
        ({"result": None}, "result"),
        ({"duration_s": "long"}, "duration_s"),
        ({"more": 1}, "more"),
    ],
)
def test_a_broken_record_names_the_field(tmp_path: Path, change: dict[str, object], said: str):
    path = tmp_path / "v.yaml"
    save(RECORD, path)
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | change))
    with pytest.raises(InputError, match=said):
        load(path)
