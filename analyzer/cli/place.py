"""`model-placer place`: decide which model goes on which device, in which variant."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from analyzer.cli import values
from analyzer.cli.command import command, emit, log, refuse_idle
from analyzer.cli.options import (
    DURATION,
    NAMES,
    PATH,
    PERCENT,
    dynamic_shape,
    input_data,
    launch_mode,
    launch_options,
    model_repository,
    shapes,
    store,
    triton_image,
)
from analyzer.cli.values import Value, values_of
from analyzer.report import terminal
from analyzer.report.failures import nothing_measured
from analyzer.report.terminal import bar
from analyzer.report.text_table import text_table
from profiles import output_file
from profiles.counted import counted
from profiles.errors import InputError, NoAnswerError

if TYPE_CHECKING:
    from placement.explain.explain import Explanation
    from placement.layout import Layout
    from placement.problem import PlacementProblem
    from placement.problem.formulate import Formulation
    from placement.solver.result import Deadline, Result

T = TypeVar("T")
SOLVING = 0.85  # part of the time limit for the layout; what is left explains it
INTERRUPTED = 130  # exit code, though the best so far was printed
EXPLAINING = 0.8  # part of what is left then
FROM_STORE = ("fleet", "device", "device_memory", "count", "demand", "models")  # not with --problem
BAR = 33  # characters of a bar, its percents and the space between
NARROW = 80  # characters of a line, where there is no terminal
SLOWED = 10  # notes of replicas that are slowed, at most


@command("place")
@store()
@click.option(
    "--objective",
    type=click.Choice(["min-hardware", "max-throughput"]),
    default="min-hardware",
    help="Least price for everything, or most throughput on a given fleet.",
)
@click.option(
    "--fairness",
    type=click.Choice(["sum", "max-min"]),
    default="sum",
    help="max-throughput: the weighted sum, or the factor by which all can grow together.",
)
@click.option("--fleet", type=PATH, help="Fleet file (YAML).")
@click.option("--device", help='Instead of a fleet file: one device type, such as "Tesla T4".')
@click.option("--device-memory", help="Memory of --device, when Model Placer does not know it.")
@click.option("--count", type=click.IntRange(min=1), help="How many of --device there are.")
@click.option("--models", type=NAMES, help="Place these only.")
@click.option("--max-memory", type=PERCENT, default="100%")
@click.option("--max-utilization", type=PERCENT, default="100%")
@click.option("--max-memory-utilization", type=PERCENT, default="100%")
@click.option("--max-power", type=PERCENT, default="100%")
@click.option("--max-cpu", type=PERCENT, default="100%")
@click.option("--max-host-memory", type=PERCENT, default="100%")
@click.option(
    "--limits",
    type=Value(values_of(str), "resources,..."),
    default="memory,utilization,memory_utilization",
    help="What limits how much shares a device; also power, cpu, host_memory.",
)
@click.option("--demand", type=PATH, help="Demand file (YAML).")
@click.option("--current", type=PATH, help="The layout that runs now.")
@click.option("--max-moves", type=click.IntRange(min=0), help="Move at most so many replicas.")
@click.option(
    "--move-price",
    type=Value(values.amount, "number"),
    default=0.0,
    help="Price of a replica that is not where it runs now; 0: moves are free.",
)
@click.option(
    "--repair",
    is_flag=True,
    help="The fewest moves from --current after which everything holds, then the least price.",
)
@click.option("--exclude-device", multiple=True, help="A device that is lost; may be repeated.")
@click.option("--problem", type=PATH, help="Problem file, not a store.")
@click.option("--time-limit", type=DURATION, default="30s")
@click.option("--seed", type=click.IntRange(0, 2**31 - 1000), default=0)
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    help="Cores to search on; with 1 a seed gives the same answer.  [default: all, at most 8]",
)
@click.option(
    "--frontier",
    type=click.Choice(["throughput", "price"]),
    is_flag=False,
    flag_value="throughput",
    help="The whole curve over 1..N devices: what they carry at most, or cost at least.",
)
@click.option("--explain", is_flag=True, help="Say why this many devices, at length, and what if.")
@click.option(
    "--slowdown/--no-slowdown",
    default=True,
    help="Count in what the store knows of models that slow each other on one device.",
)
@click.option(
    "--max-slowdown",
    type=PERCENT,
    help="min-hardware: what a model without a rate may lose beside its neighbours, e.g. 10%.",
)
@click.option(
    "--verify",
    is_flag=True,
    help="Run the layout under load, learn, and place again until it holds; needs -m.",
)
@model_repository("For --verify.", required=False)
@click.option("--duration", type=DURATION, default="10s", help="--verify: of the load.")
@click.option("--tolerance", type=PERCENT, default="10%", help="--verify: how far it may be off.")
@click.option("--rounds", type=click.IntRange(min=1), default=4, help="--verify: at most so many.")
@launch_mode(["local", "docker"], "--verify: how Tritons are started.")
@triton_image("--verify in Docker mode: Triton's image.")
@input_data("--verify: what requests carry.")
@shapes("--verify: dims of an input that the model leaves open; repeatable.")
@dynamic_shape
@click.option("-o", "--output", type=PATH, help="Write the layout (YAML).")
@click.option("--answer", type=PATH, help="Write the whole answer (JSON), for `report`.")
@click.pass_context
def place(ctx: click.Context, /, output_format: str, **options: Any) -> None:
    """Decide which model goes on which device, in which variant.

    \b
    model-placer place --device "Tesla T4" --max-memory 90% -o layout.yaml
    model-placer place --fleet fleet.yaml --objective max-throughput --frontier
    model-placer place --fleet fleet.yaml --verify -m model_repository -o layout.yaml
    """  # noqa: D301
    from placement.explain.explain import explain
    from placement.explain.what_if import what_if
    from placement.solver.result import Deadline

    if options["output"] is not None:
        output_file.check(options["output"])
    if options["answer"] is not None:
        output_file.check(options["answer"])
    if options["device"] is None:
        refuse_idle(ctx, ["device_memory"], "--device")
    if options["verify"]:
        _place_and_verify(options, output_format)
        return
    deadline = Deadline(options["time_limit"])
    formulation = _formulation(options)
    for note in formulation.notes:
        log.warning("Note: %s", note)
    if options["frontier"]:
        _frontier(formulation.problem, options, output_format, deadline)
        return

    def work() -> tuple[Result, Explanation, tuple[str, ...]]:
        part = deadline.part(SOLVING)
        result = _solve(formulation.problem, options, part)
        left = deadline.part(EXPLAINING / 2 if options["explain"] else EXPLAINING)
        explanation = explain(formulation.problem, result, left, options["workers"])
        if not options["explain"]:
            return result, explanation, ()
        left = deadline.part(EXPLAINING)
        return result, explanation, what_if(formulation.problem, result, left, options["workers"])

    result, explanation, answers = _interruptible(work, deadline)
    result = _with_moves(formulation.problem, _with_slowdown(formulation.problem, result))
    result = _as_users_know(result, formulation)
    if result.layout is not None and options["output"] is not None:
        from placement.layout import save

        save(result.layout, options["output"])
        log.info("Layout: %s", options["output"])
    answer = _document(result, explanation, formulation) | {"what_if": list(answers)}
    if options["answer"] is not None:
        text = json.dumps(answer, indent=1, ensure_ascii=False)
        output_file.write_text(options["answer"], text + "\n")
    emit(
        answer,
        output_format,
        lambda: "\n".join(
            (_table(formulation.problem, result, explanation, long=options["explain"]), *answers)
        ),
    )
    for note in result.notes:
        log.warning("Note: %s", note)
    if result.layout is None:
        if result.status == "unknown" and deadline.stopped:
            raise click.exceptions.Exit(INTERRUPTED)
        if result.status == "unknown":
            raise NoAnswerError(
                f"No layout was found within {options['time_limit']:g} s, and none was proven "
                "impossible. Allow more time with --time-limit."
            )
        raise NoAnswerError("Nothing fits: no layout meets all constraints.")
    if deadline.stopped:
        raise click.exceptions.Exit(INTERRUPTED)


def _place_and_verify(options: dict[str, Any], output_format: str) -> None:
    from analyzer.cli.verify import table as checks_table
    from analyzer.deploy.calibrate import place_until_it_holds
    from analyzer.deploy.verify import VerifyOptions, verify
    from analyzer.load.inputs import Inputs
    from placement.layout import document, save, with_limit
    from placement.solver.result import Deadline

    if options["model_repository"] is None:
        raise InputError("--verify runs the models: pass their repository with -m DIR.")
    if options["problem"] is not None or options["frontier"]:
        raise InputError("--verify needs measured models: leave out --problem and --frontier.")
    launch = launch_options(options["launch_mode"], options["triton_image"])
    inputs = Inputs(
        options["shapes"],
        options["input_data"],
        open_dim=options["dynamic_shape"],
        repository=options["model_repository"],
    )
    limits = options["duration"], options["tolerance"]
    how = VerifyOptions(
        options["model_repository"], *limits, launch=launch, inputs=inputs, store=options["store"]
    )

    noted: set[str] = set()

    def place(part: float) -> Layout:
        most = options["max_utilization"]
        formulation = _formulation({**options, "max_utilization": most * part})
        for note in formulation.notes:
            if note not in noted:
                log.warning("Note: %s", note)
            noted.add(note)
        deadline = Deadline(options["time_limit"])
        result = _interruptible(lambda: _solve(formulation.problem, options, deadline), deadline)
        result = _as_users_know(result, formulation)
        if result.layout is None:
            raise NoAnswerError(f"No layout ({result.status}): `place` without --verify says why.")
        layout = with_limit(result.layout, "utilization", 1 / part)
        if options["output"] is not None:
            save(layout, options["output"])
        return layout

    rounds = place_until_it_holds(
        place,
        lambda layout: verify(layout, how, log.info, log.warning),
        options["rounds"],
        log.info,
    )
    last = rounds[-1]
    emit(
        {"rounds": len(rounds), "holds": True, "layout": document(last.layout)},
        output_format,
        lambda: (
            f"{checks_table(last.seen)}\n\nThe layout holds, in round {len(rounds)} of at most "
            f"{options['rounds']}."
        ),
    )


def _formulation(options: dict[str, Any]) -> Formulation:
    from dataclasses import replace

    from placement.problem.formulate import Formulation

    if options["problem"] is not None:
        from placement.problem.problem_file import load_problem

        formulation = Formulation(load_problem(options["problem"]))
        ignored = [name for name in FROM_STORE if options[name] is not None]
        if options["objective"] not in {"min-hardware", formulation.problem.objective}:
            ignored.append("objective")
        for name in ignored:
            log.warning("--%s is ignored: the problem file states it.", name.replace("_", "-"))
    else:
        formulation = _from_store(options)
    problem = formulation.problem
    rules = problem.rules
    if options["exclude_device"]:
        excluded = (*rules.excluded_devices, *options["exclude_device"])
        problem = replace(problem, rules=replace(rules, excluded_devices=excluded))
    if options["current"] is not None:
        from placement.layout import load

        current = tuple(
            (resident.model, device.name)
            for device in load(options["current"]).devices
            for resident in device.residents
        )
        problem = replace(
            problem,
            current=current,
            max_moves=options["max_moves"],
            move_price=options["move_price"],
            repair=options["repair"],
        )
    elif options["max_moves"] is not None or options["move_price"] or options["repair"]:
        raise InputError(
            "--max-moves, --move-price and --repair need the layout that runs now: --current."
        )
    if options["max_slowdown"] is not None:
        problem = replace(problem, max_slowdown=options["max_slowdown"])
    return replace(formulation, problem=problem)


def _from_store(options: dict[str, Any]) -> Formulation:
    from placement.problem import neighbour_cost, slowdown
    from placement.problem.demands import load_demands
    from placement.problem.fleet_file import load_fleet, single
    from placement.problem.formulate import formulate
    from profiles.device import known_devices, parse_bytes
    from profiles.store import ProfileStore

    with ProfileStore(options["store"], read_only=True) as store:
        measurements, baselines = store.measurements(), store.baselines()
        beside = store.colocations()
    failure = nothing_measured(measurements)
    if failure is not None:
        raise failure
    measured = measured_types(measurements)
    if options["fleet"] is not None:
        if options["device"] is not None or options["count"] is not None:
            raise InputError("Give either --fleet or --device (with --count), not both.")
        fleet = load_fleet(options["fleet"], measured)
    else:
        names = (
            [options["device"]]
            if options["device"]
            else sorted({m.device_type for m in measurements})
        )
        if options["device_memory"] is not None:
            from profiles.device import DeviceType

            try:
                memory = parse_bytes(options["device_memory"])
            except ValueError as error:
                raise InputError(f"--device-memory: {error}.") from None
            measured = tuple(DeviceType(name, memory) for name in names)
        if len(names) > 1:
            known = {t.name for t in measured} | set(known_devices())
            names = [name for name in names if name in known] or names[:1]
        fleet = [single(name, options["count"], measured) for name in names]
        if len(fleet) > 1:
            from dataclasses import replace

            fleet = [replace(d, name=d.device_type.name) for d in fleet]
    return formulate(
        measurements,
        baselines,
        fleet,
        load_demands(options["demand"]) if options["demand"] is not None else None,
        limits=options["limits"],
        at_most={
            name: options[f"max_{name}"]
            for name in (
                "memory",
                "utilization",
                "memory_utilization",
                "power",
                "cpu",
                "host_memory",
            )
        },
        objective=options["objective"],
        fairness=options["fairness"],
        models=options["models"],
        slowdown=slowdown.fit(beside) if options["slowdown"] else None,
        neighbour_costs=neighbour_cost.fit(neighbour_cost.runs(beside).values())
        if options["slowdown"]
        else None,
    )


def measured_types(measurements: list[Any]) -> tuple[Any, ...]:
    """Device types whose memory is stored with the measurements, such as CPU hosts."""
    from profiles.device import DeviceType

    found = {}
    for m in measurements:
        memory = m.extra.get("device_memory_bytes")
        if memory:
            cores = m.extra.get("device_cores")
            found[m.device_type] = DeviceType(
                m.device_type,
                int(memory),
                kind="cpu" if cores else "gpu",
                cores=int(cores) if cores else None,
            )
    return tuple(found.values())


def _solve(problem: PlacementProblem, options: dict[str, Any], deadline: Deadline) -> Result:
    from placement.layout import load
    from placement.solver.running import replicas_of
    from placement.solver.solve import solve

    start = replicas_of(problem, load(options["current"])) if options["current"] else ()
    return solve(
        problem, seed=options["seed"], deadline=deadline, start=start, workers=options["workers"]
    )


def _with_slowdown(problem: PlacementProblem, result: Result) -> Result:
    """The result with a note for each replica that its neighbours keep below its measured load."""
    from dataclasses import replace

    from placement.layout import check

    if result.layout is None:
        return result
    slowed = check.slowed(problem, result.layout)
    more = len(slowed) - SLOWED
    if more > 0:
        slowed = [*slowed[:SLOWED], f"{more} more replicas reach less than their measured load."]
    return replace(result, notes=(*result.notes, *slowed))


def _with_moves(problem: PlacementProblem, result: Result) -> Result:
    """The result with a note where replicas move for nothing but that it costs nothing."""
    from dataclasses import replace

    from placement.layout import check

    free = not problem.move_price and not problem.repair and problem.max_moves is None
    if result.layout is None or not problem.current or not free:
        return result
    moved = len(check.moves(problem, result.layout))
    if not moved:
        return result
    placed = sum(len(device.residents) for device in result.layout.devices)
    note = (
        f"{moved} of {counted(placed, 'replica')} are not where they run now, as moves cost "
        "nothing: --move-price 0.01 or --repair leaves in place what can stay."
    )
    return replace(result, notes=(*result.notes, note))


def _as_users_know(result: Result, formulation: Formulation) -> Result:
    """The result with device types as NVML has them, where the problem tells hosts apart."""
    from dataclasses import replace

    if result.layout is None:
        return result
    names = formulation.device_types
    devices = (
        replace(d, device_type=names.get(d.device_type, d.device_type))
        for d in result.layout.devices
    )
    return replace(result, layout=replace(result.layout, devices=tuple(devices)))


def _interruptible(work: Callable[[], T], deadline: Deadline) -> T:
    """The result of `work`; Ctrl-C stops the deadline, so that `work` returns its best so far."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(work)
        try:
            return future.result()
        except KeyboardInterrupt:
            log.warning("Interrupted: this is the best layout found so far.")
            deadline.stop()
            return future.result()
        except BaseException:  # SIGTERM: nobody waits for an answer, but the thread has to end
            deadline.stop()
            raise


