"""Each fault is found with its evidence, and its mended twin is not accused of it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from made_up_points import MIB, a_host, a_point, evidence

from analyzer.advise.advise import advise
from analyzer.advise.change import as_typed, sweep
from analyzer.advise.finding import Evidence, Finding
from profiles.import_files import Told, read_files
from profiles.measurement import Confidence, Measurement
from profiles.repository import read_repository
from profiles.variant import DynamicBatching, Variant

CPU = "instance_group [{ count: 1 kind: KIND_CPU }] "
GPU0 = "instance_group [{ count: 1 kind: KIND_GPU gpus: [0] }] "
BATCHING = "dynamic_batching { } "


def threads(count: int) -> str:
    value = f'value {{ string_value: "{count}" }}'
    return f'{CPU} parameters {{ key: "intra_op_thread_count" {value} }} '


@dataclass(frozen=True)
class Made:
    """What is known: points, and what `evidence` takes."""

    rows: tuple[Measurement, ...] = ()
    known: dict[str, Any] = field(default_factory=dict)


def made(*rows: Measurement, **known: Any) -> Made:
    return Made(rows, known)


def variant(**changes: Any) -> Variant:
    return Variant("bert", **changes)


def stats(name: str, version: str, count: int, **more: object) -> dict[str, object]:
    return {"name": name, "version": version, "inference_count": count, **more}


SINGLE = a_point(100, queue_ms=30, utilization=40)
LOG = "I1121 05:50:10.684628 1 libtorch.cc:1] {}"
ON_GPUS = "\n".join(
    f"I1121 05:50:10.1 1 x.cc:1] TRITONBACKEND_ModelInstanceInitialize: bert_0_{n} (GPU device {n})"
    for n in (0, 1)
)
WAITING = variant(dynamic_batching=DynamicBatching((), 5000))
AT_ONCE = variant(dynamic_batching=DynamicBatching((), 0))
TWO, ONE = variant(instance_count=2), variant(instance_count=1)
INFERENCE = variant(parameters=(("INFERENCE_MODE", "true"),))

FAULTS: dict[str, tuple[Made, Made, str]] = {  # kind: with the fault, without, words of evidence
    "throttled": (
        made(a_point(host=a_host(throttled=0.4, limit=1)), extra=threads(4)),
        made(a_point(host=a_host(throttled=0.01, limit=1)), extra=threads(1)),
        "held in 40% of the periods of the limit of 1 cores",
    ),
    "threads-beyond-cores": (
        made(a_point(host=a_host(system=0.2)), extra=threads(8)),
        made(a_point(host=a_host(system=0.2)), extra=threads(4)),
        "20% of the CPU time in the kernel, 4000 context switches",
    ),
    "more-instances": (
        made(SINGLE, extra=CPU),
        made(a_point(100, queue_ms=30, utilization=95), extra=CPU),
        "85% of the time in the server is spent in the queue",
    ),
    "dynamic-batching": (
        made(SINGLE, a_point(300, batch=4, queue_ms=30, utilization=40), extra=CPU),
        made(SINGLE, a_point(101, batch=4, queue_ms=30, utilization=40), extra=CPU),
        "in batches: bert [as configured] b4 c4 on cpu: 300 infer/s",
    ),
    "queue-delay-for-nothing": (
        made(a_point(100, variant=WAITING, latency_ms=45), a_point(101, variant=AT_ONCE)),
        made(a_point(150, variant=WAITING, latency_ms=45), a_point(101, variant=AT_ONCE)),
        "without the delay: bert [dynamic_batching=0us] b1 c4",
    ),
    "preferred-sizes-never-met": (
        made(a_point(), extra="dynamic_batching { preferred_batch_size: [8] }"),
        made(a_point(concurrency=8), extra="dynamic_batching { preferred_batch_size: [8] }"),
        "bert [as configured] b1 c4",
    ),
    "batches-stand-still": (
        made(a_point(100), a_point(101, batch=2)),
        made(a_point(100), a_point(150, batch=2)),
        "b2 c4 on cpu: 101 infer/s",
    ),
    "instances-for-nothing": (
        made(a_point(variant=ONE), a_point(variant=TWO, memory_mib=200)),
        made(a_point(variant=ONE), a_point(180, variant=TWO, memory_mib=200)),
        "with 1: bert [instances=1] b1 c4",
    ),
    "knee-not-reached": (
        made(a_point(100, concurrency=2), a_point(150, utilization=50)),
        made(a_point(100, concurrency=2), a_point(102, utilization=50)),
        "utilization 50 %",
    ),
    "better-variant": (
        made(a_point(100), a_point(150, variant=variant(parameters=(("threads", "2"),)))),
        made(a_point(100), a_point(102, variant=variant(parameters=(("threads", "2"),)))),
        "bert [threads=2] b1 c4 on cpu: 150 infer/s",
    ),
    "switch-that-hurts": (
        made(a_point(53), a_point(29, variant=INFERENCE)),
        made(a_point(53), a_point(53.6, variant=INFERENCE)),
        "bert [INFERENCE_MODE=true] b1 c4 on cpu: 29 infer/s",
    ),
    "client-limits": (
        made(a_point(warnings=("the client used 97% of a core: the server may be faster",))),
        made(a_point(warnings=("Triton counted 1 failures",))),
        "the client used 97% of a core",
    ),
    "time-outside-the-server": (
        made(a_point(latency_ms=40)),
        made(a_point(latency_ms=6)),
        "34.70 of 40.00 ms are spent outside the server",
    ),
    "others-on-the-device": (
        made(a_point(warnings=("other processes used GPU-1 during the measurement: 12 (python)",))),
        made(a_point()),
        "other processes used GPU-1",
    ),
    "clocks-held": (
        made(a_point(warnings=("the GPU's clocks were throttled 40% of the time by power",))),
        made(a_point()),
        "throttled 40% of the time by power",
    ),
    "first-requests-slow": (
        made(
            a_point(concurrency=1, warnings=("latency fell by 40% during the measurement",)),
            a_point(warnings=("latency fell by 35% during the measurement",)),
        ),
        made(
            a_point(concurrency=1, warnings=("latency fell by 40% during the measurement",)),
            a_point(),
        ),
        "latency fell by 40% during the measurement",
    ),
    "noisy-points": (
        made(a_point(half_width=0.3, reached=False)),
        made(a_point(half_width=0.04)),
        "±30%",
    ),
    "instances-on-every-gpu": (
        made(a_point(gpu=True), log=ON_GPUS, backend="onnxruntime", gpus=("Tesla T4", "Tesla T4")),
        made(a_point(gpu=True), extra=GPU0, backend="onnxruntime", gpus=("Tesla T4", "Tesla T4")),
        "bert_0_1 (GPU device 1)",
    ),
    "cpu-beside-gpu": (
        made(a_point(), extra=CPU, gpus=("Tesla T4",)),
        made(a_point(), extra=CPU),
        "instance_group has KIND_CPU",
    ),
    "pytorch-inference-mode": (
        made(log=LOG.format("Inference Mode is disabled for model instance 'bert_0_0'")),
        made(log=LOG.format("Inference Mode is enabled for model instance 'bert_0_0'")),
        "triton.log: I1121 05:50:10.684628 1 libtorch.cc:1] Inference Mode is disabled",
    ),
    "pytorch-disable-optimized-execution": (
        made(
            log=LOG.format("Optimized execution is enabled for model instance 'bert_0_0'"),
            extra="instance_group [{ count: 2 kind: KIND_GPU }]",
        ),
        made(log=LOG.format("Optimized execution is enabled for model instance 'bert_0_0'")),
        "Optimized execution is enabled",
    ),
    "default-threads": (
        made(a_point(host=a_host(cores=3.5, system=0.2)), backend="onnxruntime", extra=CPU),
        made(a_point(host=a_host(cores=3.5)), backend="onnxruntime", extra=threads(4)),
        "3.5 cores in use by 1 instance, 20% of it in the kernel",
    ),
    "onnx-accelerator": (
        made(a_point(gpu=True, compute_ms=9), backend="onnxruntime", extra=GPU0),
        made(
            a_point(gpu=True, compute_ms=9),
            backend="onnxruntime",
            extra=GPU0 + "optimization { execution_accelerators { gpu_execution_accelerator "
            '[{ name: "tensorrt" }] } }',
        ),
        "9.00 ms of computing, utilization 90 %",
    ),
    "cuda-graphs": (
        made(a_point(gpu=True, compute_ms=0.5, utilization=30), backend="tensorrt", extra=GPU0),
        made(
            a_point(gpu=True, compute_ms=0.5, utilization=30),
            backend="tensorrt",
            extra=GPU0 + "optimization { cuda { graphs: true } }",
        ),
        "0.50 ms of computing, utilization 30 %",
    ),
    "memory-held": (
        made(
            a_point(gpu=True, concurrency=1, memory_mib=6000),
            a_point(gpu=True, memory_mib=6000),
            backend="tensorflow",
            extra=GPU0,
        ),
        made(
            a_point(gpu=True, concurrency=1, memory_mib=300),
            a_point(gpu=True, memory_mib=600),
            backend="tensorflow",
            extra=GPU0,
        ),
        "6291456000 and 6291456000 bytes",
    ),
    "never-called": (
        made(statistics=(stats("bert", "1", 0), stats("gpt", "1", 5))),
        made(statistics=(stats("bert", "1", 3), stats("gpt", "1", 5))),
        "0 inferences of bert",
    ),
    "version-never-used": (
        made(statistics=(stats("bert", "1", 0), stats("bert", "2", 5))),
        made(statistics=(stats("bert", "1", 7), stats("bert", "2", 5))),
        "0 inferences of version 1; 2: 5",
    ),
    "cache-never-hits": (
        made(
            statistics=(stats("bert", "1", 5, inference_stats={"cache_miss": {"count": 5}}),),
            extra="response_cache { enable: true }",
        ),
        made(
            statistics=(
                stats(
                    "bert",
                    "1",
                    5,
                    inference_stats={"cache_miss": {"count": 2}, "cache_hit": {"count": 3}},
                ),
            ),
            extra="response_cache { enable: true }",
        ),
        "0 hits, 5 misses",
    ),
}


def kinds(folder: Path, case: Made) -> dict[str, Any]:
    return {f.kind: f for f in advise(evidence(folder, *case.rows, **case.known))}


@pytest.mark.parametrize("kind", FAULTS)
def test_the_fault_is_found_with_its_evidence(kind: str, tmp_path: Path):
    faulty, _, words = FAULTS[kind]
    found = kinds(tmp_path, faulty)
    assert kind in found, list(found)
    assert found[kind].evidence
    assert any(words in line for line in found[kind].evidence), found[kind].evidence
    assert found[kind].change


@pytest.mark.parametrize("kind", FAULTS)
def test_the_mended_twin_is_not_accused_of_it(kind: str, tmp_path: Path):
    _, mended, _ = FAULTS[kind]
    assert kind not in kinds(tmp_path, mended)


def test_there_are_at_least_fifteen_faults():
    assert len(FAULTS) >= 15


def test_a_model_without_fault_gets_no_advice(tmp_path: Path):
    """Full at the highest load, and no more throughput with the last requests: the knee."""
    rows = (
        a_point(95, concurrency=1, latency_ms=5.5),
        a_point(100, concurrency=2, queue_ms=5),
        a_point(101, concurrency=4, queue_ms=15),
    )
    assert advise(evidence(tmp_path, *rows, extra=CPU + BATCHING)) == []


def test_the_change_is_a_diff_of_the_configuration(tmp_path: Path):
    found = kinds(tmp_path, FAULTS["more-instances"][0])["more-instances"]
    assert "--- a/bert/config.pbtxt" in found.change
    assert "-  count: 1" in found.change
    assert "+  count: 2" in found.change
    assert found.sweep == "model-placer profile --models bert --instance-counts 1,2"


def test_what_was_swept_is_not_proposed_again(tmp_path: Path):
    """Two instances were measured and brought nothing: the queue alone is no reason for them."""
    rows = (SINGLE, a_point(101, variant=TWO, queue_ms=30, utilization=40))
    assert "more-instances" not in kinds(tmp_path, made(*rows, extra=CPU))
    log = LOG.format("Inference Mode is disabled for model instance 'bert_0'")
    found = kinds(tmp_path, made(a_point(53), a_point(53, variant=INFERENCE), log=log))
    assert "pytorch-inference-mode" not in found


def test_points_of_older_files_do_not_count(tmp_path: Path):
    old = replace(SINGLE, model_digest="old", measured_at="2026-01-01")
    new = replace(a_point(100), model_digest="new", measured_at="2026-02-01")
    assert "more-instances" not in kinds(tmp_path, made(old, new, extra=CPU))


def test_memory_that_fewer_instances_save_is_told(tmp_path: Path):
    found = kinds(tmp_path, FAULTS["instances-for-nothing"][0])["instances-for-nothing"]
    assert found.gain.memory_bytes == 100 * MIB


@pytest.mark.parametrize("kind", ["more-instances", "batches-stand-still", "knee-not-reached"])
def test_nothing_is_built_on_points_that_did_not_settle(kind: str, tmp_path: Path):
    """On a busy machine every second point says something else."""
    faulty, _, _ = FAULTS[kind]
    rows = [replace(r, confidence=Confidence(0.3, 0.3, reached=False)) for r in faulty.rows]
    assert set(kinds(tmp_path, made(*rows, **faulty.known))) == {"noisy-points"}


def test_no_more_is_said_only_where_more_would_have_been_seen(tmp_path: Path):
    """Intervals of ±15 % that meet: twice the instances may bring 30 %, who knows."""
    rows = [
        a_point(variant=ONE, half_width=0.15),
        a_point(variant=TWO, memory_mib=200, half_width=0.15),
    ]
    assert "instances-for-nothing" not in kinds(tmp_path, made(*rows))


def test_the_change_of_a_member_is_a_diff_of_the_members_configuration(tmp_path: Path):
    """An ensemble has no instances: those of its model are what is varied."""
    known = evidence(tmp_path, extra=CPU)
    pipeline = tmp_path / "models" / "pipeline"
    pipeline.mkdir()
    (pipeline / "config.pbtxt").write_text(
        'platform: "ensemble" max_batch_size: 8 '
        'input [{ name: "x" data_type: TYPE_FP32 dims: [4] }] '
        'output [{ name: "y" data_type: TYPE_FP32 dims: [4] }] '
        'ensemble_scheduling { step [{ model_name: "bert" model_version: -1 '
        'input_map { key: "x" value: "x" } output_map { key: "y" value: "y" } }] }'
    )
    as_is = Variant("pipeline", members=(Variant("bert"),))
    doubled = Variant("pipeline", members=(Variant("bert", instance_count=2),))
    rows = (a_point(100, variant=as_is), a_point(180, variant=doubled))
    known = replace(known, rows=rows, models=read_repository(tmp_path / "models"))
    (found,) = [f for f in advise(known) if f.kind == "better-variant"]
    assert "--- a/bert/config.pbtxt" in found.change
    assert "+  count: 2" in found.change


def test_points_of_another_tool_without_utilization_are_advised_on_too(tmp_path: Path):
    """What Model Analyzer 1.58 measured of voice_activity on two CPU cores (tests/interop/).

    5092 infer/s in batches of 4, 1988.5 by itself, 46 % of the time in the queue then and 73 % in
    batches; 1288 of one request in flight, so that the knee was not reached with four.
    """
    root = Path(__file__).parents[3]
    table = read_files([root / "tests" / "interop" / "checkpoint-0.ckpt"], Told(device_type="cpu"))
    models = read_repository(root / "examples" / "model_repository")
    found = {(f.model, f.kind) for f in advise(Evidence(table.measurements, models))}
    assert ("voice_activity", "dynamic-batching") in found
    assert ("voice_activity", "knee-not-reached") in found
    assert not any(
        kind == "more-instances" for _, kind in found
    )  # nobody knows whether there is room


def test_the_proof_names_what_was_typed_and_can_be_run_as_it_stands():
    found = Finding("kind", "bert", "", (), "inferred", sweep=sweep("bert", instance_counts="1,2"))
    typed = {"store": "my store.db", "model_repository": "models", "url": "localhost:8000"}
    assert as_typed(found, typed).sweep == (
        "model-placer profile -m models --store 'my store.db' --models bert --instance-counts 1,2"
    )
    assert as_typed(found, {}) == found
    placed = replace(found, sweep="model-placer place --demand FILE")
    assert as_typed(placed, {"demand": "d.yaml"}).sweep == "model-placer place --demand d.yaml"
