"""Docker's socket as it is where NVIDIA's container toolkit is: a request for GPUs is granted.

A real engine refuses such a request without the toolkit, which would mount the driver's libraries
into the container. This stands between a client and the real engine, and passes everything on but
that request: in its place the container gets the pretended NVML and the fleet's file.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

LIBRARY = "/usr/lib/x86_64-linux-gnu/libnvidia-ml.so.1"  # where the toolkit mounts NVML
ENGINE = "/var/run/docker.sock"


def environment() -> dict[str, str]:
    """What a container needs to find the fleet."""
    return {
        "PRETENDED_NVML_LIBRARY": LIBRARY,
        "PRETENDED_NVML_STATE": os.environ["PRETENDED_NVML_STATE"],
    }


def mounts() -> dict[str, str]:
    """What a container needs to see, by the path on the host."""
    state = os.environ["PRETENDED_NVML_STATE"]
    Path(state).chmod(0o666)  # a container's user is not ours
    return {os.environ["PRETENDED_NVML_LIBRARY"]: LIBRARY, state: state}


def grant(body: bytes) -> bytes:
    """A container's settings with the pretended driver in place of a request for GPUs."""
    settings: dict[str, Any] = json.loads(body)
    host = settings["HostConfig"]
    asked = host.pop("DeviceRequests", None) or []
    if asked:
        (devices,) = asked
        settings["Env"] += [f"{key}={value}" for key, value in environment().items()]
        settings["Env"].append(f"NVIDIA_VISIBLE_DEVICES={','.join(devices['DeviceIDs'])}")
        host.setdefault("Mounts", []).extend(
            {"Type": "bind", "Source": here, "Target": there} for here, there in mounts().items()
        )
        host["PidMode"] = "host"  # a driver knows processes by their numbers on the host
    return json.dumps(settings).encode()


class Passing(socketserver.StreamRequestHandler):
    """One request, and what the engine answers to it."""

    def handle(self) -> None:
        head = []
        while (line := self.rfile.readline()) not in {b"\r\n", b""}:
            head.append(line)
        if not head:
            return
        headers = dict(line.lower().split(b":", 1) for line in head[1:])
        body = self.rfile.read(int(headers.get(b"content-length", b"0")))
        if b"/containers/create" in head[0]:
            body = grant(body)
        kept = [line for line in head if not line.lower().startswith((b"content-length", b"conn"))]
        kept += [f"Content-Length: {len(body)}\r\n".encode(), b"Connection: close\r\n\r\n"]
        with socket.socket(socket.AF_UNIX) as engine:
            engine.connect(ENGINE)
            engine.sendall(b"".join(kept) + body)
            with engine.makefile("rb") as answer:
                shutil.copyfileobj(answer, self.wfile)


class Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True


@contextmanager
def installed(folder: Path) -> Iterator[Path]:
    """The socket of an engine with the toolkit."""
    path = folder / "docker.sock"
    with Server(str(path), Passing) as server:
        path.chmod(0o666)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield path
        finally:
            server.shutdown()
            thread.join()
