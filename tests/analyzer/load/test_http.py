"""The HTTP generator against a server whose service time is known."""

import asyncio
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from queue import Queue

import psutil
import pytest

from analyzer.load import worker_pool
from analyzer.load.generator import PreparedRequest
from analyzer.load.steady_state import SteadyStateRule
from profiles.errors import SurroundingsError
from profiles.measurement import LoadPoint

RULE = SteadyStateRule(max_duration_s=3.0)
REQUEST = [PreparedRequest("/v2/models/bert/infer", b"x" * 100)]


@contextmanager
def a_server(
    service_s: float,
    workers: int,
    fail_every: int = 0,
    close_every: int = 0,
    stall_at: int = 0,
    stall_s: float = 0.0,
    spent_s: list[float] | None = None,
) -> Iterator[str]:
    """An HTTP server that works on so many requests at once, each for the service time.

    What each really took is told in `spent_s`: a busy machine wakes it late.
    """
    ready: Queue[int] = Queue()
    stop = threading.Event()
    count = 0

    async def main() -> None:
        free = asyncio.Semaphore(workers)

        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal count
            with suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
                while True:
                    head = await reader.readuntil(b"\r\n\r\n")
                    length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
                    await reader.readexactly(length)
                    count += 1
                    last = bool(close_every) and count % close_every == 0
                    if count == stall_at:
                        time.sleep(stall_s)  # all of the server stands still
                    async with free:
                        began_s = time.monotonic()
                        await asyncio.sleep(service_s)
                        if spent_s is not None:
                            spent_s.append(time.monotonic() - began_s)
                    if fail_every and count % fail_every == 0:
                        status, body = b"500 Oops", b'{"error":"no luck"}'
                    else:
                        status, body = b"200 OK", b"{}"
                    writer.write(
                        b"HTTP/1.1 %b\r\n%bContent-Length: %d\r\n\r\n%b"
                        % (status, b"Connection: close\r\n" * last, len(body), body)
                    )
                    if last:
                        break
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

        server = await asyncio.start_server(handle, "127.0.0.1", 0)
        ready.put(server.sockets[0].getsockname()[1])
        while not stop.is_set():
            await asyncio.sleep(0.01)
        server.close()

    thread = threading.Thread(target=lambda: asyncio.run(main()))
    thread.start()
    try:
        yield f"127.0.0.1:{ready.get()}"
    finally:
        stop.set()
        thread.join()


def test_latency_and_throughput_are_the_servers():
    """10 ms on 2 workers, 4 in flight: both always busy, and latency by Little."""
    spent_s: list[float] = []
    with a_server(0.010, workers=2, spent_s=spent_s) as url, worker_pool.start("http") as generator:
        generator.aim(url, REQUEST)
        result = generator.run(LoadPoint(1, 4), RULE)
    assert result.failures == 0
    assert result.latency is not None
    assert result.throughput <= 201
    assert result.throughput * statistics.fmean(spent_s) == pytest.approx(2, rel=0.2)
    assert result.throughput * result.latency.mean_ms / 1000 == pytest.approx(4, rel=0.05)


def test_batch_size_multiplies_inferences_not_requests():
    with a_server(0.005, workers=1) as url, worker_pool.start("http") as generator:
        generator.aim(url, REQUEST)
        result = generator.run(LoadPoint(8, 1), RULE)
    assert result.throughput == pytest.approx(8 * result.requests / result.duration_s)


def test_what_the_server_refuses_is_counted_and_quoted():
    with a_server(0.002, workers=1, fail_every=10) as url, worker_pool.start("http") as generator:
        generator.aim(url, REQUEST)
        result = generator.run(LoadPoint(1, 1), RULE)
    assert result.failures >= 1
    assert "no luck" in result.failure_texts[0]


def test_bodies_larger_than_a_socket_takes_arrive_whole():
    """20 MB at a time, two in flight: the server reads every byte before it answers."""
    large = [PreparedRequest("/v2/models/bert/infer", b"x" * (20 << 20))]
    with a_server(0.001, workers=2) as url, worker_pool.start("http") as generator:
        generator.aim(url, large)
        result = generator.run(LoadPoint(1, 2), SteadyStateRule(0.5, max_duration_s=2.0))
    assert result.failure_texts == ()
    assert result.requests >= 2


def test_a_refusal_between_successes_is_seen():
    """Successes are known by the last one's head; a refusal in between is none of them."""
    rule = SteadyStateRule(relative_half_width=0.0, max_duration_s=1.0)
    with a_server(0.001, workers=1, fail_every=50) as url, worker_pool.start("http") as generator:
        generator.aim(url, REQUEST)
        result = generator.run(LoadPoint(1, 1), rule)
    assert result.completed is not None
    assert result.failures == pytest.approx(result.completed / 49, abs=1.1)


def test_no_server_is_said():
    with worker_pool.start("http") as generator:
        generator.aim("127.0.0.1:1", REQUEST)
        with pytest.raises(SurroundingsError, match="cannot be reached"):
            generator.run(LoadPoint(1, 1), RULE)


def test_one_generator_drives_one_server_after_another():
    with worker_pool.start("http") as generator:
        for service_s in (0.002, 0.020):
            with a_server(service_s, workers=1) as url:
                generator.aim(url, REQUEST)
                result = generator.run(LoadPoint(1, 1), RULE)
                assert result.latency is not None
                assert result.latency.p50_ms >= 1000 * service_s


