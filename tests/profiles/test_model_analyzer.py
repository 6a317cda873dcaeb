"""What the real Model Analyzer 1.58 wrote (tests/interop/), and tables of other columns."""

import csv
import json
from pathlib import Path

import pytest

from profiles.errors import InputError
from profiles.import_files import Told, read_files

INTEROP = Path(__file__).parents[1] / "interop"
CPU = Told(device_type="cpu")
SERVER = (
    "Model,GPU UUID,GPU Memory Usage (MB),GPU Utilization (%),GPU Power Usage (W)\n"
    "triton-server,GPU-1,309.0,9.0,25.0\n\n"
)
INFERENCE = (
    "Model,Batch,Concurrency,Model Config Path,Instance Group,Max Batch Size,"
    "Satisfies Constraints,Throughput (infer/sec),p99 Latency (ms)\n"
    "bert,2,4,bert_config_3,2:GPU,16,Yes,120.5,80.1\n"
    "bert,2,4,bert_config_default,1:GPU,8,No,100.0,90.0\n\n"
)
GPU = (
    "Model,GPU UUID,Batch,Concurrency,Model Config Path,Instance Group,Satisfies Constraints,"
    "GPU Memory Usage (MB),GPU Utilization (%),GPU Power Usage (W)\n"
    "bert,GPU-1,2,4,bert_config_3,2:GPU,Yes,2309.0,89.0,65.0\n"
    "bert,GPU-1,2,4,bert_config_default,1:GPU,No,1309.0,59.0,55.0\n\n"
)


@pytest.fixture
def results(tmp_path: Path) -> Path:
    for name, text in (("model-inference", INFERENCE), ("model-gpu", GPU), ("server-only", SERVER)):
        (tmp_path / f"metrics-{name}.csv").write_text(text)
    return tmp_path


def test_every_figure_of_its_inference_table_is_taken():
    path = INTEROP / "metrics-model-inference.csv"
    table = read_files([path], CPU)
    rows = [row for row in csv.DictReader(path.read_text().splitlines()) if row["Model"]]
    assert len(table.measurements) == len(rows) == 8
    for m, row in zip(table.measurements, rows, strict=True):
        assert m.model == row["Model"]
        assert (m.load.batch_size, m.load.concurrency) == (
            int(row["Batch"]),
            int(row["Concurrency"]),
        )
        assert m.throughput == float(row["Throughput (infer/sec)"])
        assert m.latency is not None
        assert m.latency.p99_ms == float(row["p99 Latency (ms)"])
        assert m.environment.generator == "Model Analyzer"
        assert str(m.variant) == "as configured"  # it measured them so: `_config_default`


def test_every_figure_of_its_checkpoint_is_taken():
    path = INTEROP / "checkpoint-0.ckpt"
    table = read_files([path], CPU)
    results = json.loads(path.read_text())["ResultManager.results"]["_results"]
    wanted = [
        (model, {tag: record["_value"] for tag, record in one["_non_gpu_data"]})
        for model, variants in results.items()
        for _, measured in variants.values()
        for whole in measured.values()
        for one in whole["_model_config_measurements"]
    ]
    assert len(table.measurements) == len(wanted) == 8
    for m, (model, figures) in zip(table.measurements, wanted, strict=True):
        assert m.latency is not None
        assert m.server_time is not None
        assert m.model == model
        assert {
            "perf_throughput": m.throughput,
            "perf_latency_avg": m.latency.mean_ms,
            "perf_latency_p90": m.latency.p90_ms,
            "perf_latency_p95": m.latency.p95_ms,
            "perf_latency_p99": m.latency.p99_ms,
            "perf_server_queue": m.server_time.queue_ms,
            "perf_server_compute_input": m.server_time.compute_input_ms,
            "perf_server_compute_infer": m.server_time.compute_infer_ms,
            "perf_server_compute_output": m.server_time.compute_output_ms,
        } == {tag: v for tag, v in figures.items() if not tag.startswith("perf_client")}


def test_its_table_and_its_checkpoint_tell_of_the_same_points():
    """Else a store that got both would place two options where there is one."""
    tables = [
        read_files([INTEROP / name], CPU)
        for name in ("metrics-model-inference.csv", "checkpoint-0.ckpt")
    ]
    points = [{(m.variant.key, str(m.load)) for m in table.measurements} for table in tables]
    assert points[0] == points[1]


def test_the_servers_row_is_subtracted_and_the_gpus_figures_are_joined(results: Path):
    """2309 less 309 MB, 89 less 9 %, 65 less 25 W."""
    table = read_files([results], Told(device_type="Tesla T4"))
    (baseline,) = table.baselines
    assert (baseline.memory_bytes, baseline.utilization_percent) == (309_000_000, 9)
    by_variant = {str(m.variant): m for m in table.measurements}
    varied = by_variant["instances=2,max_batch_size=16,KIND_GPU"]
    assert varied.usage is not None
    assert varied.usage.memory_hot_bytes == 2_000_000_000
    assert (varied.usage.utilization_percent, varied.usage.power_w) == (80, 40)
    own = by_variant["as configured"]
    assert own.usage is not None
    assert own.usage.memory_hot_bytes == 1_000_000_000
    assert not table.notes


