"""All findings of what is known, those of the most gain first."""

from __future__ import annotations

from dataclasses import replace

from analyzer.advise import configuration, placing, points
from analyzer.advise.finding import Evidence, Finding
from analyzer.advise.placing import Placing
from profiles.up_to_date import up_to_date


def advise(evidence: Evidence, place: Placing | None = None) -> list[Finding]:
    """The findings, with devices where there is something to place on.

    Points of older model files or servers do not count, nor, but for that finding, those that did
    not settle. None is an answer, too.
    """
    evidence = replace(evidence, rows=up_to_date(evidence.rows).rows)
    found = [
        finding
        for rows in evidence.groups()
        for rule in points.OF_DOUBT
        for finding in rule(evidence, rows)
    ]
    settled = tuple(row for row in evidence.rows if not points.noisy(row))
    evidence = replace(evidence, rows=settled)
    found += [
        finding
        for rows in evidence.groups()
        for rule in points.RULES
        for finding in rule(evidence, rows)
    ]
    found += [finding for rule in configuration.RULES for finding in rule(evidence)]
    if place is not None:
        found = [placing.in_devices(finding, evidence.rows, place) for finding in found]
        found += list(placing.findings(evidence.rows, place))
    return sorted(found, key=_worth, reverse=True)


def _worth(finding: Finding) -> tuple[float, float, float]:
    """Devices first, then throughput, then latency."""
    saved = finding.devices[0] - finding.devices[1] if finding.devices else 0
    gain = finding.gain
    throughput = sum(gain.throughput) / 2 if gain.throughput else 0.0
    latency = -sum(gain.latency) / 2 if gain.latency else 0.0
    return float(saved), throughput, latency
