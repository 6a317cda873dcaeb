"""What a change is worth in devices, by placing again; and findings of the placement itself."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from analyzer.advise.finding import Finding, as_configured, told
from placement.explain import words
from placement.layout import Layout
from placement.problem.demands import Demands
from placement.problem.fleet_file import Device
from placement.problem.formulate import formulate
from placement.problem.neighbour_cost import NeighbourCost
from placement.problem.slowdown import SlowdownModel
from placement.solver.result import Deadline
from placement.solver.solve import solve
from profiles.errors import NoAnswerError
from profiles.measurement import Baseline, Measurement

EACH = 0.25  # of the time that is left
LIMITS = {"memory": "max-memory", "utilization": "max-utilization"}
LIMITS |= {"memory_utilization": "max-memory-utilization"}


@dataclass(frozen=True)
class Placing:
    """What models are placed on, and with which demands and limits."""

    baselines: Sequence[Baseline]
    fleet: Sequence[Device]
    demands: Demands = field(default_factory=Demands)
    at_most: Mapping[str, float] = field(default_factory=dict)
    deadline: Deadline = field(default_factory=lambda: Deadline(60.0))  # of all placements together
    slowdown: SlowdownModel = field(default_factory=SlowdownModel)  # of models on one device
    neighbour_costs: Mapping[tuple[str, str], NeighbourCost] = field(default_factory=dict)


def devices(
    rows: Iterable[Measurement], placing: Placing, models: Iterable[str] | None = None
) -> int | None:
    """The devices of the least-priced layout; None where none is proven to be that in time.

    What is not proven is not told: a search that had bad luck would pass for a saving.
    """
    layout = _layout(rows, placing, models)
    return None if layout is None else layout.gpu_count


def _layout(
    rows: Iterable[Measurement], placing: Placing, models: Iterable[str] | None = None
) -> Layout | None:
    try:
        problem = formulate(
            rows,
            placing.baselines,
            placing.fleet,
            placing.demands,
            at_most=placing.at_most,
            models=models,
            slowdown=placing.slowdown,
            neighbour_costs=placing.neighbour_costs,
        ).problem
    except NoAnswerError:
        return None
    result = solve(problem, deadline=placing.deadline.part(EACH), tie_break=False, workers=1)
    return result.layout if result.status == "optimal" else None


def in_devices(finding: Finding, rows: Sequence[Measurement], placing: Placing) -> Finding:
    """The finding with the devices before and after its change.

    A measured change is placed without and with the points of its variant, another one as if it
    brought the middle of what is expected.
    """
    point, variant = finding.point, finding.variant
    if point is None or variant is None or point.usage is None:
        return finding
    if finding.sure == "measured":
        without = [row for row in rows if row.variant != variant or row.variant == point.variant]
        before, after = devices(without, placing), devices(rows, placing)
    elif finding.gain.throughput is not None:
        least, most = finding.gain.throughput
        more = 1 + (least + most) / 2
        used = point.usage.utilization_percent
        expected = replace(
            point,
            variant=variant,
            throughput=point.throughput * more,
            usage=replace(
                point.usage,
                utilization_percent=None if used is None else min(100.0, used * more),
                memory_hot_bytes=point.usage.memory_hot_bytes - (finding.gain.memory_bytes or 0),
            ),
        )
        before, after = devices(rows, placing), devices([*rows, expected], placing)
    else:
        return finding
    return finding if before is None or after is None else replace(finding, devices=(before, after))


def findings(rows: Sequence[Measurement], placing: Placing) -> Iterator[Finding]:
    """A limit, a latency limit or a demand that costs devices."""
    now = devices(rows, placing)
    if now is None:
        return
    for resource, flag in LIMITS.items():
        share = placing.at_most.get(resource, 1.0)
        if share >= 1:
            continue
        at_most = {**placing.at_most, resource: 1.0}
        then = devices(rows, replace(placing, at_most=at_most))
        if then is not None and then < now:
            yield Finding(
                "limit-costs-devices",
                "",
                f"--{flag} {share:.0%} costs {words.devices(now - then)}.",
                (f"placed with it on {words.devices(now)}, with 100 % on {words.devices(then)}",),
                "measured",
                change=f"- --{flag} {share:.0%}\n+ --{flag} 100%",
                sweep=f"model-placer place --{flag} 100%",
                devices=(now, then),
            )
    yield from _variants(rows, placing, now)
    demands = placing.demands.models
    worst: tuple[int, str] | None = None
    for name, demand in demands.items():
        if demand.latency_limit_ms is not None:
            loose = {**demands, name: replace(demand, latency_limit_ms=None)}
            then = devices(rows, replace(placing, demands=replace(placing.demands, models=loose)))
            if then is not None and then < now:
                limit = f"{demand.latency_limit_ms:g} ms at p{demand.percentile}"
                yield Finding(
                    "latency-limit-costs-devices",
                    name,
                    f"Its latency limit of {limit} costs {words.devices(now - then)}.",
                    (f"placed with it on {words.devices(now)}, without on {words.devices(then)}",),
                    "measured",
                    change=f"- latency_limit_ms: {demand.latency_limit_ms:g}",
                    sweep="model-placer place --demand FILE",
                    devices=(now, then),
                )
        others = [model for model in dict.fromkeys(r.model for r in rows) if model != name]
        if demand.rate is None or not others or len(demands) < 2:
            continue
        then = devices(rows, _without(placing, name), others)
        if then is not None and now - then >= 2 and (worst is None or now - then > worst[0]):
            worst = now - then, name
    if worst is not None:
        cost, name = worst
        best = max((r for r in rows if r.model == name), key=lambda r: r.throughput)
        yield Finding(
            "dearest-demand",
            name,
            f"Its demand of {demands[name].rate:g} inferences/s costs {words.devices(cost)} of "
            f"{now}: the first model to make faster.",
            (
                f"placed with it on {words.devices(now)}, without on {words.devices(now - cost)}",
                told(best),
            ),
            "measured",
            sweep=f"model-placer advise --models {name}",
            devices=(now, now - cost),
        )


def _variants(rows: Sequence[Measurement], placing: Placing, now: int) -> Iterator[Finding]:
    """A model that must not be left as configured, or devices more are needed."""
    for model in dict.fromkeys(row.model for row in rows):
        own = [r for r in rows if r.model == model and as_configured(r.variant)]
        if not own or len(own) == sum(r.model == model for r in rows):
            continue
        kept = [r for r in rows if r.model != model or as_configured(r.variant)]
        then = devices(kept, placing)
        if then is None or then <= now:
            continue
        layout = _layout(rows, placing)
        chosen = [
            r
            for device in (layout.devices if layout else ())
            for r in device.residents
            if r.model == model and r.variant is not None and not as_configured(r.variant)
        ]
        if not chosen or chosen[0].variant is None:
            continue
        best = [r for r in rows if r.variant == chosen[0].variant and r.load == chosen[0].load]
        yield Finding(
            "variant-frees-devices",
            model,
            f"As [{chosen[0].variant}] it saves {words.devices(then - now)}.",
            (
                f"placed as configured on {words.devices(then)}, in any measured variant on "
                f"{words.devices(now)}",
                *(told(row) for row in best[:1]),
            ),
            "measured",
            change=f"{model}: {chosen[0].variant} (`export` of the layout writes it)",
            sweep="model-placer place -o layout.yaml",
            devices=(then, now),
        )


def _without(placing: Placing, name: str) -> Placing:
    left = {model: demand for model, demand in placing.demands.models.items() if model != name}
    return replace(placing, demands=replace(placing.demands, models=left))
