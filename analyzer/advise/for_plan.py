"""`profile --for-plan`: measures only what can still change a layout, and stops when nothing can.

Points that were not measured are taken to be as good as could be hoped: of a variant with measured
points 1.25 times as fast and as frugal per inference as the best of these, of another one twice as
the model's best; with the least memory and latency that the model was seen with. Where even a
placement of all of these costs no less than the layout, by the solver's bound, no result can
change it. Else the model that could lower the price most is measured next, in the variant of which
least is known, at its heaviest load.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from analyzer.measure.bench import Bench, open_bench
from analyzer.measure.grid import Point
from analyzer.measure.loop import Progress, measure_points, missing_points, wanted
from analyzer.measure.options import Options
from analyzer.measure.plan import make_plan
from analyzer.measure.profile import Outcome, keep_baseline
from placement.layout import Layout
from placement.problem.demands import Demand, Demands
from placement.problem.fleet_file import Device
from placement.problem.formulate import formulate
from placement.solver.solve import solve
from profiles.device import DeviceType, find_device
from profiles.environment import Environment
from profiles.errors import InputError, NoAnswerError
from profiles.measurement import Baseline, Latency, Measurement
from profiles.store import ProfileStore
from profiles.up_to_date import up_to_date

OF_KNOWN, OF_NEW = 1.25, 2.0  # times as good as what was measured
SOLVE_S = 3.0
SAME = 1e-6  # of a price


@dataclass(frozen=True)
class Next:
    """What to measure next, and why; no point when nothing can change the layout."""

    point: Point | None
    why: str


def run(
    options: Options,
    layout: Layout,
    on_progress: Callable[[Progress], None],
    say: Callable[[str], None] = lambda _: None,
) -> Outcome:
    """Measure points of the grid while one of them could change the layout.

    Raises InputError for a layout that is no answer for the least hardware, or that is not of the
    device measured here, and as `profile` does.
    """
    if layout.objective != "min-hardware":
        raise InputError(f"--for-plan needs a layout of min-hardware, not of {layout.objective}.")
    plan = make_plan(options, say)
    with ProfileStore(options.store) as store, open_bench(options, plan, say) as bench:
        here = bench.device.device_type
        if here.name not in {device.device_type for device in layout.devices}:
            raise InputError(f"The layout has no {here.name}, which is what is measured here.")
        missing = missing_points(plan.points, store, bench, retry_failed=options.retry_failed)
        say(f"{len(plan.points)} points, of which {len(missing)} were not measured.")
        first = _next(missing, layout, store, here)
        if first.point is None:
            say(first.why)
            return Outcome(wanted(plan.points, store, bench), 0, plan.left_out)
        baseline = keep_baseline(bench, store)
        chosen = _chosen(plan.points, layout, store, bench, say)
        made = measure_points(chosen, bench, baseline, store, on_progress)
        return Outcome(wanted(plan.points, store, bench), len(made), plan.left_out)


def _chosen(
    points: Sequence[Point],
    layout: Layout,
    store: ProfileStore,
    bench: Bench,
    say: Callable[[str], None],
) -> Iterator[Point]:
    while True:
        missing = missing_points(points, store, bench)
        found = _next(missing, layout, store, bench.device.device_type)
        say(found.why)
        if found.point is None:
            return
        yield found.point


def _next(missing: Sequence[Point], layout: Layout, store: ProfileStore, here: DeviceType) -> Next:
    return next_for(missing, layout, store.measurements(), store.baselines(), here)


def next_for(
    missing: Sequence[Point],
    layout: Layout,
    measurements: Sequence[Measurement],
    baselines: Sequence[Baseline],
    here: DeviceType,
) -> Next:
    """The point to measure next for a layout.

    Raises InputError when a model of the layout has no measured point on the device type.
    """
    rows = up_to_date(measurements).rows
    rates = layout.rates()
    useful = [point for point in missing if point.variant.model in rates]
    if not useful:
        return Next(None, "Every point of the layout's models was measured.")
    hoped = {point: _hoped(point, rows, here.name) for point in useful}
    price, _ = _priced(layout, rows, baselines, here)
    best, least = _priced(layout, [*rows, *hoped.values()], baselines, here)
    now = min(layout.price, price)
    if least >= now * (1 - SAME):
        return Next(
            None,
            f"Nothing that was not measured can change the layout: even the best that could be "
            f"hoped costs {least:g}, and it costs {now:g} ({len(useful)} points left unmeasured).",
        )
    by_model = {}
    for model in dict.fromkeys(point.variant.model for point in useful):
        own = [row for point, row in hoped.items() if point.variant.model == model]
        by_model[model] = _priced(layout, [*rows, *own], baselines, here)[0]
    carried = {d.residents[0].model for d in layout.devices if d.residents}
    model = min(by_model, key=lambda name: (by_model[name], name not in carried))
    known = {row.variant for row in rows if row.status == "ok"}
    counts = {point.variant: 0 for point in useful}
    for row in rows:
        if row.variant in counts:
            counts[row.variant] += 1

    def order(point: Point) -> tuple[int, float]:
        load = point.load.batch_size * (point.load.concurrency or point.load.request_rate or 1)
        return counts[point.variant], -load

    own_points = [point for point in useful if point.variant.model == model]
    point = min(own_points, key=order)
    new = "" if point.variant in known else ", of which nothing is known"
    return Next(
        point,
        f"{model} [{point.variant}] {point.load}{new}: the layout costs {now:g}, and could cost "
        f"{by_model[model]:g} (with others {best:g}).",
    )


def _hoped(point: Point, rows: Sequence[Measurement], device_type: str) -> Measurement:
    """The point as good as could be hoped."""
    model = point.variant.model
    own = [
        row
        for row in rows
        if row.model == model
        and row.device_type == device_type
        and row.status == "ok"
        and row.usage
    ]
    if not own:
        raise InputError(
            f"{model} is in the layout, but was never measured on {device_type}: profile it first."
        )
    same = [row for row in own if row.variant == point.variant]
    factor, known = (OF_KNOWN, same) if same else (OF_NEW, own)
    fastest = max(known, key=lambda row: row.throughput)
    throughput = factor * fastest.throughput
    each = [
        row.usage.utilization_percent / row.throughput
        for row in known
        if row.usage and row.usage.utilization_percent is not None
    ]
    used = min(100.0, throughput * min(each) / factor) if each else None
    assert fastest.usage is not None
    memory = min(row.usage.memory_hot_bytes for row in known if row.usage)
    latencies = [row.latency for row in known if row.latency]
    quickest = min(latencies, key=lambda latency: latency.p99_ms) if latencies else None
    return replace(
        fastest,
        variant=point.variant,
        load=point.load,
        throughput=throughput,
        latency=quickest and _scaled(quickest, 1 / factor),
        usage=replace(
            fastest.usage,
            utilization_percent=used,
            memory_hot_bytes=memory,
            memory_cold_bytes=min(memory, fastest.usage.memory_cold_bytes),
        ),
        environment=Environment(triton=fastest.environment.triton),
    )


def _scaled(latency: Latency, factor: float) -> Latency:
    return Latency(
        latency.mean_ms * factor,
        latency.p50_ms * factor,
        latency.p90_ms * factor,
        latency.p95_ms * factor,
        latency.p99_ms * factor,
        latency.max_ms * factor,
    )


def _priced(
    layout: Layout,
    rows: Sequence[Measurement],
    baselines: Sequence[Baseline],
    here: DeviceType,
) -> tuple[float, float]:
    """The price of what carries the layout's rates with these points, and its lower bound."""
    kinds = {device.device_type: device for device in reversed(layout.devices)}
    fleet = []
    at_most: dict[str, float] = {}
    for name, device in kinds.items():
        kind = here if name == here.name else find_device(name)
        fleet.append(Device(name.replace("/", "-"), kind, price=device.price))
        for resource, whole in (("memory", kind.memory_bytes), ("utilization", 100.0)):
            if resource in device.capacity:
                share = min(1.0, device.capacity[resource] / whole)
                at_most[resource] = min(share, at_most.get(resource, 1.0))
    residents = [resident for device in layout.devices for resident in device.residents]
    demands = Demands(
        {
            model: Demand(
                rate=rate,
                latency_limit_ms=next(
                    (r.latency_limit_ms for r in residents if r.model == model), None
                ),
                percentile=next(r.percentile for r in residents if r.model == model),
            )
            for model, rate in layout.rates().items()
            if rate > 0
        }
    )
    resources = [name for name in ("memory", "utilization") if _limits(layout, name)]
    try:
        problem = formulate(
            rows,
            baselines,
            fleet,
            demands,
            limits=resources,
            at_most=at_most,
            models=list(demands.models),
        ).problem
    except NoAnswerError:
        return float("inf"), 0.0
    result = solve(problem, SOLVE_S, tie_break=False, workers=1)
    value = float("inf") if result.value is None else result.value
    return value, 0.0 if result.bound is None else result.bound


def _limits(layout: Layout, resource: str) -> bool:
    return any(resource in device.capacity for device in layout.devices)
