"""A GPU or slice that was given and cannot be read is not replaced by the CPU."""

from pathlib import Path

import pytest
from pretended_nvml import fleet as pretended
from pretended_nvml.fleet import Fleet

from analyzer.devices.expected_gpu import evidence
from analyzer.devices.open_device import open_device
from profiles.errors import SurroundingsError


def test_a_slice_that_cannot_be_read_is_no_reason_to_measure_the_cpu(
    pretended_nvml: Fleet, monkeypatch: pytest.MonkeyPatch
):
    """A pod was given a MIG slice, and NVML shows none."""
    with open_device("auto") as device:
        assert device.device_type.kind == "cpu"
    with pytest.raises(SurroundingsError, match="--gpus first was requested"), open_device("first"):
        pass
    monkeypatch.setenv("NVIDIA_VISIBLE_DEVICES", "MIG-1")
    with (
        pytest.raises(SurroundingsError, match=r"is MIG-1, .*MIG strategy; --gpus none"),
        open_device("auto"),
    ):
        pass


def test_a_gpu_that_nvml_counts_and_cannot_read_is_no_reason_either(pretended_nvml: Fleet):
    gpu = pretended_nvml.add_gpu("Tesla T4", "GPU-a")
    for choice in ("auto", "first"):
        with open_device(choice) as device:
            assert device.device_type.name == "Tesla T4"
    pretended_nvml.set(gpu, fault=pretended.GPU_IS_LOST)
    with pytest.raises(SurroundingsError, match="GPU is lost"), open_device("auto"):
        pass


def test_a_gpu_is_given_by_its_variable_or_its_device_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    """NVIDIA's images say `all` even where there is none; `nvidiactl` alone is no GPU."""
    (tmp_path / "nvidiactl").touch()
    for nothing in ("", "all", "none", "void"):
        monkeypatch.setenv("NVIDIA_VISIBLE_DEVICES", nothing)
        assert evidence(tmp_path) is None
    (tmp_path / "nvidia0").touch()
    assert evidence(tmp_path) == f"there is {tmp_path}/nvidia0"
    monkeypatch.setenv("NVIDIA_VISIBLE_DEVICES", "GPU-a")
    assert evidence(tmp_path) == "NVIDIA_VISIBLE_DEVICES is GPU-a"