def _frontier(
    problem: PlacementProblem, options: dict[str, Any], output_format: str, deadline: Deadline
) -> None:
    from dataclasses import asdict, replace

    from placement.explain.frontier import frontier

    objective: Any = "min-hardware" if options["frontier"] == "price" else "max-throughput"
    problem = replace(problem, objective=objective)
    points = _interruptible(
        lambda: frontier(problem, deadline, options["seed"], options["workers"]), deadline
    )
    what = "price" if options["frontier"] == "price" else "relative throughput"

    def table() -> str:
        return text_table(
            ["devices at most", what, "bound", "status", "in use", "price", "inferences/s"],
            [
                [
                    p.devices,
                    _figure(p.value, ".4g"),
                    _figure(p.bound, ".4g"),
                    p.status,
                    ", ".join(f"{count} × {kind}" for kind, count in p.used.items()) or "-",
                    _figure(p.price, "g"),
                    _figure(p.throughput, ".1f"),
                ]
                for p in points
            ],
        )

    emit(
        {
            "objective": problem.objective,
            "fairness": problem.fairness,
            "frontier": [asdict(point) for point in points],
        },
        output_format,
        table,
    )
    if all(point.value is None for point in points):
        raise NoAnswerError("No number of devices of this fleet carries all demands.")
    if deadline.stopped:
        raise click.exceptions.Exit(INTERRUPTED)


