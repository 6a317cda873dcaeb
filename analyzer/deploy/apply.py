"""Brings running Tritons from one layout to another through their model control.

What is to be done is worked out from what the servers hold now, so that a command that stopped
half-way is repeated to go on: the old layout tells only what its replicas need.

A model whose files were sent is gone when its Triton restarts: `export` the new layout as well.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from analyzer.triton import http_api
from placement.export.servers import ServedModel, servers
from placement.layout import Layout, PlacedDevice, Resident
from placement.layout.diff import Diff, Step, diff
from profiles.errors import InputError, LoadError, ServerError, SurroundingsError
from profiles.model_config import ModelConfig
from profiles.variant import Variant

LOAD_TIMEOUT_S = 600.0
LATE = 3.0  # times what it took when it was measured: then a load has failed
MOST_SENT_BYTES = 256 * 2**20  # of a model's files; a load request is one JSON text in base64
ANOTHER = Variant("", instance_count=0)  # none of a layout's: a model is up in some other variant


@dataclass(frozen=True)
class Fleet:
    """The servers of two layouts and the models that they serve now."""

    models: Path
    urls: Mapping[str, str]  # by device
    devices: Mapping[str, PlacedDevice]
    now: Layout
    strangers: tuple[tuple[str, str], ...] = ()  # (model, device): up, and in neither layout


def survey(old: Layout, new: Layout, urls: Mapping[str, str], models: Path) -> Fleet:
    """Query what the servers of both layouts serve now.

    Raises
    ------
    InputError
        A device has no URL, or a URL no device.
    ServerError
        A server does not answer.
    """
    devices = {d.name: d for d in (*old.devices, *new.devices) if d.residents}
    missing = [name for name in devices if name not in urls]
    if missing:
        raise InputError(f"No address for {', '.join(missing)}: pass --url {missing[0]}=HOST:PORT.")
    for name in urls:
        if name not in {d.name for d in (*old.devices, *new.devices)}:
            raise InputError(f"Unknown device in --url {name}: neither layout has it.")
    for name, url in urls.items():
        others = [other for other in devices if urls[other] == url and other != name]
        if others:
            raise InputError(
                f"{name} and {', '.join(others)} share one Triton at {url} (`export --per-host`): "
                "what is loaded for one device would replace what serves for the other. `apply` "
                "needs a Triton per device; otherwise export the new layout with --per-host "
                "--force and restart that Triton."
            )
    was = {d.name: d for d in old.devices}
    will = {d.name: d for d in new.devices}
    found = []
    strangers: list[tuple[str, str]] = []
    for name, device in devices.items():
        held = list(_held(name, was.get(name), will.get(name), urls[name], models, strangers))
        # What the server itself takes is in the uses of the layout that knows the device.
        base = was.get(name, device)
        taken = {
            key: use
            - sum(r.uses.get(key, 0.0) for r in base.residents)
            + sum(r.uses.get(key, 0.0) for r in held)
            for key, use in base.uses.items()
        }
        found.append(replace(base, residents=tuple(held), uses=taken))
    return Fleet(models, dict(urls), devices, replace(old, devices=tuple(found)), tuple(strangers))


def plan(fleet: Fleet, new: Layout) -> Diff:
    """The steps that remain from what the servers serve now."""
    return diff(fleet.now, new)


def apply(
    steps: Sequence[Step],
    fleet: Fleet,
    new: Layout,
    say: Callable[[str], None] = lambda _: None,
    expected_s: Sequence[float | None] = (),
) -> None:
    """Execute the steps in order; stop at the first that fails.

    `expected_s` is how long each takes, where known: a slow load is waited for accordingly.

    Raises
    ------
    LoadError, ServerError
        A step failed; the text says what was done, and what the servers hold. The old variant of
        a model whose change failed still serves.
    """
    for number, step in enumerate(steps, 1):
        said = f"{step.action} {step.model} on {step.device}"
        takes_s = expected_s[number - 1] if expected_s else None
        about = "" if takes_s is None else f" (about {takes_s:.3g} s)"
        say(f"[{number}/{len(steps)}] {said}{about}")
        try:
            _carry_out(step, fleet, new, max(LOAD_TIMEOUT_S, LATE * (takes_s or 0.0)))
        except SurroundingsError as error:
            kind = LoadError if isinstance(error, LoadError) else ServerError
            raise kind(_half_way(steps, number, said, error)) from None


def _half_way(steps: Sequence[Step], number: int, said: str, error: Exception) -> str:
    done = "; ".join(f"{s.action} {s.model} on {s.device}" for s in steps[: number - 1])
    return (
        f"Step {number} of {len(steps)} failed: {said}: {error}\n"
        f"Completed: {done or 'nothing'}. No later step was started, so every model that had a "
        "replica still has one, unless the plan reported a gap. Fix the cause and repeat the "
        "command, which continues from what the servers hold, or swap the layouts to revert."
    )


def _carry_out(step: Step, fleet: Fleet, new: Layout, timeout_s: float) -> None:
    url = fleet.urls[step.device]
    parts = _served(fleet.devices[step.device], step.resident, fleet.models)
    if step.action == "unload":
        kept = set(_kept(step, fleet, new))
        for model in reversed(parts):  # the ensemble before the models of its steps
            if model.name not in kept:
                http_api.unload(url, model.name, timeout_s=timeout_s, log=str)
        return
    states = http_api.states(url)
    for model in parts:
        is_step = model.placed is None
        if is_step and _is_as_meant(url, model):
            continue
        known = model.name in states
        files = None if known else _files(model, step.device)
        http_api.load(url, model.name, model.config, files, timeout_s=timeout_s, log=str)


def _kept(step: Step, fleet: Fleet, new: Layout) -> Iterator[str]:
    """Models that other residents of the device need, before or after the change."""
    for layout in (fleet.now, new):
        for device in layout.devices:
            if device.name != step.device:
                continue
            for resident in device.residents:
                if resident.model != step.model:
                    yield from (m.name for m in _served(device, resident, fleet.models))


def _served(device: PlacedDevice, resident: Resident, models: Path) -> list[ServedModel]:
    """The models to load for a replica, in order: an ensemble comes after its steps."""
    if resident.variant == ANOTHER:
        resident = replace(resident, variant=None)
    (server,) = servers(Layout((replace(device, residents=(resident,)),)), models)
    return sorted(server.models, key=lambda model: model.placed is not None)


def _files(model: ServedModel, device: str) -> dict[str, bytes]:
    """A model's files, for a server whose repository does not have it."""
    root = model.source.path
    paths = [path for path in sorted(_walk(root)) if path.name != "config.pbtxt"]
    size = sum(path.stat().st_size for path in paths)
    if size > MOST_SENT_BYTES:
        raise LoadError(
            f"{model.name} is not in the repository of {device}'s Triton, and its "
            f"{size / 1e6:.0f} MB are too much for a load request: `export` the new layout first."
        )
    return {str(path.relative_to(root)): path.read_bytes() for path in paths}


