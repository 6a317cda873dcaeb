"""Measurements as tables: what a GPU tells stands beside, and only where one tells it."""

from dataclasses import replace

from analyzer.report.tables import baselines_table, host_table, measurements_table
from profiles.environment import Environment
from profiles.measurement import Baseline, HostUsage, LoadPoint, Measurement, Usage
from profiles.variant import Variant

MIB = 2**20
ON_GPU = Environment(device_uuid="GPU-a")


def a_measurement(model: str = "bert", instances: int | None = None) -> Measurement:
    return Measurement(
        Variant(model, instance_count=instances),
        LoadPoint(),
        "Tesla T4",
        ON_GPU,
        throughput=100,
        usage=Usage(1000 * MIB, 1500 * MIB, 40.4, 20.2, 16.25, 0.4625),
        extra={"sm_clock_mhz": 1590.0},
    )


def test_what_a_gpu_tells_stands_in_a_table_of_its_own():
    table = measurements_table([a_measurement()])
    header, row = table.split("\n\n")[1].splitlines()
    assert header.split("  ")[0] == "on the GPU"
    assert header.split()[-8:] == ["util", "%", "memory", "%", "W", "J/infer", "SM", "MHz"]
    assert row.split()[-5:] == ["40.4", "20.2", "16.2", "0.463", "1590"]


def test_a_cpu_host_has_no_such_table():
    measurement = replace(a_measurement(), environment=Environment(cpu="a CPU"))
    assert "on the GPU" not in measurements_table([measurement])


def test_the_memory_of_each_added_instance_is_told():
    one, two = a_measurement(instances=1), a_measurement(instances=2)
    two = replace(two, usage=Usage(1400 * MIB, 2100 * MIB, 60))
    assert "bert [as configured]: 400 MiB cold, 600 MiB hot (from 1 to 2)" in measurements_table(
        [one, two]
    )


def test_the_host_has_a_table_with_cpu_time_by_program():
    programs = (("triton_python_backend_stub", 0.55), ("tritonserver", 0.2))
    host = HostUsage(0.75, 0.14, 300 * MIB, 1234.4, 0.25, 0.1, programs, 2.0)
    row = host_table([replace(a_measurement(), host=host)]).splitlines()[1]
    assert row.split()[4:11] == ["c1", "0.75", "2", "14%", "1234", "25%", "300"]
    assert row.endswith("triton_python_backend_stub 0.55, tritonserver 0.20")
    assert host_table([a_measurement()]) == ""


def test_a_doubtful_baseline_says_why():
    baseline = Baseline(
        "Tesla T4", ON_GPU, 309 * MIB, power_w=30.04, warnings=("other processes used GPU-a",)
    )
    table = baselines_table([baseline])
    assert table.splitlines()[1].split()[-3:] == ["309", "0.0", "30.0"]
    assert "Tesla T4: other processes used GPU-a" in table
