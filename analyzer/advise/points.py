"""Findings that the measured points tell: each rule takes the points of a model on a device type.

A difference counts when the confidence intervals of two throughputs do not meet (`surely_more`).
Sources of the thresholds stand beside them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise

from analyzer.advise.change import diff, sweep
from analyzer.advise.finding import (
    Evidence,
    Finding,
    Gain,
    as_configured,
    by_variant,
    half_width,
    heaviest,
    instances,
    surely_more,
    told,
)
from profiles.measurement import Measurement
from profiles.variant import DynamicBatching, Variant, WarmUp

Rows = Sequence[Measurement]

THROTTLED = 0.05  # of the periods of the CPU quota
SYSTEM_SHARE = 0.14  # of CPU time in the kernel: LINE's symptom of too many threads
QUEUED = 0.5  # of the time in the server: from here on a request mostly waits
ROOM_PERCENT = 75.0  # of utilization: below, the device could do more
FULL_PERCENT = 80.0
WORTH = 0.05  # gains below are not told
KNEE = 0.10  # more throughput with the last more requests in flight: the knee is not reached
OUTSIDE = 0.5  # of the client's latency, spent outside the server
SLOW_MS = 1.0  # outside the server, below which the HTTP front end itself is what is seen
NOISY = 0.10  # half-width of a throughput that did not settle
SAME = 0.02  # of memory: no difference
NO_MORE = 1.15  # times as much at the very most: nothing that is worth the price
THREADS = ("intra_op_thread_count", "INTRA_OP_THREAD_COUNT")
WARM_UPS = 5  # requests, as a first try
MIB = 1 << 20


def throttled(evidence: Evidence, rows: Rows) -> Iterator[Finding]:
    """Threads beyond the cgroup's limit: the kernel holds them (LINE: 300 ms became 10 ms)."""
    held = [r for r in rows if r.host and r.host.throttled_share > THROTTLED]
    if not held:
        return
    row = max(held, key=lambda r: r.host.throttled_share if r.host else 0.0)
    assert row.host is not None
    limit = row.host.cpu_limit_cores
    count = instances(evidence, row.variant) or 1
    each = max(1, int((limit or 1) // count))
    key, threads = _threads(evidence, row.variant)
    variant = None if key is None or threads == each else _with(row.variant, key, str(each))
    yield Finding(
        "throttled",
        row.model,
        "The CPU limit holds the server's threads: use fewer of them, or raise the limit.",
        (
            told(row),
            f"held in {row.host.throttled_share:.0%} of the periods of the limit"
            + (f" of {limit:g} cores" if limit else "")
            + f", {row.host.throttled_s_per_s:.2f} s per second",
        ),
        "to be swept",
        change=diff(evidence, variant) if variant else "Fewer threads or instances, or more CPU.",
        sweep=sweep(row.model, parameter=f"{key}=1,{each}" if key else "intra_op_thread_count=1"),
        point=row,
        variant=variant,
    )


def threads(evidence: Evidence, rows: Rows) -> Iterator[Finding]:
    """More threads than cores, and the kernel busy with them: one thread first (LINE)."""
    for row in _each_heaviest(rows):
        host, cores = row.host, row.extra.get("device_cores")
        key, each = _threads(evidence, row.variant)
        if host is None or cores is None or key is None or each is None or each < 2:
            continue
        limit = min(cores, host.cpu_limit_cores or cores)
        count = instances(evidence, row.variant) or 1
        if each * count <= limit or host.system_share < SYSTEM_SHARE:
            continue
        variant = _with(row.variant, key, "1")
        if any(other.variant == variant for other in rows):
            continue  # `better` tells what was measured
        yield Finding(
            "threads-beyond-cores",
            row.model,
            f"{count} × {each} threads share {limit:g} cores: start with one thread.",
            (
                told(row),
                f"{host.system_share:.0%} of the CPU time in the kernel, "
                f"{host.context_switches_per_s:.0f} context switches per second",
            ),
            "to be swept",
            change=diff(evidence, variant),
            sweep=sweep(row.model, parameter=f"{key}=1,{each}"),
            point=row,
            variant=variant,
        )


def queue(evidence: Evidence, rows: Rows) -> Iterator[Finding]:
    """Time mostly in the queue while the device has room: more instances, or batches."""
    measured = by_variant(rows)
    row = heaviest([r for r in rows if as_configured(r.variant)]) or heaviest(rows)
    if row is None or row.server_time is None:
        return
    times = row.server_time
    served = times.compute_input_ms + times.compute_infer_ms + times.compute_output_ms
    share = times.queue_ms / (times.queue_ms + served) if served else 0.0
    used = row.usage.utilization_percent if row.usage else None
    count = instances(evidence, row.variant)
    if share < QUEUED:
        return
    facts = (
        told(row),
        f"{share:.0%} of the time in the server is spent in the queue ({times.queue_ms:.2f} of "
        f"{times.queue_ms + served:.2f} ms)"
        + ("" if used is None else f", utilization {used:.0f} %"),
    )
    yield from _batching(evidence, row, rows, facts)
    config = evidence.config(row.variant)
    ensemble = config is not None and config.HasField("ensemble_scheduling")
    if count is None or used is None or used >= ROOM_PERCENT or ensemble:
        return
    if count >= (row.load.concurrency or 1):
        return
    more = replace(row.variant, instance_count=2 * count)
    if any((instances(evidence, v) or 0) > count for v in measured):
        return  # it was measured: `better` and `idle_instances` tell what came of it
    most = min(2.0, 100 / max(used, 1.0)) - 1
    yield Finding(
        "more-instances",
        row.model,
        f"Requests wait for {count} instance{'s' if count > 1 else ''} while the device has room: "
        f"run {2 * count}.",
        facts,
        "inferred",
        change=diff(evidence, more),
        sweep=sweep(row.model, instance_counts=f"{count},{2 * count}"),
        gain=_faster(0.3 * most, most),
        point=row,
        variant=more,
    )


def _batching(
    evidence: Evidence, row: Measurement, rows: Rows, facts: tuple[str, ...]
) -> Iterator[Finding]:
    """Larger batches of the client are faster, and the server makes none of its own."""
    config = evidence.config(row.variant)
    if config is None or config.max_batch_size < 2 or config.HasField("dynamic_batching"):
        return
    if config.HasField("sequence_batching") or config.HasField("ensemble_scheduling"):
        return
    if any(r.variant.dynamic_batching for r in rows):
        return
    same = [r for r in rows if r.variant == row.variant and r.load.concurrency]
    ones = [r for r in same if r.load.batch_size == 1]
    one = heaviest(ones)
    larger = [r for r in same if one and r.load.batch_size > 1]
    best = max(larger, key=lambda r: r.throughput, default=None)
    if one is None or best is None or not surely_more(best, one):
        return
    in_flight = one.load.concurrency or 1
    reach = min(in_flight, config.max_batch_size, best.load.batch_size)
    most = (best.throughput / one.throughput - 1) * (reach - 1) / (best.load.batch_size - 1)
    if most < WORTH or reach < 2:
        return
    variant = replace(row.variant, dynamic_batching=DynamicBatching())
    yield Finding(
        "dynamic-batching",
        row.model,
        "Requests wait one by one, and the model serves batches faster: let Triton make them.",
        (*facts, f"by itself: {told(one)}", f"in batches: {told(best)}"),
        "inferred",
        change=diff(evidence, variant),
        sweep=sweep(row.model, max_queue_delays_us="0,100"),
        gain=_faster(0.25 * most, most),
        point=one,
        variant=variant,
    )


def queue_delay(evidence: Evidence, rows: Rows) -> Iterator[Finding]:
    """Batching that waits for nothing: the delay costs latency and brings no throughput."""
    for variant, own in by_variant(rows).items():
        batching = _batcher(evidence, variant)
        if batching is None or not batching.max_queue_delay_us:
            continue
        delay_ms = batching.max_queue_delay_us / 1000
        changed = replace(variant, dynamic_batching=replace(batching, max_queue_delay_us=0))
        pairs = [
            (row, other)
            for row in own
            for other in rows
            if other.load == row.load and other.variant == changed
        ]
        waits = [r for r in own if r.server_time and r.server_time.queue_ms >= 0.5 * delay_ms]
        if pairs:
            if not all(_no_more(row, other) for row, other in pairs):
                continue
            slower = [(r, o) for r, o in pairs if r.latency and o.latency and _slower(r, o)]
            if not slower:
                continue
            row, other = slower[-1]
            facts = (told(row), f"without the delay: {told(other)}")
            gain, sure = _between(row, other), "measured"
        else:
            alone = [r for r in waits if r.load.concurrency == 1]
            if not alone:
                continue
            row = alone[0]
            assert row.server_time is not None
            assert row.latency is not None
            least = row.server_time.queue_ms / row.latency.mean_ms if row.latency.mean_ms else 0
            facts = (
                told(row),
                f"a request that is alone waits {row.server_time.queue_ms:.2f} ms of the delay of "
                f"{delay_ms:g} ms for others that do not come",
            )
            gain, sure = Gain(latency=(-least, -0.5 * least)), "inferred"
        yield Finding(
            "queue-delay-for-nothing",
            row.model,
            f"The batcher's delay of {batching.max_queue_delay_us} us costs latency and brings no "
            "throughput.",
            facts,
            "measured" if sure == "measured" else "inferred",
            change=diff(evidence, changed),
            sweep=sweep(row.model, max_queue_delays_us=f"0,{batching.max_queue_delay_us}"),
            gain=gain,
            point=row,
            variant=changed,
        )


def preferred_sizes(evidence: Evidence, rows: Rows) -> Iterator[Finding]:
    """Preferred batch sizes above all that was ever in flight are never met."""
    for variant, own in by_variant(rows).items():
        batching = _batcher(evidence, variant)
        row = heaviest(own)
        if batching is None or row is None or not batching.preferred_batch_sizes:
            continue
        in_flight = max(r.load.batch_size * (r.load.concurrency or 0) for r in own)
        least = min(batching.preferred_batch_sizes)
        if least <= in_flight or row.server_time is None:
            continue
        changed = replace(variant, dynamic_batching=replace(batching, preferred_batch_sizes=()))
        yield Finding(
            "preferred-sizes-never-met",
            row.model,
            f"At most {in_flight} inferences are in flight: a preferred batch of {least} is never "
            "full.",
            (told(row), f"{row.server_time.queue_ms:.2f} ms in the queue"),
            "inferred",
            change=diff(evidence, changed),
            sweep=sweep(row.model, max_queue_delays_us="0", concurrency=f"{least},{2 * least}"),
            point=row,
            variant=changed,
        )


def batch_size(evidence: Evidence, rows: Rows) -> Iterator[Finding]:
    """A client batch beyond which throughput stands still and only latency grows."""
    del evidence
    for own in by_variant(rows).values():
        top = heaviest(own)
        if top is None:
            continue
        level = sorted(
            (r for r in own if r.load.concurrency == top.load.concurrency and r.latency),
            key=lambda r: r.load.batch_size,
        )
        for small, large in pairwise(level):
            if not _no_more(large, small) or not small.latency or not large.latency:
                continue
            grown = large.latency.p50_ms / small.latency.p50_ms if small.latency.p50_ms else 1.0
            if grown < 1 + 0.7 * (large.load.batch_size / small.load.batch_size - 1):
                continue
            yield Finding(
                "batches-stand-still",
                small.model,
                f"Batches beyond {small.load.batch_size} bring no throughput, only latency.",
                (told(small), told(large)),
                "measured",
                change=f"Clients send batches of {small.load.batch_size} at most.",
                sweep=sweep(
                    small.model,
                    batch_sizes=f"{small.load.batch_size},{large.load.batch_size}",
                    concurrency=small.load.concurrency,
                ),
                gain=_between(large, small),
                point=large,
            )
            break


def idle_instances(evidence: Evidence, rows: Rows) -> Iterator[Finding]:
    """Instances that cost memory and bring nothing: fewer of them serve as much."""
    variants = by_variant(rows)
    for variant, own in variants.items():
        count = instances(evidence, variant)
        if count is None or count < 2 or not _in_use(evidence, variant, variants):
            continue
        fewer = [
            (other, n)
            for other in variants
            if (n := instances(evidence, other)) is not None
            and n < count
            and replace(other, instance_count=None) == replace(variant, instance_count=None)
        ]
        for other, n in sorted(fewer, key=lambda pair: pair[1]):
            pairs = [(r, o) for r in own for o in variants[other] if r.load == o.load]
            pairs = [(r, o) for r, o in pairs if r.usage and o.usage]
            if not pairs or not all(_no_more(r, o) for r, o in pairs):
                continue
            row, less = max(pairs, key=lambda pair: pair[0].load.concurrency or 0)
            if (row.load.concurrency or 0) < count:
                continue  # it was never asked of them
            assert row.usage is not None
            assert less.usage is not None
            saved = row.usage.memory_hot_bytes - less.usage.memory_hot_bytes
            if saved < max(MIB, SAME * row.usage.memory_hot_bytes):
                continue
            yield Finding(
                "instances-for-nothing",
                row.model,
                f"{count} instances bring no more than {n}, and cost {saved / MIB:.0f} MiB more.",
                (told(row), f"with {n}: {told(less)}"),
                "measured",
                change=diff(evidence, other),
                sweep=sweep(row.model, instance_counts=f"{n},{count}"),
                gain=replace(_between(row, less), memory_bytes=saved),
                point=row,
                variant=other,
            )
            break


def knee(evidence: Evidence, rows: Rows) -> Iterator[Finding]:
    """The highest load tried is not the most that the model can do."""
    del evidence
    for own in by_variant(rows).values():
        top = heaviest(own)
        if top is None or not top.load.concurrency or top.load.concurrency < 2:
            continue
        lower = [
            r
            for r in own
            if r.load.batch_size == top.load.batch_size
            and (r.load.concurrency or 0) < top.load.concurrency
        ]
        before = heaviest(lower)
        used = top.usage.utilization_percent if top.usage else None
        if before is None or (used is not None and used >= FULL_PERCENT):
            continue
        more = top.throughput / before.throughput - 1
        if more < KNEE or not surely_more(top, before):
            continue
        levels = sorted({r.load.concurrency or 1 for r in own})
        asked = [*levels, 2 * levels[-1], 4 * levels[-1]]
        command = sweep(top.model, concurrency=",".join(map(str, asked)))
        yield Finding(
            "knee-not-reached",
            top.model,
            f"At {top.load.concurrency} requests in flight throughput still grows"
            + ("" if used is None else " and the device has room")
            + ": the most that it can do was not measured.",
            (
                told(before),
                told(top),
                "utilization was not measured" if used is None else f"utilization {used:.0f} %",
            ),
            "measured",
            change=f"- --concurrency {','.join(map(str, levels))}\n"
            f"+ --concurrency {','.join(map(str, asked))}",
            sweep=command,
            point=top,
        )
        return


def better(evidence: Evidence, rows: Rows) -> Iterator[Finding]:
    """A measured variant that serves surely more than the model as it is configured."""
    variants = by_variant(rows)
    own = _own(evidence, variants)
    if own is None:
        return
    best: tuple[float, Measurement, Measurement] | None = None
    for variant, others in variants.items():
        if variant == own:
            continue
        for other in others:
            same = [r for r in variants[own] if r.load == other.load]
            if not same or not surely_more(other, same[0]):
                continue
            gain = other.throughput / same[0].throughput - 1
            if gain >= WORTH and (best is None or gain > best[0]):
                best = gain, same[0], other
    if best is None:
        return
    _, row, other = best
    yield Finding(
        "better-variant",
        row.model,
        f"[{other.variant}] serves more than the model as it is configured.",
        (told(row), told(other)),
        "measured",
        change=diff(evidence, other.variant),
        sweep=_sweep_of(other.variant),
        gain=_between(row, other),
        point=row,
        variant=other.variant,
    )


def worse_switches(evidence: Evidence, rows: Rows) -> Iterator[Finding]:
    """A parameter that the configuration sets and without which the model is faster.

    Turning all of PyTorch's switches on took 53 to 29 infer/s in one case: they are measured.
    """
    variants = by_variant(rows)
    own = _own(evidence, variants)
    if own is None:
        return
    for variant in variants:
        changed = {key: v for key, v in variant.parameters if dict(own.parameters).get(key) != v}
        if not changed or replace(variant, parameters=own.parameters) != own:
            continue
        pairs = [(r, o) for r in variants[own] for o in variants[variant] if r.load == o.load]
        hurt = [(r, o) for r, o in pairs if surely_more(r, o)]
        if not hurt or any(surely_more(o, r) for r, o in pairs):
            continue
        row, other = max(hurt, key=lambda pair: pair[0].throughput / pair[1].throughput)
        words = ", ".join(f"{key}={value}" for key, value in changed.items())
        yield Finding(
            "switch-that-hurts",
            row.model,
            f"{words} makes the model slower: leave it as it is.",
            (told(row), told(other)),
            "measured",
            change="None: the configuration is right as it is.",
            gain=Gain(),
            point=row,
        )


def client(evidence: Evidence, rows: Rows) -> Iterator[Finding]:
    """The load generator was what limited a point."""
    del evidence
    limited = [(r, w) for r in rows for w in r.warnings if _of_client(w)]
    if limited:
        row, words = limited[0]
        yield Finding(
            "client-limits",
            row.model,
            f"The client limits {len({id(r) for r, _ in limited})} of {len(rows)} points: the "
            "server may be faster.",
            (told(row), words),
            "measured",
            change="Larger batches, --shared-memory, or a client on cores of its own (--cpus).",
            sweep=sweep(row.model, remeasure="").replace(" ''", ""),
            point=row,
        )


def network(evidence: Evidence, rows: Rows) -> Iterator[Finding]:
    """Most of the latency is spent outside the server."""
    del evidence
    outside = [
        (r.latency.mean_ms - _in_server(r), r)
        for r in rows
        if r.latency
        and r.server_time
        and not any(map(_of_client, r.warnings))
        # Of streams the latency is to the last response; at a rate, from when it was due.
        and r.load.concurrency
        and not r.responses
    ]
    slow = [
        (ms, r) for ms, r in outside if r.latency and ms > max(SLOW_MS, OUTSIDE * r.latency.mean_ms)
    ]
    if slow:
        ms, row = max(slow, key=lambda pair: pair[0])
        assert row.latency is not None
        yield Finding(
            "time-outside-the-server",
            row.model,
            "Most of the latency is spent between client and server.",
            (
                told(row),
                f"{ms:.2f} of {row.latency.mean_ms:.2f} ms are spent outside the server",
            ),
            "measured",
            change="A nearer client, smaller tensors, or --shared-memory on the same machine.",
            sweep=f"{sweep(row.model)} --shared-memory --remeasure",
            point=row,
        )


def disturbed(evidence: Evidence, rows: Rows) -> Iterator[Finding]:
    """Others on the GPU, or clocks that were held: the figures are not the model's alone."""
    del evidence
    for kind, begins, says, change in (
        (
            "others-on-the-device",
            "other processes used",
            "Other programs ran on the GPU while it was measured.",
            "Measure with the GPU to itself.",
        ),
        (
            "clocks-held",
            "the GPU's clocks were throttled",
            "The GPU's clocks were held down while it was measured.",
            "Look at its cooling and power limit; nvidia-smi --lock-gpu-clocks makes runs alike.",
        ),
    ):
        spoilt = [(r, w) for r in rows for w in r.warnings if w.startswith(begins)]
        if spoilt:
            row, words = spoilt[0]
            yield Finding(
                kind,
                row.model,
                says,
                (told(row), words, f"{len(spoilt)} of {len(rows)} points"),
                "measured",
                change=change,
                sweep=f"{sweep(row.model)} --remeasure",
                point=row,
            )


def warm_up(evidence: Evidence, rows: Rows) -> Iterator[Finding]:
    """Requests that got faster while they were measured: the model was not warm."""
    for variant, own in by_variant(rows).items():
        config = evidence.config(variant)
        fell = [
            (r, w)
            for r in own
            for w in r.warnings
            if w.startswith("latency fell by") and not any(_of_client(n) for n in r.warnings)
        ]
        if len(fell) < 2 or config is None or len(config.model_warmup):
            continue  # one such point may be chance
        if config.HasField("sequence_batching") or config.HasField("ensemble_scheduling"):
            continue
        warm = replace(variant, warm_up=WarmUp(WARM_UPS))
        row, words = fell[0]
        yield Finding(
            "first-requests-slow",
            row.model,
            "Its first requests are slow: let each instance answer some before it is ready.",
            (told(row), words, f"so at {len(fell)} of {len(own)} points"),
            "inferred",
            change=diff(evidence, warm) or "model_warmup, with the dims that requests have",
            sweep=f"{sweep(row.model, warm_ups=f'0,{WARM_UPS}')} --remeasure",
            point=row,
        )
        return


def noise(evidence: Evidence, rows: Rows) -> Iterator[Finding]:
    """Points that are too uncertain to decide by: no other rule looks at them."""
    del evidence
    open_ones = [r for r in rows if noisy(r)]
    if open_ones:
        row = max(open_ones, key=half_width)
        yield Finding(
            "noisy-points",
            row.model,
            f"{len(open_ones)} of {len(rows)} points did not settle: nothing is built on them.",
            (told(row), *row.warnings[:2]),
            "measured",
            change="Measure longer, on a machine with nothing else to do.",
            sweep=f"{sweep(row.model)} --max-duration 60s --remeasure",
            point=row,
        )


RULES: tuple[Callable[[Evidence, Rows], Iterator[Finding]], ...] = (
    throttled,
    threads,
    better,
    queue,
    queue_delay,
    preferred_sizes,
    batch_size,
    idle_instances,
    knee,
    worse_switches,
    network,
)
OF_DOUBT: tuple[Callable[[Evidence, Rows], Iterator[Finding]], ...] = (
    client,
    disturbed,
    warm_up,
    noise,
)


def noisy(row: Measurement) -> bool:
    """Whether a point is too uncertain to decide by."""
    open_ = row.confidence is not None and not row.confidence.reached
    return open_ and half_width(row) > NOISY


def _of_client(warning: str) -> bool:
    return warning.startswith("the client ")


def _each_heaviest(rows: Rows) -> list[Measurement]:
    tops = [heaviest(own) for own in by_variant(rows).values()]
    return [row for row in tops if row is not None]


def _threads(evidence: Evidence, variant: Variant) -> tuple[str | None, int | None]:
    """The parameter that sets the threads of an instance, and its value."""
    known = dict(variant.parameters)
    config = evidence.config(variant)
    if config is not None:
        known = {key: config.parameters[key].string_value for key in config.parameters} | known
    key = next((key for key in THREADS if key in known), None)
    if key is None:
        return None, None
    return key, int(known[key]) if known[key].strip().isdecimal() else None


def _with(variant: Variant, key: str, value: str) -> Variant:
    parameters = {**dict(variant.parameters), key: value}
    return replace(variant, parameters=tuple(sorted(parameters.items())))


def _batcher(evidence: Evidence, variant: Variant) -> DynamicBatching | None:
    if variant.dynamic_batching is not None:
        return variant.dynamic_batching
    config = evidence.config(variant)
    if config is None or not config.HasField("dynamic_batching"):
        return None
    batcher = config.dynamic_batching
    return DynamicBatching(
        tuple(batcher.preferred_batch_size), batcher.max_queue_delay_microseconds
    )


def _in_use(
    evidence: Evidence, variant: Variant, variants: dict[Variant, list[Measurement]]
) -> bool:
    """Whether the model runs so: as configured, or in no way that is known."""
    own = _own(evidence, variants)
    return own is None or own == variant


def _own(evidence: Evidence, variants: dict[Variant, list[Measurement]]) -> Variant | None:
    """The measured variant that is the model as configured, spelled out or not."""
    plain = next((variant for variant in variants if as_configured(variant)), None)
    if plain is not None:
        return plain
    config = evidence.config(Variant(next(iter(variants)).model))
    return next((v for v in variants if config is not None and evidence.config(v) == config), None)


def _no_more(row: Measurement, other: Measurement) -> bool:
    """Whether the row brings no more than the other one, as far as both are known."""
    most, least = row.throughput * (1 + half_width(row)), other.throughput * (1 - half_width(other))
    return most <= NO_MORE * least


def _in_server(row: Measurement) -> float:
    times = row.server_time
    assert times is not None
    return (
        times.queue_ms + times.compute_input_ms + times.compute_infer_ms + times.compute_output_ms
    )


def _slower(row: Measurement, other: Measurement) -> bool:
    assert row.latency is not None
    assert other.latency is not None
    return row.latency.p50_ms > other.latency.p50_ms * (1 + half_width(row) + half_width(other))


def _faster(least: float, most: float) -> Gain:
    """With as many requests in flight, latency falls as throughput grows (Little's law)."""
    return Gain((least, most), (1 / (1 + most) - 1, 1 / (1 + least) - 1))


def _between(row: Measurement, other: Measurement) -> Gain:
    """What the other one, which was measured, has more and less."""
    ratio, width = other.throughput / row.throughput, half_width(row) + half_width(other)
    latency = None
    if row.latency and other.latency and row.latency.p50_ms:
        times = other.latency.p50_ms / row.latency.p50_ms
        latency = (times * (1 - width) - 1, times * (1 + width) - 1)
    memory = (
        row.usage.memory_hot_bytes - other.usage.memory_hot_bytes
        if row.usage and other.usage
        else None
    )
    if memory is not None and row.usage and abs(memory) < SAME * row.usage.memory_hot_bytes:
        memory = None
    return Gain((ratio * (1 - width) - 1, ratio * (1 + width) - 1), latency, memory)


def _sweep_of(variant: Variant) -> str:
    options: dict[str, object] = {}
    if variant.instance_count is not None:
        options["instance_counts"] = variant.instance_count
    if variant.max_batch_size is not None:
        options["max_batch_sizes"] = variant.max_batch_size
    if variant.dynamic_batching is not None:
        options["max_queue_delays_us"] = variant.dynamic_batching.max_queue_delay_us
        if variant.dynamic_batching.preferred_batch_sizes:
            sizes = variant.dynamic_batching.preferred_batch_sizes
            options["preferred_batch_sizes"] = ",".join(map(str, sizes))
    command = sweep(variant.model, **options)
    for key, value in variant.parameters:
        command += f" --parameter {key}={value}"
    return f"{command} --remeasure"