def _figure(figure: float | None, form: str) -> str:
    return "-" if figure is None else format(figure, form)


def _document(result: Result, explanation: Any, formulation: Formulation) -> dict[str, Any]:
    from placement.layout import document

    return {
        "status": result.status,
        "value": result.value,
        "bound": result.bound,
        "gap": result.gap,
        "time_s": round(result.time_s, 3),
        "method": result.method,
        "headroom": result.headroom,
        "binding": list(explanation.binding),
        "bounds": dict(explanation.bounds),
        "explanation": list(explanation.lines),
        "relaxations": list(explanation.relaxations),
        "notes": [*formulation.notes, *result.notes],
        "layout": None if result.layout is None else document(result.layout),
    }


def _table(problem: PlacementProblem, result: Result, explanation: Any, *, long: bool) -> str:
    lines = []
    if result.layout is not None:
        header = ["device", "type", "model", "as", "inferences/s"] + [
            r.name for r in problem.resources
        ]
        rows: list[list[str]] = []
        for device in result.layout.devices:
            rows.append(
                [device.name, device.device_type, "", "", ""]
                + [
                    _amount(device.uses.get(r.name), r.unit)
                    + (
                        f" of {_amount(device.capacity[r.name], r.unit)}"
                        if r.name in device.capacity
                        else ""
                    )
                    for r in problem.resources
                ]
            )
            rows += [
                ["", "", resident.model, resident.option, f"{resident.rate:.6g}"]
                + [_amount(resident.uses.get(r.name), r.unit) for r in problem.resources]
                for resident in device.residents
            ]
        least = ["type", *header[:4:-1], "inferences/s"]
        lines += [text_table(header, rows, left=4, least=least), "", *_bars(result.layout), ""]
    shown = explanation.lines if long or result.layout is None else explanation.lines[:2]
    lines += list(shown)
    if explanation.relaxations:
        lines += ["Any one of these would resolve it:"] if result.layout is None else []
        lines += [f"  - {relaxation}" for relaxation in explanation.relaxations]
    return "\n".join(lines)


def _bars(layout: Layout) -> list[str]:
    """How full each device is, a line for each resource that is limited.

    Names that would not fit on it stand on a line of their own.
    """
    names = {name.replace("_", " ") for d in layout.devices for name in d.capacity}
    wide = max((len(d.name) for d in layout.devices), default=0)
    widest = max(map(len, names), default=0)
    lines = []
    alone = wide + widest + BAR > (terminal.width() or NARROW)
    for device in layout.devices:
        name = device.name
        if alone:
            lines.append(name)
            name, wide = "", 2
        for resource, limit in device.capacity.items():
            part = device.uses.get(resource, 0.0) / limit if limit else 0.0
            what = resource.replace("_", " ")
            lines.append(f"{name:{wide}}  {what:{widest}}  {bar(part)} {part:4.0%}")
            name = ""
    return lines


def _amount(amount: float | None, unit: str) -> str:
    if amount is None:
        return "-"
    if unit == "bytes":
        return f"{amount / 1e9:.2f} GB"
    return f"{amount:.4g} {unit}"