def test_other_columns_in_another_order(tmp_path: Path):
    path = tmp_path / "mine.csv"
    path.write_text(
        "p90 Latency (ms),Request Rate,backend_parameter/threads,Model,Throughput (infer/sec),"
        "Server Queue (ms),Satisfies Constraints,Novelty (x)\n"
        "7.5,100,2,bert,99.0,1.5,Yes,3\n"
    )
    table = read_files([path], CPU)
    (m,) = table.measurements
    assert m.load.request_rate == 100
    assert m.variant.parameters == (("threads", "2"),)
    assert m.server_time is not None
    assert m.server_time.queue_ms == 1.5
    assert m.extra == {"latency_p90_ms": 7.5}  # without a 99th percentile
    assert any("unknown column 'Novelty (x)'" in note for note in table.notes)


def test_its_output_repository_tells_the_variants(results: Path, tmp_path: Path):
    """Directories `bert_config_3` in which the model's name is `bert`, as it leaves them."""
    for name, extra in (
        ("bert_config_default", "instance_group [{ count: 1 kind: KIND_GPU }]"),
        (
            "bert_config_3",
            "instance_group [{ count: 2 kind: KIND_GPU }] "
            'dynamic_batching { max_queue_delay_microseconds: 200 } parameters { key: "threads" '
            'value { string_value: "4" } }',
        ),
    ):
        (tmp_path / "output" / name).mkdir(parents=True)
        text = f'name: "bert" backend: "onnxruntime" max_batch_size: 8 {extra}\n'
        (tmp_path / "output" / name / "config.pbtxt").write_text(text)
    told = Told(device_type="Tesla T4", variants=tmp_path / "output")
    table = read_files([results], told)
    assert [str(m.variant) for m in table.measurements] == [
        "instances=2,dynamic_batching=200us,threads=4",
        "as configured",
    ]


def test_ensembles_have_the_variants_of_their_members(tmp_path: Path):
    path = tmp_path / "metrics-model-inference.csv"
    path.write_text(
        "Model,Batch,Concurrency,Model Config Path,Throughput (infer/sec)\n"
        "pipe,1,1,pipe_config_default: det_config_default,5\n"
    )
    (m,) = read_files([path], CPU).measurements
    assert [member.model for member in m.variant.members] == ["det"]


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ("bert,1,4,bert_config_default,1:GPU,8,Yes,100", "line 2: 8 cells, the header has 9"),
        ("bert,one,4,bert_config_default,1:GPU,8,Yes,100,12", "line 2: batch_size: 'one'"),
        ("bert,1,4,bert_config_default,1:GPU,8,Yes,fast,12", "line 2: throughput: 'fast'"),
        ('"a,b",1,4,x,1:GPU,8,Yes,100,12', "line 2: several models at once"),
    ],
)
def test_a_broken_table_names_line_and_column(tmp_path: Path, row: str, told: str):
    path = tmp_path / "metrics-model-inference.csv"
    header = INFERENCE.splitlines()[0]
    path.write_text(f"{header}\n{row}\n")
    with pytest.raises(InputError, match=told):
        read_files([path], Told(device_type="t4", strict=True))


def test_what_a_file_lacks_is_asked_for():
    with pytest.raises(InputError, match="line 2: device_type is missing; --device-type names"):
        read_files([INTEROP / "metrics-model-inference.csv"], Told())


def test_the_gpus_table_alone_says_what_it_needs(results: Path):
    with pytest.raises(InputError, match="import it together with metrics-model-inf"):
        read_files([results / "metrics-model-gpu.csv"], CPU)


def test_several_gpus_at_once_are_left_out(results: Path):
    """The throughput is that of both, the memory that of each: no device needs that."""
    more = GPU.replace("GPU-1,2,4,bert_config_3", "GPU-2,2,4,bert_config_3").splitlines()[1]
    (results / "metrics-model-gpu.csv").write_text(f"{GPU.rstrip()}\n{more}\n")
    table = read_files([results], Told(device_type="Tesla T4"))
    assert [str(m.variant) for m in table.measurements] == ["as configured"]
    assert any("was measured on 2 GPUs at once" in note for note in table.notes)


def test_a_checkpoint_that_is_none_is_named(tmp_path: Path):
    path = tmp_path / "checkpoint-0.ckpt"
    path.write_text('{"ResultManager.results": {"_results": {"bert": {"bert_config_0": [{}]}}}}')
    with pytest.raises(InputError, match=r"checkpoint-0\.ckpt: is no checkpoint of Model Analyzer"):
        read_files([path], CPU)
    path.write_text('{"ResultManager.results": \n oops}')
    with pytest.raises(InputError, match=r"checkpoint-0\.ckpt: line 2, column 2: is not JSON"):
        read_files([path], CPU)


def test_a_gpu_of_a_checkpoint_is_less_the_servers(tmp_path: Path):
    """The real file's first point, with a GPU's records as Model Analyzer writes them."""
    document = json.loads((INTEROP / "checkpoint-0.ckpt").read_text())
    first = next(iter(document["ResultManager.results"]["_results"]["ocr_orientation"].values()))
    point = next(iter(first[1].values()))

    def records(memory: float, utilization: float):
        return {
            "GPU-1": [
                ["gpu_used_memory", {"_value": memory, "_device_uuid": "GPU-1"}],
                ["gpu_utilization", {"_value": utilization, "_device_uuid": "GPU-1"}],
            ]
        }

    point["_gpu_data"] = records(1500.0, 60.0)
    document["ResultManager.server_only_data"] = records(500.0, 10.0)
    path = tmp_path / "checkpoint-1.ckpt"
    path.write_text(json.dumps(document))
    table = read_files([path], Told(device_type="Tesla T4"))
    usage = table.measurements[0].usage
    assert usage is not None
    assert (usage.memory_hot_bytes, usage.utilization_percent) == (1_000_000_000, 50)