def test_it_stops_when_told():
    with a_server(0.005, workers=1) as url, worker_pool.start("http") as generator:
        generator.aim(url, REQUEST)
        result = generator.run(LoadPoint(1, 1), SteadyStateRule(1e-9), stop=lambda: True)
    assert result.duration_s < 1


def test_connections_that_the_server_ends_are_replaced():
    """A proxy ends a connection every so many requests: no failure, and four stay in flight."""
    with a_server(0.002, workers=8, close_every=10) as url, worker_pool.start("http") as generator:
        generator.aim(url, REQUEST)
        result = generator.run(LoadPoint(1, 4), RULE)
    assert result.failure_texts == ()
    assert result.requests >= 40
    assert result.latency is not None
    assert result.throughput * result.latency.mean_ms / 1000 == pytest.approx(4, rel=0.3)


def test_a_rate_is_kept_and_what_completes_is_counted():
    with a_server(0.002, workers=8) as url, worker_pool.start("http") as generator:
        generator.aim(url, REQUEST)
        result = generator.run(LoadPoint(1, None, request_rate=200.0), RULE)
    assert result.throughput == pytest.approx(200, rel=0.05)
    assert result.completed is not None
    assert result.completed >= result.requests


def test_a_stall_counts_for_all_who_would_have_called_meanwhile():
    """At 100 a second, 0.5 s of standstill meet 50 callers, who wait 250 ms in the mean.

    Counted from when they were sent it would be one request that took long.
    """
    rule = SteadyStateRule(relative_half_width=0.0)
    with (
        a_server(0.001, 8, stall_at=50, stall_s=0.5) as url,
        worker_pool.start("http") as generator,
    ):
        generator.aim(url, REQUEST)
        end = time.monotonic() + 1.5
        load = LoadPoint(1, None, request_rate=100.0)
        result = generator.run(load, rule, stop=lambda: time.monotonic() > end)
    assert result.latency is not None
    assert result.latency.p90_ms > 200
    assert result.latency.max_ms > 450


def test_two_workers_share_the_load():
    """With 0 % of a core as the mark, the first run always asks for another worker."""
    with (
        a_server(0.010, workers=4) as url,
        worker_pool.start("http", most_workers=2, busy_share=0.0) as generator,
    ):
        generator.aim(url, REQUEST)
        result = generator.run(LoadPoint(1, 4), SteadyStateRule(0.5, max_duration_s=1.0))
        processes = psutil.Process().children()
        assert sum("analyzer.load.worker" in p.cmdline() for p in processes) == 2
    assert result.failures == 0
    assert result.latency is not None
    assert result.throughput * result.latency.mean_ms / 1000 == pytest.approx(4, rel=0.1)


@pytest.mark.parametrize("load", [LoadPoint(1, 5), LoadPoint(1, None, request_rate=30.0)])
def test_shares_add_up_to_the_load(load: LoadPoint):
    parts = worker_pool.shares(load, 3)
    if load.concurrency:
        assert [part.concurrency for part in parts] == [2, 2, 1]
    else:
        assert [part.request_rate for part in parts] == [10.0] * 3


def test_workers_end_when_their_parent_is_killed():
    script = (
        "import psutil, time\n"
        "from analyzer.load import worker_pool\n"
        "with worker_pool.start('http'):\n"
        "    print(psutil.Process().children()[0].pid, flush=True)\n"
        "    time.sleep(60)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    with parent, parent.stdout:
        worker = psutil.Process(int(parent.stdout.readline()))
        time.sleep(0.2)
        parent.kill()
    worker.wait(5)


def test_what_is_no_http_is_said():
    """Where something else listens, the first bytes of its answer say so."""
    with (
        socket.create_server(("127.0.0.1", 0)) as listening,
        worker_pool.start("http") as generator,
    ):

        def answer() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = listening.accept()
                    with connection:
                        connection.recv(1000)
                        connection.sendall(b"220 smtp.example ESMTP\r\n")

        threading.Thread(target=answer, daemon=True).start()
        generator.aim(f"127.0.0.1:{listening.getsockname()[1]}", REQUEST)
        result = generator.run(LoadPoint(1, 1), RULE)
    assert result.requests == 0
    assert "not an HTTP response" in result.failure_texts[0]


def test_a_worker_that_is_killed_costs_its_run_only():
    """Once in the middle of a run, once between two."""
    with a_server(0.010, workers=2) as url, worker_pool.start("http") as generator:
        generator.aim(url, REQUEST)

        def kill() -> None:
            for process in psutil.Process().children():
                if "analyzer.load.worker" in process.cmdline():
                    process.kill()
                    process.wait(5)

        threading.Timer(0.4, kill).start()
        with pytest.raises(SurroundingsError, match="the load generator's process ended"):
            generator.run(LoadPoint(1, 2), SteadyStateRule(0.01, min_duration_s=5))
        assert generator.run(LoadPoint(1, 2), SteadyStateRule(0.5)).failures == 0
        kill()
        generator.aim(url, REQUEST)
        assert generator.run(LoadPoint(1, 2), SteadyStateRule(0.5)).failures == 0
