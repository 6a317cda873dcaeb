"""Findings of configurations, of Triton's log and of its statistics."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from analyzer.advise.change import config_diff, diff, sweep
from analyzer.advise.finding import Evidence, Finding, Gain, as_configured, heaviest, told
from profiles import model_config
from profiles.measurement import Measurement
from profiles.model_config import ModelConfig
from profiles.repository import ModelDirectory
from profiles.variant import DynamicBatching, Variant

ON_GPU = re.compile(r"TRITONBACKEND_ModelInstanceInitialize: (\S+?)(?:_\d+)* \(GPU device (\d+)\)")
PYTORCH = {  # of the backend's log, by the parameter that turns it over
    "INFERENCE_MODE": re.compile(r"Inference Mode is disabled for model instance '([^']+)'"),
    "ENABLE_NVFUSER": re.compile(r"NvFuser is not specified for model instance '([^']+)'"),
    "DISABLE_OPTIMIZED_EXECUTION": re.compile(
        r"Optimized execution is enabled for model instance '([^']+)'"
    ),
}
INSTANCE = re.compile(r"(?:_\d+)+$")  # behind the model's name in that of an instance
COMPUTING = 0.7  # of the time in the server
BUSY_PERCENT = 60.0
SHORT_MS = 2.0  # of computing: launching kernels is a good part of it
THREADED = 1.3  # cores in use per instance: it runs more than one thread
HELD = 3.0  # memory beyond the size of the model's files, times that size
MOST_VARIED = 0.02  # of memory between the lightest and the heaviest load: it does not depend on it
LEAST_HELD_BYTES = 500_000_000
ALLOCATORS = {  # by backend: what holds memory, and where its limit is set
    "tensorflow": (
        "TensorFlow's allocator",
        "tritonserver --backend-config=tensorflow,gpu-memory-fraction=0.3",
    ),
    "onnxruntime": (
        "ONNX Runtime's arena",
        'parameters { key: "gpu_mem_limit" value { string_value: "BYTES" } }\n'
        'parameters { key: "arena_extend_strategy" value { string_value: "1" } }',
    ),
    "pytorch": (
        "PyTorch's caching allocator",
        "PYTORCH_CUDA_ALLOC_CONF=garbage_collection_threshold:0.8 in the server's environment, or\n"
        'parameters { key: "ENABLE_CACHE_CLEANING" value { string_value: "true" } }',
    ),
    "tensorrt": (
        "the server's pool of CUDA memory",
        "tritonserver --cuda-memory-pool-byte-size=0:BYTES",
    ),
}


def every_gpu(evidence: Evidence) -> Iterator[Finding]:
    """An instance group without `gpus` puts its instances on every visible GPU (server#2652)."""
    seen: dict[str, dict[str, str]] = {}
    for line in evidence.log.splitlines():
        if match := ON_GPU.search(line):
            seen.setdefault(match[1], {})[match[2]] = line.strip()
    for model, config in _configs(evidence):
        lines = seen.get(model.name, {})
        groups = [
            group
            for group in config.instance_group
            if not group.gpus and _kind(group) in {"KIND_AUTO", "KIND_GPU"}
        ]
        everywhere = groups or not config.instance_group
        if not everywhere or (len(evidence.gpus) < 2 and len(lines) < 2):
            continue
        if _backend(config) == "python" and not groups and len(lines) < 2:
            continue  # the Python backend takes KIND_CPU where nothing is said
        facts = list(lines.values())
        if not facts:
            facts = [
                f"this machine has {len(evidence.gpus)} GPUs: {', '.join(evidence.gpus)}",
                f"{model.name}/config.pbtxt names none in instance_group",
            ]
        count = max(len(lines), len(evidence.gpus))
        pinned = model_config.apply_variant(config, Variant(model.name), gpus=(0,))
        held = _memory(evidence, model.name)
        yield Finding(
            "instances-on-every-gpu",
            model.name,
            f"Its instances run on each of {count} GPUs, and hold memory on each.",
            tuple(facts),
            "measured" if lines else "inferred",
            change=config_diff(model.name, config, pinned),
            sweep="model-placer place && model-placer export: every model on the GPUs it needs",
            gain=Gain(memory_bytes=None if held is None else held * (count - 1)),
        )


def cpu_beside_gpu(evidence: Evidence) -> Iterator[Finding]:
    """`KIND_CPU` on a machine that has a GPU."""
    if not evidence.gpus:
        return
    for model, config in _configs(evidence):
        if any(_kind(group) == "KIND_CPU" for group in config.instance_group):
            variant = Variant(model.name, kind="KIND_GPU")
            yield Finding(
                "cpu-beside-gpu",
                model.name,
                "It runs on the CPU of a machine that has a GPU.",
                (
                    f"{model.name}/config.pbtxt: instance_group has KIND_CPU",
                    f"this machine has {', '.join(evidence.gpus)}",
                    *(told(row) for row in _tops(evidence, model.name)),
                ),
                "to be swept",
                change=diff(evidence, variant),
                sweep=sweep(model.name, instance_kind="KIND_GPU"),
                variant=variant,
            )


def pytorch_switches(evidence: Evidence) -> Iterator[Finding]:
    """What the PyTorch backend says is off; the switches can hurt, so that they are swept."""
    said: dict[tuple[str, str], str] = {}
    for line in evidence.log.splitlines():
        for key, pattern in PYTORCH.items():
            if match := pattern.search(line):
                said.setdefault((INSTANCE.sub("", match[1]), key), line.strip())
    for (name, key), line in said.items():
        model = evidence.models.get(name)
        config = model.config if model is not None else None
        count = sum(max(1, g.count) for g in config.instance_group) if config is not None else 1
        if key == "DISABLE_OPTIMIZED_EXECUTION" and count < 2:
            continue  # of use where several instances run
        measured = [r for r in evidence.points() if r.model == name]
        if any(dict(r.variant.parameters).get(key) == "true" for r in measured):
            continue  # it was swept: the points tell
        variant = Variant(name, parameters=((key, "true"),))
        yield Finding(
            f"pytorch-{key.lower().replace('_', '-')}",
            name,
            f"{key} is off; whether it helps differs from model to model.",
            (f"{evidence.log_name}: {line}",),
            "to be swept",
            change=diff(evidence, variant),
            sweep=sweep(name, parameter=f"{key}=false,true"),
            point=heaviest(measured),
            variant=variant,
        )


def onnx_threads(evidence: Evidence) -> Iterator[Finding]:
    """ONNX Runtime's own choice of threads: not to be relied on, one thread first (LINE)."""
    for model, config in _configs(evidence):
        if _backend(config) != "onnxruntime" or "intra_op_thread_count" in config.parameters:
            continue
        row = heaviest(_as_it_is(evidence, model.name))
        count = sum(max(1, g.count) for g in config.instance_group) or 1
        if row is None or row.host is None or row.environment.device_uuid:
            continue
        if row.host.cpu_cores <= THREADED * count:
            continue
        variant = Variant(model.name, parameters=(("intra_op_thread_count", "1"),))
        if any(r.variant.parameters for r in evidence.points() if r.model == model.name):
            continue
        yield Finding(
            "default-threads",
            model.name,
            "ONNX Runtime chooses the number of threads by itself: try one first.",
            (
                told(row),
                f"{row.host.cpu_cores:.1f} cores in use by {count} instance"
                f"{'s' if count > 1 else ''}, {row.host.system_share:.0%} of it in the kernel",
            ),
            "to be swept",
            change=diff(evidence, variant),
            sweep=sweep(model.name, parameter="intra_op_thread_count=1,2,4"),
            point=row,
            variant=variant,
        )


def accelerators(evidence: Evidence) -> Iterator[Finding]:
    """A GPU that computes most of the time, without what its backend has to make that faster."""
    for model, config in _configs(evidence):
        row = next(iter(_tops(evidence, model.name, gpu=True)), None)
        if row is None or row.server_time is None or row.usage is None:
            continue
        times = row.server_time
        whole = times.compute_input_ms + times.compute_infer_ms + times.compute_output_ms
        used = row.usage.utilization_percent or 0.0
        changed = model_config.new()
        changed.CopyFrom(config)
        if (
            _backend(config) == "onnxruntime"
            and not config.optimization.execution_accelerators.gpu_execution_accelerator
            and whole
            and times.compute_infer_ms >= COMPUTING * whole
            and used >= BUSY_PERCENT
        ):
            added = changed.optimization.execution_accelerators.gpu_execution_accelerator.add()
            added.name = "tensorrt"
            kind, says = "onnx-accelerator", "ONNX Runtime computes without TensorRT."
        elif (
            _backend(config) == "tensorrt"
            and not config.optimization.cuda.graphs
            and 0 < times.compute_infer_ms <= SHORT_MS
            and used < BUSY_PERCENT
        ):
            changed.optimization.cuda.graphs = True
            kind, says = "cuda-graphs", "Short computing and a GPU with room: try CUDA graphs."
        else:
            continue
        yield Finding(
            kind,
            model.name,
            says,
            (
                told(row),
                f"{times.compute_infer_ms:.2f} ms of computing, utilization {used:.0f} %",
            ),
            "to be swept",
            change=config_diff(model.name, config, changed),
            sweep=f"Change a copy of the model, then: {sweep(model.name)}",
            point=row,
        )


def allocators(evidence: Evidence) -> Iterator[Finding]:
    """Memory that an allocator holds beyond what any load needs."""
    for model, config in _configs(evidence):
        backend = _backend(config)
        rows = _as_it_is(evidence, model.name)
        rows = [r for r in rows if r.usage and r.environment.device_uuid]
        if backend not in ALLOCATORS or len(rows) < 2:
            continue
        in_flight = sorted(rows, key=lambda r: r.load.batch_size * (r.load.concurrency or 1))
        light, heavy = in_flight[0], in_flight[-1]
        assert light.usage is not None
        assert heavy.usage is not None
        size = sum(file.stat().st_size for file in model.path.rglob("*") if file.is_file())
        held = light.usage.memory_hot_bytes
        even = abs(heavy.usage.memory_hot_bytes - held) <= MOST_VARIED * held
        if light.load == heavy.load or not even or held < HELD * size + LEAST_HELD_BYTES:
            continue
        who, where = ALLOCATORS[backend]
        yield Finding(
            "memory-held",
            model.name,
            f"It holds {held / 1e9:.2f} GB at the lightest load and at the heaviest, with files of "
            f"{size / 1e9:.2f} GB: {who} took more than is needed.",
            (told(light), told(heavy), f"{held} and {heavy.usage.memory_hot_bytes} bytes"),
            "inferred",
            change=where,
            sweep=f"Set the limit, then: {sweep(model.name)} --remeasure",
            gain=Gain(memory_bytes=int(held - HELD * size)),
            point=light,
        )


def never_called(evidence: Evidence) -> Iterator[Finding]:
    """Models that are loaded and that nothing called since, and versions that are never used."""
    counts: dict[str, dict[str, int]] = {}
    for row in evidence.statistics:
        by_version = counts.setdefault(str(row["name"]), {})
        by_version[str(row["version"])] = _count(row.get("inference_count"))
    if not any(any(versions.values()) for versions in counts.values()):
        return  # a server that has just been started
    for name, versions in counts.items():
        idle = [version for version, count in versions.items() if not count]
        held = _memory(evidence, name)
        if len(idle) == len(versions):
            yield Finding(
                "never-called",
                name,
                "It is loaded, and nothing has called it.",
                (f"Triton's statistics: 0 inferences of {name} since it was loaded",),
                "measured",
                change=f"curl -X POST HOST:8000/v2/repository/models/{name}/unload",
                gain=Gain(memory_bytes=held),
            )
        elif idle:
            used = ", ".join(f"{v}: {count}" for v, count in versions.items() if count)
            yield Finding(
                "version-never-used",
                name,
                f"Version {', '.join(idle)} is loaded, and nothing has called it.",
                (f"Triton's statistics: 0 inferences of version {', '.join(idle)}; {used}",),
                "measured",
                change="+ version_policy { latest { num_versions: 1 } }",
                gain=Gain(memory_bytes=None if held is None else held * len(idle)),
            )


def batches_seen(evidence: Evidence) -> Iterator[Finding]:
    """Preferred batch sizes that Triton has never made."""
    for row in evidence.statistics:
        model = evidence.models.get(str(row["name"]))
        config = model.config if model is not None else None
        stats: Any = row.get("batch_stats") or []
        seen = {_count(one.get("batch_size")) for one in stats}
        if config is None or not seen or not config.HasField("dynamic_batching"):
            continue
        preferred = list(config.dynamic_batching.preferred_batch_size)
        if not preferred or seen & set(preferred):
            continue
        batching = DynamicBatching((), config.dynamic_batching.max_queue_delay_microseconds)
        variant = Variant(str(row["name"]), dynamic_batching=batching)
        yield Finding(
            "preferred-sizes-never-met",
            str(row["name"]),
            f"No batch had a preferred size ({', '.join(map(str, preferred))}).",
            (f"Triton's statistics: batches of {', '.join(map(str, sorted(seen)))}",),
            "measured",
            change=diff(evidence, variant),
            sweep=sweep(str(row["name"]), max_queue_delays_us=batching.max_queue_delay_us),
            variant=variant,
        )


def cache(evidence: Evidence) -> Iterator[Finding]:
    """A response cache that never has the answer, and costs its look-ups."""
    for row in evidence.statistics:
        stats: Any = row.get("inference_stats") or {}
        hits, misses = (_count(stats.get(n, {}).get("count")) for n in ("cache_hit", "cache_miss"))
        model = evidence.models.get(str(row["name"]))
        if misses and not hits and model is not None and model.config is not None:
            changed = model_config.new()
            changed.CopyFrom(model.config)
            changed.ClearField("response_cache")
            yield Finding(
                "cache-never-hits",
                str(row["name"]),
                "Its response cache has never had an answer: inputs do not repeat.",
                (f"Triton's statistics: 0 hits, {misses} misses",),
                "measured",
                change=config_diff(str(row["name"]), model.config, changed),
            )


RULES: tuple[Callable[[Evidence], Iterator[Finding]], ...] = (
    every_gpu,
    cpu_beside_gpu,
    pytorch_switches,
    onnx_threads,
    accelerators,
    allocators,
    never_called,
    batches_seen,
    cache,
)


def _configs(evidence: Evidence) -> Iterator[tuple[ModelDirectory, ModelConfig]]:
    """Models that run somewhere themselves, with their configurations."""
    for model in evidence.models.values():
        if model.config is not None and not model.config.HasField("ensemble_scheduling"):
            yield model, model.config


def _kind(group: Any) -> str:
    return str(type(group).Kind.Name(group.kind))


def _backend(config: ModelConfig) -> str:
    """The backend, also of models that name their platform."""
    return str(config.backend) or str(config.platform).partition("_")[0]


def _tops(evidence: Evidence, model: str, *, gpu: bool = False) -> Iterator[Measurement]:
    """The heaviest point of the model as configured, on each device type."""
    for rows in evidence.groups():
        top = heaviest([r for r in rows if r.model == model and as_configured(r.variant)])
        if top is not None and (top.environment.device_uuid or not gpu):
            yield top


def _as_it_is(evidence: Evidence, model: str) -> list[Measurement]:
    """The points of the model as configured."""
    return [r for r in evidence.points() if r.model == model and as_configured(r.variant)]


def _memory(evidence: Evidence, model: str) -> int | None:
    """What the model holds when idle, by the store."""
    rows = [r for r in evidence.points() if r.model == model and r.usage]
    return max((r.usage.memory_cold_bytes for r in rows if r.usage), default=None)


def _count(value: object) -> int:
    return int(str(value)) if value is not None and str(value).isdecimal() else 0
