"""One HTTP and one gRPC address for all models of a layout: a front door of plain nginx.

HTTP names the model in the path, so `/v2/models/<model>/...` goes to the servers that host it, in
proportion to the rates that the layout gives them. gRPC names it in the body, which nginx does not
read: callers send it as the metadata `x-model` too (tritonclient: `headers={"x-model": "bert"}`),
and a call without it is answered with INVALID_ARGUMENT and that advice, unless every server hosts
every model. A stream goes where its first metadata says.

A server that does not answer is left alone for `FAIL_TIMEOUT_S` and the request goes to the next
one: inference may be repeated, except with models that keep state (sequence batching). Their
callers send the header `x-sequence-id`; all requests that share it meet the same server, and
without it all requests of an address. What belongs to one server (loading, shared memory, tracing)
is refused here.

While `apply` brings servers from one layout to another, the front door has to know both: see
`both`. A server that does not have the model (yet, or any longer) is passed over.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import gcd
from pathlib import Path

from placement.export import folder
from placement.export.servers import ServedModel, Server, hosts_of
from placement.layout import Layout
from profiles.errors import InputError

FAIL_TIMEOUT_S = 2
FINEST_WEIGHT = 100
PORTS = (9000, 9001)  # HTTP, gRPC; above those suggested for Tritons on the same host


@dataclass(frozen=True)
class Address:
    """Where a server listens."""

    http: str  # host:port
    grpc: str


def addresses_of(servers: Sequence[Server], urls: Mapping[str, str]) -> dict[str, Address]:
    """Where each server is.

    `urls` gives the HTTP address by device; the others are taken to be on their host (this one
    when the layout names none) at the suggested ports. gRPC is on the next port. Raises InputError
    where that is no address.
    """
    found = {}
    for server in servers:
        suggested = f"{server.host or '127.0.0.1'}:{server.http_port}"
        http = next((urls[d.name] for d in server.devices if d.name in urls), suggested)
        if not is_address(http):
            raise InputError(
                f"{server.devices[0].name}: {http!r} is not an address for nginx: name its host by "
                "letters, digits, dots and dashes, or use --url DEVICE=HOST:PORT."
            )
        host, _, port = http.rpartition(":")
        found[server.name] = Address(http, f"{host}:{int(port) + 1}")
    return found


def is_address(text: str) -> bool:
    """Whether it is HOST:PORT, of a name, an IPv4 address or an IPv6 address in brackets."""
    match = re.fullmatch(r"(?:[A-Za-z0-9_.-]+|\[[0-9A-Fa-f:.]+\]):([0-9]{1,5})", text)
    return match is not None and 0 < int(match[1]) < 65535


def both(old: Layout, new: Layout) -> Layout:
    """The new layout and, besides, the replicas that only the old one has, at rate 0."""
    devices = {device.name: device for device in (*old.devices, *new.devices)}
    will = {device.name: device.residents for device in new.devices}
    was = {device.name: device.residents for device in old.devices}
    merged = []
    for name, device in devices.items():
        stays = will.get(name, ())
        names = {resident.model for resident in stays}
        goes = [replace(r, rate=0.0) for r in was.get(name, ()) if r.model not in names]
        merged.append(replace(device, residents=(*stays, *goes)))
    return replace(new, devices=tuple(merged))


def write(
    servers: Sequence[Server],
    target: Path,
    addresses: Mapping[str, Address],
    ports: tuple[int, int] = PORTS,
) -> None:
    """Write `nginx.conf`, to run by itself, and `model-placer.conf`, to include in another's."""
    folder.write(target / "model-placer.conf", routes(servers, addresses, ports))
    folder.write(target / "nginx.conf", NGINX)


def routes(
    servers: Sequence[Server], addresses: Mapping[str, Address], ports: tuple[int, int] = PORTS
) -> str:
    """The front door as the inside of nginx's `http { }`."""
    models = {model.name: model for server in servers for model in server.models}
    pools = {
        name: [(addresses[server.name], weight) for server, weight in rows]
        for name, rows in hosts_of(servers).items()
    }
    numbers = {name: number for number, name in enumerate(pools, 1)}
    everywhere = all(len(pool) == len(servers) for pool in pools.values())
    stateful = [n for n, model in models.items() if model.config.HasField("sequence_batching")]
    every = [(addresses[server.name], 1.0) for server in servers]
    parts = ["# Written by Model Placer: the front door of a layout."]
    parts += _pool("all", every, "any server", sticky=False)
    for name, pool in pools.items():
        parts += _pool(f"m{numbers[name]}", pool, name, sticky=_keeps_state(models[name]))
    parts += [
        "",
        "map $uri $model_placer_pool {",
        "    default none;",
        *(f'    "~^/v2/models/{_exactly(n)}(/|$)" m{i};' for n, i in numbers.items()),
        "}",
        "map $http_x_model $model_placer_grpc_pool {",
        "    default unknown;",
        f'    "" {"all" if everywhere else "none"};',
        *(f'    "~^{_exactly(n)}$" m{i};' for n, i in numbers.items()),
        "}",
        "map $model_placer_pool $model_placer_once {",
        "    default 0;",
        *(f"    m{numbers[name]} 1;" for name in stateful),
        "}",
        "map $model_placer_grpc_pool $model_placer_grpc_once {",
        "    default 0;",
        *(f"    m{numbers[name]} 1;" for name in stateful),
        "}",
        "map $http_x_sequence_id $model_placer_sequence {",
        '    "" $remote_addr;',
        "    default $http_x_sequence_id;",
        "}",
        "",
        _HTTP.replace("PORT", str(ports[0])),
        _GRPC.replace("PORT", str(ports[1])),
    ]
    return "\n".join(parts)