def _walk(folder: Path) -> Iterator[Path]:
    for entry in folder.iterdir():
        if entry.is_dir():
            if entry.name != "__pycache__":
                yield from _walk(entry)
        elif entry.is_file():
            yield entry


def _held(
    name: str,
    was: PlacedDevice | None,
    will: PlacedDevice | None,
    url: str,
    models: Path,
    strangers: list[tuple[str, str]],
) -> Iterator[Resident]:
    """Residents that the device's server serves now; adds unknown models to `strangers`."""
    ready = {model for model, (state, _) in http_api.states(url).items() if state == "READY"}
    expected: set[str] = set()
    old = {r.model: r for r in was.residents} if was else {}
    new = {r.model: r for r in will.residents} if will else {}
    for model in dict.fromkeys((*old, *new)):
        device = will if model in new else was
        assert device is not None
        resident = new.get(model) or old[model]
        parts = _served(device, resident, models)
        expected |= {part.name for part in parts}
        own = next(part for part in parts if part.placed == model)
        if not is_up(url, own.name):
            continue
        if all(_is_as_meant(url, part) for part in parts):
            yield resident
        elif model in old and model in new:
            yield old[model]
        else:
            yield replace(resident, variant=ANOTHER)
    strangers += [(model, name) for model in sorted(ready - expected)]


def _is_as_meant(url: str, model: ServedModel) -> bool:
    return is_up(url, model.name) and same(http_api.config(url, model.name), model.config)


def is_up(url: str, model: str) -> bool:
    """Whether the model serves; the index leaves out models whose files were sent."""
    try:
        http_api.request(url, "GET", f"/v2/models/{model}/ready")
    except http_api.RefusedError:
        return False
    except OSError as error:
        raise ServerError(f"Triton at {url} does not respond: {error}") from None
    return True


def same(server: ModelConfig, meant: ModelConfig) -> bool:
    """Whether a server's configuration equals the intended one in what a variant sets.

    The server fills in what a configuration leaves out; that counts as equal.
    """
    if server.max_batch_size != meant.max_batch_size:
        return False
    if meant.instance_group:
        counts = zip(meant.instance_group, server.instance_group, strict=False)
        if len(meant.instance_group) != len(server.instance_group) or any(
            ours.count not in {0, theirs.count} for ours, theirs in counts
        ):
            return False
    for ours, theirs in zip(meant.instance_group, server.instance_group, strict=False):
        if ours.host_policy not in {"", theirs.host_policy}:
            return False
        if ours.HasField("rate_limiter") and ours.rate_limiter != theirs.rate_limiter:
            return False
    if meant.HasField("dynamic_batching"):
        if not server.HasField("dynamic_batching"):
            return False
        a, b = server.dynamic_batching, meant.dynamic_batching
        if a.max_queue_delay_microseconds != b.max_queue_delay_microseconds:
            return False
        if b.preferred_batch_size and a.preferred_batch_size != b.preferred_batch_size:
            return False
    return all(
        server.parameters[key].string_value == value.string_value
        for key, value in meant.parameters.items()
    )
