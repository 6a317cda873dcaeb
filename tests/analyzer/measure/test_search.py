"""The search finds the grid's best with few of its points, and remembers what it knows."""

from dataclasses import replace

import pytest

from analyzer.measure.grid import Point, Sweep, loads, variants
from analyzer.measure.search import next_point
from profiles.environment import Environment
from profiles.measurement import Latency, Measurement, Usage

SWEEP = Sweep(
    batch_sizes=(1, 2, 4, 8, 16),
    concurrency=(1, 2, 4, 8, 16),
    instance_counts=(1, 2, 4),
    parameters=(("intra_op_thread_count", ("1", "2")),),
)


def a_grid(sweep=SWEEP) -> list[Point]:
    return [Point(v, load, "") for v in variants("bert", sweep) for load in loads(sweep)]


def on_four_cores(point: Point) -> Measurement:
    """A made-up server: 10 ms a request plus 1 ms an inference on one core, four cores.

    More threads than cores cost 20 %. Throughput grows with what is in flight up to the cores.
    """
    threads = int(dict(point.variant.parameters)["intra_op_thread_count"])
    instances = point.variant.instance_count or 1
    concurrency, batch = point.load.concurrency or 1, point.load.batch_size
    service_s = (0.010 + 0.001 * batch) / threads**0.8
    at_once = min(instances, concurrency)
    if at_once * threads > 4:
        service_s *= 1.2 * at_once * threads / 4
    rate = at_once / service_s
    latency_ms = 1000 * concurrency / rate
    return Measurement(
        point.variant,
        point.load,
        "Tesla T4",
        Environment(),
        throughput=rate * batch,
        latency=Latency(latency_ms, *[latency_ms] * 5),
        usage=Usage(0, instances * (100 + batch), min(100, 25 * at_once * threads)),
    )


def search(grid, measure=on_four_cores, **goal) -> dict[Point, Measurement]:
    known: dict[Point, Measurement] = {}
    while (point := next_point(grid, known, **goal)) is not None:
        assert point not in known
        known[point] = measure(point)
    return known


def test_most_throughput_with_a_sixth_of_the_points():
    """150 points; at least 95 % of the best with at most 15 % of them, which is 22."""
    grid = a_grid()
    known = search(grid)
    best = max(on_four_cores(point).throughput for point in grid)
    assert max(m.throughput for m in known.values()) >= 0.95 * best
    assert len(known) <= 0.15 * len(grid)


@pytest.mark.parametrize("limit_ms", [15, 30, 100])
def test_a_latency_limit_is_kept(limit_ms: float):
    """Here too at least 95 % of the best within the limit, with at most a sixth of the points."""
    grid = a_grid()
    known = search(grid, latency_limit_ms=limit_ms)
    assert len(known) <= len(grid) / 6
    inside = [m for p in grid if (m := on_four_cores(p)).latency.p95_ms <= limit_ms]
    found = [m for m in known.values() if m.latency.p95_ms <= limit_ms]
    assert max(m.throughput for m in found) >= 0.95 * max(m.throughput for m in inside)


def test_a_limit_that_the_middle_misses_is_kept_at_the_least_load():
    """12 ms at one in flight and batch 1, and more at any other: only few points keep 13 ms."""
    known = search(a_grid(), latency_limit_ms=13)
    assert any(m.latency.p95_ms <= 13 for m in known.values())


def test_pareto_also_finds_what_needs_least_memory():
    known = search(a_grid(), goal="pareto")
    best = max(
        on_four_cores(p).throughput / on_four_cores(p).usage.memory_hot_bytes for p in a_grid()
    )
    found = max(m.throughput / m.usage.memory_hot_bytes for m in known.values())
    assert found >= 0.9 * best


def test_what_fails_is_walked_around():
    def out_of_memory_from_batch_8(point: Point) -> Measurement:
        measured = on_four_cores(point)
        if point.load.batch_size < 8:
            return measured
        return replace(
            measured, status="failed", reason="out of memory", throughput=0, latency=None
        )

    known = search(a_grid(), out_of_memory_from_batch_8)
    good = [m for m in known.values() if m.status == "ok"]
    assert max(m.load.batch_size for m in good) == 4


def test_a_grid_of_one_point_is_measured_once():
    grid = a_grid(Sweep(batch_sizes=(1,), concurrency=(1,), parameters=SWEEP.parameters))[:1]
    assert list(search(grid)) == grid


def test_a_limit_on_a_stream_is_a_limit_as_that_of_latency():
    """The time to the first response is a tenth of the latency here: 5 ms there is 50 ms."""

    def streaming(point: Point) -> Measurement:
        m = on_four_cores(point)
        assert m.latency is not None
        return replace(m, first_response=Latency(*[m.latency.p50_ms / 10] * 6))

    known = search(a_grid(), streaming, limits_ms={"first_response": 5.0}).values()
    good = [m for m in known if m.first_response and m.first_response.p95_ms <= 5.0]
    best = max(good, key=lambda m: m.throughput)
    same = search(a_grid(), latency_limit_ms=50.0).values()
    assert best.throughput == max(
        m.throughput for m in same if m.latency and m.latency.p95_ms <= 50.0
    )
