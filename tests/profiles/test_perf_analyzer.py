"""What the real perf_analyzer 2.60 wrote (tests/interop/)."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest

from profiles.errors import InputError
from profiles.import_files import Told, read_files

INTEROP = Path(__file__).parents[1] / "interop"
TOLD = Told(device_type="cpu", model="voice_activity", batch_size=2)


@pytest.mark.parametrize(
    ("name", "load"), [("pa.csv", "Concurrency"), ("pa-rate.csv", "Request Rate")]
)
def test_every_figure_of_its_report_is_taken(name: str, load: str):
    """`--verbose-csv` or not; times in microseconds."""
    path = INTEROP / name
    table = read_files([path], TOLD)
    rows = list(csv.DictReader(path.read_text().splitlines()))
    assert len(table.measurements) == len(rows)
    for m, row in zip(table.measurements, rows, strict=True):
        asked = m.load.concurrency if load == "Concurrency" else m.load.request_rate
        assert asked == float(row[load])
        assert (m.model, m.load.batch_size) == ("voice_activity", 2)
        assert m.throughput == float(row["Inferences/Second"])
        assert m.latency is not None
        assert m.server_time is not None
        mean = row.get("Avg latency", row["p50 latency"])  # no worse is known without --verbose-csv
        assert {
            "mean": m.latency.mean_ms,
            "p50": m.latency.p50_ms,
            "p90": m.latency.p90_ms,
            "p95": m.latency.p95_ms,
            "p99": m.latency.p99_ms,
            "queue": m.server_time.queue_ms,
            "input": m.server_time.compute_input_ms,
            "infer": m.server_time.compute_infer_ms,
            "output": m.server_time.compute_output_ms,
        } == pytest.approx(
            {
                "mean": float(mean) / 1000,
                **{p: float(row[f"{p} latency"]) / 1000 for p in ("p50", "p90", "p95", "p99")},
                "queue": float(row["Server Queue"]) / 1000,
                "input": float(row["Server Compute Input"]) / 1000,
                "infer": float(row["Server Compute Infer"]) / 1000,
                "output": float(row["Server Compute Output"]) / 1000,
            }
        )
    assert len(table.notes) == 1  # that there is no memory: a CPU has no GPU's figures


@pytest.mark.parametrize("name", ["export-concurrency", "export-rate"])
def test_its_export_gives_what_its_report_of_the_same_run_says(name: str):
    """The windows of the export are those that it found stable: the same requests."""
    exported = read_files([INTEROP / f"{name}.json"], TOLD)
    reported = read_files([INTEROP / f"{name}.csv"], TOLD)
    loads = {str(m.load): m for m in reported.measurements}
    assert {str(m.load) for m in exported.measurements} == loads.keys()
    for m in exported.measurements:
        other = loads[str(m.load)]
        assert m.throughput == pytest.approx(other.throughput, rel=1e-5)
        assert m.latency is not None
        assert other.latency is not None
        for field in ("mean_ms", "p50_ms", "p90_ms", "p95_ms", "p99_ms"):
            figure = getattr(other.latency, field)  # in the report, in whole microseconds
            assert getattr(m.latency, field) == pytest.approx(figure, abs=0.001), field


def an_export(**changes: object) -> str:
    """Ten requests of 2 ms, one each 100 ms, in a window of a second from the first's start."""
    ns = 1_000_000
    requests = [
        {"timestamp": at * 100 * ns, "response_timestamps": [at * 100 * ns + 2 * ns]}
        for at in range(10)
    ]
    experiment = {
        "experiment": {"mode": "concurrency", "value": 4},
        "requests": requests,
        "window_boundaries": [0, 1000 * ns],
    }
    return json.dumps({"experiments": [experiment | changes], "version": "2.60.0"})


def test_throughput_and_latency_of_an_export(tmp_path: Path):
    """Ten requests in a second, two inferences each: 20 inferences/s; each took 2 ms."""
    (tmp_path / "export.json").write_text(an_export())
    (m,) = read_files([tmp_path / "export.json"], TOLD).measurements
    assert m.throughput == 20
    assert m.latency is not None
    assert (m.latency.mean_ms, m.latency.p99_ms, m.latency.max_ms) == (2, 2, 2)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"requests": []}, "experiment 1: requests: none ended within the windows"),
        ({"window_boundaries": [5]}, "experiment 1: window_boundaries: needs a window"),
        ({"experiment": {"mode": "binary", "value": 1}}, "experiment 1: unknown mode 'binary'"),
        ({"requests": [{}]}, "experiment 1: is no experiment of a profile export"),
    ],
)
def test_a_broken_export_is_named(tmp_path: Path, changes: dict[str, object], named: str):
    (tmp_path / "export.json").write_text(an_export(**changes))
    with pytest.raises(InputError, match=named):
        read_files([tmp_path / "export.json"], TOLD)


def test_the_model_that_it_does_not_name_is_asked_for():
    with pytest.raises(InputError, match=r"pa\.csv line 2: .* which model it measured: --model"):
        read_files([INTEROP / "pa.csv"], Told(device_type="cpu"))


HEADER = "Concurrency,Inferences/Second,p99 latency,Avg GPU Utilization,Max GPU Memory Usage"


def test_a_gpus_figures_as_tritons_metrics_give_them(tmp_path: Path):
    """A part of one and bytes, after the GPU's UUID."""
    (tmp_path / "pa.csv").write_text(f"{HEADER}\n1,10,900,GPU-1:0.33;,GPU-1:1500000000;\n")
    (m,) = read_files([tmp_path / "pa.csv"], TOLD).measurements
    assert m.usage is not None
    assert m.usage.utilization_percent == pytest.approx(33)
    assert m.usage.memory_hot_bytes == 1_500_000_000


def test_several_gpus_and_broken_cells_are_named(tmp_path: Path):
    path = tmp_path / "pa.csv"
    path.write_text(f"{HEADER}\n1,10,900,GPU-1:0.3;GPU-2:0.3;,\n1,10,soon,,\n1,10,900,,\n")
    table = read_files([path], TOLD)
    assert len(table.measurements) == 1
    assert "line 2: Avg GPU Utilization: 2 GPUs" in table.notes[0]
    assert "line 3: latency_p99_ms: 'soon' is not a number" in table.notes[1]


@pytest.mark.parametrize("batch_size", [1, 4])
@pytest.mark.parametrize("name", ["pa.csv", "export-concurrency.csv"])
def test_a_batch_size_that_the_figures_contradict_is_refused(name: str, batch_size: int):
    """Two inferences in each request: 937.9 a second are 2 requests in flight of 4.25 ms each."""
    with pytest.raises(InputError, match=r"are batches of 2, not of \d: --batch-size 2"):
        read_files([INTEROP / name], replace(TOLD, batch_size=batch_size, strict=True))


def test_a_rate_tells_the_batch_size():
    with pytest.raises(InputError, match="inferences at 50 requests per second are batches of 2"):
        read_files([INTEROP / "export-rate.csv"], replace(TOLD, batch_size=1))
