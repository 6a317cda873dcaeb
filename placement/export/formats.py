"""Layout → files that put it into effect, each format in a folder of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path

from placement.export import compose, folder, kubernetes, nginx, prometheus, triton
from placement.export.servers import servers
from placement.layout import Layout
from profiles import repository
from profiles.errors import InputError
from profiles.measurement import Measurement

FORMATS = ("triton", "compose", "kubernetes", "nginx", "prometheus")


def export(
    layout: Layout,
    models: Path,
    output: Path,
    formats: Sequence[str] = ("triton",),
    *,
    copy: bool = False,
    force: bool = False,
    per_host: bool = False,
    triton_image: str = compose.TRITON_IMAGE,
    current: Layout | None = None,
    urls: Mapping[str, str] | None = None,
    with_models: Mapping[str, Sequence[str]] | None = None,
    warn: Callable[[str], None] = lambda _: None,
    measurements: Iterable[Measurement] = (),
) -> list[Path]:
    """Write `<output>/<format>/` for each format and return these folders.

    Equal input gives equal files. Each folder is written whole beside its place and then put
    there; nothing is replaced unless all can be.

    Parameters
    ----------
    layout
        The layout.
    models
        The model repository.
    output
        Where the formats' folders are made.
    formats
        Some of `FORMATS`; `compose` brings `triton`, whose repositories it mounts.
    copy
        Copy the models' files; they are linked otherwise.
    force
        Replace folders that were not made by an export.
    per_host
        One Triton for all GPUs of a host, instead of one per device.
    triton_image
        The image that `compose` and `kubernetes` run.
    current
        The layout that runs now: `nginx` knows its replicas, too, for the time of an `apply`.
    urls
        By device, where `nginx` and `prometheus` find its Triton: host and port of HTTP.
    with_models
        By model, those that its business logic calls, where the layout does not say.
    warn
        Gets what the export cannot hold, with the remedy.
    measurements
        Profiles that `prometheus` tells beside the layout.

    Raises
    ------
    InputError
        The layout and the repository do not fit, or a folder must not be replaced.
    """
    made = servers(layout, models, per_host=per_host, with_models=with_models)
    uses = [model.uses for server in made for model in server.models]
    for warning in dict.fromkeys(warning for used in uses for warning in used.warnings):
        warn(warning)
    if not made:
        raise InputError("The layout places no model: there is nothing to export.")
    if "compose" in formats and "triton" not in formats:
        formats = ("triton", *formats)
    for name in urls or {}:
        known = [device.name for server in made for device in server.devices]
        if name not in known:
            raise InputError(f"--url: {repository.unknown_name('device', name, known)}.")
    targets = [output / name for name in formats]
    for target in targets:
        folder.check(target, force=force, keep=models)
    routed = made
    if current is not None:
        both = nginx.both(current, layout)
        routed = servers(both, models, per_host=per_host, with_models=with_models)
    writers: dict[str, Callable[[Path], None]] = {
        "triton": partial(triton.write, made, copy=copy),
        "compose": partial(
            compose.write, made, models=models, copy=copy, triton_image=triton_image
        ),
        "kubernetes": partial(kubernetes.write, made, triton_image=triton_image),
        "nginx": partial(nginx.write, routed, addresses=nginx.addresses_of(routed, urls or {})),
        "prometheus": partial(
            prometheus.write,
            made,
            layout=layout,
            addresses=nginx.addresses_of(made, urls or {}),
            measurements=measurements,
        ),
    }
    for name, target in zip(formats, targets, strict=True):
        try:
            folder.replace(target, {"made_by": "model-placer", "format": name}, writers[name])
        except OSError as error:
            raise InputError(f"{target}: cannot be written: {error.strerror or error}.") from None
    return targets