def weights(rates: Sequence[float]) -> list[int]:
    """Small whole numbers in proportion to the rates; the least is 1: a replica gets some."""
    largest = max(rates)
    if largest <= 0:
        return [1] * len(rates)
    rough = [max(1, round(FINEST_WEIGHT * rate / largest)) for rate in rates]
    divisor = gcd(*rough)
    return [number // divisor for number in rough]


def _keeps_state(model: ServedModel) -> bool:
    return bool(model.config.HasField("sequence_batching"))


def _pool(
    name: str, members: Sequence[tuple[Address, float]], title: str, *, sticky: bool
) -> list[str]:
    shares = weights([weight for _, weight in members])
    lines = []
    for protocol in ("http", "grpc"):
        lines += [
            "",
            f"# {title}",
            f"upstream {protocol}_{name} {{",
            f"    zone {protocol}_{name} {_zone_kib(len(members))}k;",
        ]
        if sticky:
            lines.append("    hash $model_placer_sequence consistent;")
        lines += [
            f"    server {getattr(address, protocol)} weight={share} max_fails=1 "
            f"fail_timeout={FAIL_TIMEOUT_S}s;"
            for (address, _), share in zip(members, shares, strict=True)
        ]
        lines += ["    keepalive 64;", "}"]
    return lines


def _zone_kib(servers: int) -> int:
    """Memory that nginx shares between its workers for an upstream of so many servers.

    A server takes up to 1.2 KiB in it (nginx 1.22 on 64 bits), and the pool itself some pages.
    """
    return 64 + 2 * servers


def _exactly(name: str) -> str:
    """A regular expression for the name, without what nginx reads itself in quotation marks."""
    return "".join(
        character
        if character.isascii() and (character.isalnum() or character in "_-")
        else "\\."
        if character == "."
        else "".join(f"\\x{byte:02x}" for byte in character.encode())
        for character in name
    )


NGINX = """\
# Written by Model Placer. Run it with: nginx -p <a directory to write to> -c <this file>
daemon off;
worker_processes auto;
error_log stderr warn;
pid nginx.pid;

events {
    worker_connections 4096;
}

http {
    access_log off;
    client_body_temp_path client-body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    include model-placer.conf;
}
"""

_HTTP = """\
server {
    listen PORT;
    client_max_body_size 0;
    client_body_buffer_size 1m;
    keepalive_requests 1000000;
    default_type application/json;
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    proxy_connect_timeout 1s;
    proxy_read_timeout 300s;
    proxy_next_upstream_tries 3;

    location /v2/models/ {
        if ($model_placer_pool = none) {
            return 404 '{"error":"the front door knows no model of this name"}';
        }
        # A server that is up and has not (or no longer) loaded the model is passed over, too.
        proxy_next_upstream error timeout invalid_header http_404 http_502 http_503 non_idempotent;
        error_page 418 = @once;
        if ($model_placer_once) {
            return 418;
        }
        proxy_pass http://http_$model_placer_pool;
    }
    location @once { # a model that keeps state must not see a request twice
        proxy_next_upstream error timeout;
        proxy_pass http://http_$model_placer_pool;
    }
    # /v2 and /v2/health/...: any server that answers. All the rest belongs to one server.
    location = /v2 {
        proxy_next_upstream error timeout invalid_header http_502 http_503;
        proxy_pass http://http_all;
    }
    location /v2/health/ {
        proxy_next_upstream error timeout invalid_header http_502 http_503;
        proxy_pass http://http_all;
    }
    location / {
        return 403 '{"error":"not through the front door: ask the server itself"}';
    }
}
"""

_GRPC = """\
server {
    listen PORT http2;
    client_max_body_size 0;
    client_body_buffer_size 1m;
    keepalive_requests 1000000;
    grpc_connect_timeout 1s;
    grpc_read_timeout 300s;
    grpc_send_timeout 300s;
    grpc_next_upstream_tries 3;

    location ~ ^/inference\\.GRPCInferenceService/Model {
        error_page 418 = @once;
        error_page 421 = @no_model;
        error_page 422 = @unknown_model;
        if ($model_placer_grpc_pool = none) {
            return 421;
        }
        if ($model_placer_grpc_pool = unknown) {
            return 422;
        }
        if ($model_placer_grpc_once) {
            return 418;
        }
        grpc_next_upstream error timeout invalid_header http_502 http_503 non_idempotent;
        grpc_pass grpc://grpc_$model_placer_grpc_pool;
    }
    location @once {
        grpc_next_upstream error timeout;
        grpc_pass grpc://grpc_$model_placer_grpc_pool;
    }
    location ~ ^/inference\\.GRPCInferenceService/Server {
        grpc_next_upstream error timeout invalid_header http_502 http_503;
        grpc_pass grpc://grpc_all;
    }
    location @no_model {
        default_type application/grpc;
        add_header grpc-status 3 always;
        add_header grpc-message "send the metadata x-model with the name of the model" always;
        return 204;
    }
    location @unknown_model {
        default_type application/grpc;
        add_header grpc-status 5 always;
        add_header grpc-message "the front door knows no model of this name" always;
        return 204;
    }
    location / {
        default_type application/grpc;
        add_header grpc-status 7 always;
        add_header grpc-message "not through the front door: ask the server itself" always;
        return 204;
    }
}
"""
