"""`model-placer advise`: what to change, with the evidence for it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from analyzer.cli.command import command, emit, log, measured_models
from analyzer.cli.options import (
    DURATION,
    NAMES,
    PATH,
    PERCENT,
    input_data,
    launch_mode,
    launch_options,
    model_repository,
    shapes,
    store,
    triton_image,
)
from profiles.errors import InputError

if TYPE_CHECKING:
    from analyzer.advise.finding import Evidence, Finding
    from analyzer.advise.placing import Placing
    from analyzer.advise.trial import Trial
    from profiles.measurement import Measurement


@command("advise")
@store()
@model_repository("The models' configurations, for findings of them and diffs.", required=False)
@click.option("--models", type=NAMES, help="Look at these only  [default: all]")
@click.option("--log", "log_file", type=PATH, metavar="FILE", help="A log that Triton wrote.")
@click.option("--url", metavar="HOST:PORT", help="A running Triton, for its statistics (HTTP).")
@click.option("--fleet", type=PATH, help="Fleet file: what a change is worth in devices.")
@click.option("--device", help="Instead of a fleet file: one device type.")
@click.option("--demand", type=PATH, help="Demand file, for placing.")
@click.option("--max-memory", type=PERCENT, default="100%", help="For placing.")
@click.option("--max-utilization", type=PERCENT, default="100%", help="For placing.")
@click.option("--max-memory-utilization", type=PERCENT, default="100%", help="For placing.")
@click.option("--time-limit", type=DURATION, default="60s", help="For all placements together.")
@click.option("--try", "try_out", is_flag=True, help="Measure what is proposed; needs -m.")
@launch_mode(["local", "docker"], "--try: how Triton is started.")
@triton_image("--try in Docker mode: Triton's image.")
@click.option("--gpus", default="auto", metavar="auto|none|0|UUID", help="--try: where.")
@click.option("--max-duration", type=DURATION, default="10s", help="--try: of one point.")
@shapes("--try: dims of an input that the model leaves open; repeatable.")
@input_data("--try: what requests carry.")
def advise(output_format: str, **options: Any) -> None:
    """Say what to change, by what evidence, and what that is expected to bring.

    Findings come from the points of the store, from the models' configurations (-m), from Triton's
    log (--log) and from the statistics of a running one (--url); none without a measurement or a
    line behind it. With a fleet or device, changes are placed again and told in devices.

    \b
    model-placer advise --store profiles.db -m model_repository
    model-placer advise -m model_repository --device "Tesla T4" --demand demand.yaml
    model-placer advise -m model_repository --models bert --try
    """  # noqa: D301
    from analyzer.advise.advise import advise as findings_of

    if options["try_out"] and options["model_repository"] is None:
        raise InputError("--try measures models: pass their repository with -m DIR.")
    evidence, place = _known(options)
    found = findings_of(evidence, place)
    if options["models"]:
        found = [finding for finding in found if finding.model in {"", *options["models"]}]
    trials = _tried(found, options) if options["try_out"] else []
    documents = [_document(finding) for finding in found]
    emit(
        {"findings": documents, "trials": [_trial_document(trial) for trial in trials]},
        output_format,
        lambda: _text(found, trials, len(evidence.points())),
    )


def _known(options: dict[str, Any]) -> tuple[Evidence, Placing | None]:
    from analyzer.advise.finding import Evidence
    from analyzer.init import device_types
    from analyzer.triton import http_api
    from profiles.document import read_text
    from profiles.repository import read_repository
    from profiles.store import ProfileStore

    with ProfileStore(options["store"], read_only=True) as opened:
        rows, baselines = opened.measurements(), opened.baselines()
    models = read_repository(options["model_repository"]) if options["model_repository"] else {}
    if options["models"]:
        options["models"] = measured_models(
            {*models, *(row.model for row in rows)}, options["models"]
        )
    statistics = []
    if options["url"]:
        url = options["url"].removeprefix("http://").rstrip("/")
        statistics = http_api.every_statistics(url)
    log_file: Path | None = options["log_file"]
    evidence = Evidence(
        rows=tuple(rows),
        models=models,
        log=read_text(log_file) if log_file else "",
        log_name=str(log_file or ""),
        gpus=tuple(device_types()[0]),
        statistics=statistics,
    )
    return evidence, _placing(options, evidence.rows, baselines)


def _placing(
    options: dict[str, Any], rows: tuple[Measurement, ...], baselines: list[Any]
) -> Placing | None:
    """What is placed on; None where no fleet was named."""
    from analyzer.advise.placing import LIMITS, Placing
    from analyzer.cli.place import measured_types
    from placement.problem.demands import Demands, load_demands
    from placement.problem.fleet_file import load_fleet, single
    from placement.solver.result import Deadline

    if options["fleet"] is None and options["device"] is None:
        if options["demand"] is not None:
            raise InputError("--demand is for placing: name a --fleet or a --device, too.")
        return None
    known = measured_types(list(rows))
    fleet = (
        load_fleet(options["fleet"], known)
        if options["fleet"] is not None
        else [single(options["device"], None, known)]
    )
    demands = load_demands(options["demand"]) if options["demand"] else Demands()
    at_most = {name: options[f"max_{name}"] for name in LIMITS}
    return Placing(baselines, fleet, demands, at_most, Deadline(options["time_limit"]))


def _tried(found: list[Finding], options: dict[str, Any]) -> list[Trial]:
    from analyzer.advise.trial import can_be_tried, try_out
    from analyzer.load.inputs import Inputs
    from analyzer.load.steady_state import SteadyStateRule
    from analyzer.measure.options import Options
    from analyzer.report.tables import summary_line

    how = Options(
        options["model_repository"],
        options["store"],
        inputs=Inputs(options["shapes"], options["input_data"]),
        launch=launch_options(options["launch_mode"], options["triton_image"]),
        gpus=options["gpus"],
        rule=SteadyStateRule(max_duration_s=options["max_duration"]),
    )
    trials = []
    for finding in found:
        if can_be_tried(finding):
            log.info("Trying %s of %s ...", finding.kind, finding.model)
            tell = lambda progress: log.info(summary_line(progress.measurement))  # noqa: E731
            trials.append(try_out(finding, how, log.info, tell))
    return trials


def _document(finding: Finding) -> dict[str, Any]:
    return {
        "kind": finding.kind,
        "model": finding.model,
        "says": finding.says,
        "evidence": list(finding.evidence),
        "sure": finding.sure,
        "change": finding.change,
        "sweep": finding.sweep,
        "expected_throughput": finding.gain.throughput,
        "expected_latency": finding.gain.latency,
        "expected_memory_bytes": finding.gain.memory_bytes,
        "devices": finding.devices,
    }


def _trial_document(trial: Trial) -> dict[str, Any]:
    return {
        "kind": trial.finding.kind,
        "model": trial.finding.model,
        "held": trial.held,
        "throughput": trial.throughput,
        "latency": trial.latency,
        "error": trial.error,
        "why": trial.why,
    }


def _text(found: list[Finding], trials: list[Trial], points: int) -> str:
    if not found:
        shown = "1 point shows" if points == 1 else f"{points} points show"
        return f"Nothing to advise: {shown} no fault."
    parts = []
    for number, finding in enumerate(found, start=1):
        name = f"{finding.model}: " if finding.model else ""
        lines = [f"{number}. {name}{finding.says}  [{finding.kind}]"]
        lines += [f"   evidence  {line}" for line in finding.evidence]
        expected = _expected(finding)
        lines.append(f"   expected  {expected} ({finding.sure})")
        lines += _indented("change", finding.change)
        lines += _indented("proof", finding.sweep)
        lines += [
            f"   tried     {'held' if trial.held else 'did not hold'}: {trial.why}"
            for trial in trials
            if trial.finding is finding
        ]
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def _indented(what: str, text: str) -> list[str]:
    lines = text.splitlines()
    return [f"   {what if not number else '':9} {line}" for number, line in enumerate(lines)]


def _expected(finding: Finding) -> str:
    gain, said = finding.gain, []
    if gain.throughput:
        said.append(f"throughput {gain.throughput[0]:+.0%} to {gain.throughput[1]:+.0%}")
    if gain.latency:
        said.append(f"latency {gain.latency[0]:+.0%} to {gain.latency[1]:+.0%}")
    if gain.memory_bytes:
        said.append(f"memory {-gain.memory_bytes / (1 << 20):+.0f} MiB")
    if finding.devices:
        before, after = finding.devices
        said.append(f"{before} → {after} devices")
    return ", ".join(said) or "not known before it is measured"
