"""Loads a variant of a model on the server and unloads it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from analyzer.devices.device import wait_for_memory
from analyzer.measure import page_cache
from analyzer.measure.bench import Bench
from analyzer.triton import http_api
from analyzer.triton.server import Server
from profiles import model_config
from profiles.errors import ServerError, SurroundingsError
from profiles.variant import Variant

GIVE_BACK_S = 3.0  # how long unloaded models may keep a GPU's memory
SETTLE_S = 0.2  # between loading and the reading of cold memory
DEVICE_POLL_S = 0.5
UNLOAD_S = 5.0  # after a failure: a server that takes longer is replaced by a new one


@dataclass(frozen=True)
class Loaded:
    """Memory of the server before a variant was loaded, and what the variant added."""

    idle_bytes: int
    cold_bytes: int
    times_s: Mapping[str, float] = field(default_factory=dict)  # of loading, see `measuring.md`


def load_alone(bench: Bench, variant: Variant) -> Loaded:
    """Load the variant on a server that holds nothing else."""
    if not answers(bench.server):
        bench.server.restart()
    # Read afresh for each variant: a server that has loaded and unloaded models holds more
    # than a new one, and that is no need of the next model.
    idle_bytes = bench.device.memory_bytes(bench.server.pids)
    times_s: dict[str, float] = {}
    if bench.load_times and bench.server.supports_model_control:
        names = [one.model for one in (variant, *variant.members)]
        page_cache.drop(bench.models[name].path for name in names)
        times_s["load_cold_s"] = _load(bench, variant)
        started_s = time.monotonic()
        clear(bench, variant, Loaded(idle_bytes, 0))
        times_s["unload_s"] = time.monotonic() - started_s
        idle_bytes = bench.device.memory_bytes(bench.server.pids)
    times_s["load_s"] = _load(bench, variant)
    cold_bytes = max(0, bench.device.memory_bytes(bench.server.pids) - idle_bytes)
    return Loaded(idle_bytes, cold_bytes, times_s)


def clear(bench: Bench, variant: Variant, held: Loaded | None) -> None:
    """Unload the variant; a server that cannot is restarted, which raises when that fails too."""
    if not bench.server.supports_model_control:
        return
    try:
        for loaded in (variant, *reversed(variant.members)):
            bench.server.unload(loaded.model, timeout_s=UNLOAD_S)
    except ServerError:
        bench.server.restart()
        return
    if held is not None and bench.gpus is not None:
        with suppress(SurroundingsError):  # a GPU that is lost is found by the next load
            wait_for_memory(bench.device, bench.server.pids, held.idle_bytes, GIVE_BACK_S)


def await_device(bench: Bench) -> None:
    """Return once the device can be read; raises SurroundingsError when it stays lost."""
    deadline_s = time.monotonic() + bench.patience.device_s
    while True:
        try:
            bench.device.memory_bytes(bench.server.pids)
        except SurroundingsError:
            if time.monotonic() > deadline_s:
                raise
            time.sleep(DEVICE_POLL_S)
        else:
            return


def answers(server: Server) -> bool:
    """Whether the server runs and responds."""
    return server.alive() and http_api.is_live(server.http_url)


def _load(bench: Bench, variant: Variant) -> float:
    """Load the variant and what it is composed of, these first; returns how long it took, in s.

    A server without model control is left as it stands.
    """
    if not bench.server.supports_model_control:
        return 0.0
    took_s = sum(_load_one(bench, one) for one in (*variant.members, variant))
    time.sleep(SETTLE_S)
    return took_s


def _load_one(bench: Bench, variant: Variant) -> float:
    model = bench.models[variant.model]
    config = model.config
    if config is None:  # the server completes it, and a variant needs the completed one
        started_s = time.monotonic()
        bench.server.load(variant.model, timeout_s=bench.patience.load_s)
        if variant == Variant(variant.model):
            return time.monotonic() - started_s
        config = http_api.config(bench.server.http_url, variant.model)
        bench.server.unload(variant.model)
    # Triton wants a version of an ensemble, too, and git keeps no empty directory.
    files = None if model.versions else {"1/ensemble": b""}
    varied = model_config.apply_variant(config, variant, bench.gpus, alone=True)
    started_s = time.monotonic()
    bench.server.load(variant.model, varied, files, timeout_s=bench.patience.load_s)
    return time.monotonic() - started_s
