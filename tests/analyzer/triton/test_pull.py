"""Pulling an image, from a small registry of the test's own; the engine is the real one."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import docker
import pytest

from analyzer.triton import local, pull
from analyzer.triton.docker import connect
from profiles.errors import SurroundingsError

pytestmark = pytest.mark.docker


def digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


@contextmanager
def a_registry(seconds: float) -> Iterator[str]:
    """A registry on this machine that takes some seconds to send an image of one layer."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        entry = tarfile.TarInfo("weights")
        entry.size = 4_000_000
        archive.addfile(entry, io.BytesIO(time.time_ns().to_bytes(8, "big") * 500_000))
    layer = stream.getvalue()
    config = json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": {},
            "rootfs": {"type": "layers", "diff_ids": [digest(layer)]},
        }
    ).encode()
    kind = "application/vnd.docker.distribution.manifest.v2+json"
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": kind,
            "config": {
                "mediaType": "application/vnd.docker.container.image.v1+json",
                "size": len(config),
                "digest": digest(config),
            },
            "layers": [
                {
                    "mediaType": "application/vnd.docker.image.rootfs.diff.tar",
                    "size": len(layer),
                    "digest": digest(layer),
                }
            ],
        }
    ).encode()
    blobs = {digest(config): config, digest(layer): layer, digest(manifest): manifest}

    class Registry(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.answer(body=False)

        def do_GET(self) -> None:
            self.answer(body=True)

        def answer(self, body: bool) -> None:
            name = self.path.rpartition("/")[2]
            content = b"{}" if self.path == "/v2/" else blobs.get(name, manifest)
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.send_header("Docker-Content-Digest", digest(content))
            self.send_header(
                "Content-Type", kind if content is manifest else "application/octet-stream"
            )
            self.end_headers()
            for start in range(0, len(content) if body else 0, 400_000):
                time.sleep(seconds / 10 if content is layer else 0)
                self.wfile.write(content[start : start + 400_000])

        def log_message(self, *arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Registry) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(scope="module")
def engine(triton_image: str) -> Iterator[docker.DockerClient]:
    client = connect()
    yield client
    client.close()


def test_a_pull_says_how_far_it_is(
    engine: docker.DockerClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pull, "REPORT_EVERY_S", 0.3)
    said: list[str] = []
    with a_registry(seconds=2) as registry:
        image = f"{registry}/triton:test"
        try:
            pull.ensure_image(engine, image, said.append)
            assert engine.images.get(image)
        finally:
            engine.images.remove(image)
    assert said[0] == f"Pulling {image}"
    assert any(line.endswith(" of 4 MB") for line in said[1:])


def test_an_image_that_is_here_is_not_pulled(
    engine: docker.DockerClient, triton_image: str
) -> None:
    said: list[str] = []
    pull.ensure_image(engine, triton_image, said.append)
    assert said == []


def test_a_registry_that_does_not_answer_is_named_with_the_engines_words(
    engine: docker.DockerClient,
) -> None:
    image = f"127.0.0.1:{local.free_ports()[0]}/triton:test"
    with pytest.raises(SurroundingsError, match=rf"cannot pull {image}: .*refused.*--triton-image"):
        pull.ensure_image(engine, image, lambda _: None)
