"""Sending events over HTTP: every event answered once, trouble of network and server waited out."""

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from kintsugi.send import MAX_BODY_BYTES, SendError, send_events

Answer = tuple[int, dict[str, str], bytes] | None
"""Status, headers, body; None: the connection is reset."""


class Peer:
    """A server that answers as it is told, and remembers what it took."""

    def __init__(self, answer: Callable[[int, list[Any]], Answer]) -> None:
        self.answer = answer
        self.batches: list[list[Any]] = []
        self.requests = 0
        self.clients: set[tuple[str, int]] = set()
        self.headers: list[dict[str, str]] = []
        self.paths: set[str] = set()
        self.lock = threading.Lock()
        self.url = ""


def taken(batch: list[Any], *rejected: int) -> Answer:
    entries = [{"index": i, "code": "missing_type"} for i in rejected]
    body = {"success": True, "accepted": len(batch) - len(entries), "rejected": entries}
    return 200, {}, json.dumps(body).encode()


@contextmanager
def serving(peer: Peer, port: int = 0) -> Iterator[Peer]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            batch = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["batch"]
            with peer.lock:
                peer.requests += 1
                peer.clients.add(self.client_address)
                peer.headers.append(dict(self.headers))
                peer.paths.add(self.path)
                answer = peer.answer(peer.requests, batch)
                if answer and answer[0] == 200:
                    peer.batches.append(batch)
            if answer is None:
                self.connection.shutdown(socket.SHUT_RDWR)
                self.close_connection = True
                return
            status, headers, body = answer
            head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
            self.wfile.write(
                f"HTTP/1.1 {status} x\r\n{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
            )

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    peer.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield peer
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def numbered(count: int) -> list[dict[str, Any]]:
    return [{"type": "track", "messageId": str(i)} for i in range(count)]


def ids(peer: Peer) -> list[int]:
    return [int(event["messageId"]) for batch in peer.batches for event in batch]


def test_every_event_arrives_once_in_batches_over_kept_connections() -> None:
    with serving(Peer(lambda _, batch: taken(batch))) as peer:
        sent = send_events(peer.url, "wk_1", numbered(1030), batch_size=100, connections=3)
    assert (sent.accepted, sent.rejected) == (1030, 0)
    assert sorted(ids(peer)) == list(range(1030))
    assert sorted(map(len, peer.batches)) == [30] + [100] * 10
    assert len(peer.clients) <= 3
    assert peer.paths == {"/v1/batch"}
    assert peer.headers[0]["Authorization"] == "Basic d2tfMTo="


def test_one_connection_keeps_the_order_and_json_is_sent_byte_for_byte() -> None:
    lines = [b'{"messageId" : "%d"}' % i for i in range(500)]
    with serving(Peer(lambda _, batch: taken(batch))) as peer:
        send_events(peer.url + "/prefix/", "k", iter(lines), batch_size=7, connections=1)
    assert ids(peer) == list(range(500))
    assert peer.paths == {"/prefix/v1/batch"}


def test_rejected_events_are_counted_and_progress_tells_the_totals() -> None:
    seen: list[tuple[int, int]] = []
    with serving(Peer(lambda _, batch: taken(batch, 0, 3))) as peer:
        sent = send_events(
            peer.url, "k", numbered(50), batch_size=10, progress=lambda good, bad: seen.append((good, bad))
        )
    assert (sent.accepted, sent.rejected) == (40, 10)
    assert seen[-1] == (40, 10)
    assert seen == sorted(seen)
    assert len(seen) == 5


def test_overload_is_waited_out_as_the_server_asks() -> None:
    def answer(request: int, batch: list[Any]) -> Answer:
        return (429, {"Retry-After": "0.2"}, b"{}") if request <= 2 else taken(batch)

    with serving(Peer(answer)) as peer:
        sent = send_events(peer.url, "k", numbered(10), connections=1)
    assert sent.accepted == 10
    assert 0.4 <= sent.seconds < 3


def test_resets_and_server_errors_are_tried_again_without_losing_events() -> None:
    def answer(request: int, batch: list[Any]) -> Answer:
        if request % 4 == 2:
            return None
        return (503, {}, b"restarting") if request % 4 == 3 else taken(batch)

    with serving(Peer(answer)) as peer:
        sent = send_events(peer.url, "k", numbered(200), batch_size=20, connections=2)
    assert sent.accepted == 200
    assert sorted(ids(peer)) == list(range(200))


def test_a_collector_that_comes_back_late_still_gets_everything() -> None:
    peer = Peer(lambda _, batch: taken(batch))
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        port = reserved.getsockname()[1]

    def come_back() -> None:
        with serving(peer, port):
            assert done.wait(20)

    done = threading.Event()
    later = threading.Timer(0.3, come_back)
    later.start()
    try:
        sent = send_events(f"http://127.0.0.1:{port}", "k", numbered(30), batch_size=10)
    finally:
        done.set()
        later.join()
    assert sent.accepted == 30
    assert sorted(ids(peer)) == list(range(30))


def test_patience_ends_when_nobody_answers() -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        port = reserved.getsockname()[1]
        with pytest.raises(SendError, match=r"no answer within 0\.3 s") as refused:
            send_events(f"http://127.0.0.1:{port}", "k", numbered(3), patience=0.3)
    assert refused.value.status == 0


@pytest.mark.parametrize("status", [400, 401, 413, 301])
def test_a_refusal_ends_sending_at_once(status: int) -> None:
    with (
        serving(Peer(lambda *_: (status, {"Location": "/x"}, b'{"code":"unknown_key"}'))) as peer,
        pytest.raises(SendError, match="unknown_key") as refused,
    ):
        send_events(peer.url, "k", numbered(5000), batch_size=10)
    assert refused.value.status == status
    assert peer.requests < 20


def test_a_server_that_is_no_collector_is_not_believed() -> None:
    with (
        serving(Peer(lambda *_: (200, {}, b"<html>welcome</html>"))) as peer,
        pytest.raises(SendError, match="not a collector"),
    ):
        send_events(peer.url, "k", numbered(1))


def test_large_events_make_smaller_batches() -> None:
    events = [{"messageId": str(i), "text": "x" * 200_000} for i in range(45)]
    with serving(Peer(lambda _, batch: taken(batch))) as peer:
        send_events(peer.url, "k", events)
    assert sorted(ids(peer)) == list(range(45))
    assert max(len(batch) for batch in peer.batches) <= MAX_BODY_BYTES // 200_000
    assert max(int(headers["Content-Length"]) for headers in peer.headers) < 5_000_000


def test_a_failure_of_the_events_source_is_not_swallowed() -> None:
    def broken() -> Iterator[dict[str, Any]]:
        yield from numbered(5)
        raise OSError("disk")

    with serving(Peer(lambda _, batch: taken(batch))) as peer, pytest.raises(OSError, match="disk"):
        send_events(peer.url, "k", broken(), batch_size=2)


def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    with serving(Peer(lambda _, batch: taken(batch))) as peer:
        assert send_events(peer.url, "k", numbered(3)).accepted == 3


def test_a_url_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="not an http"):
        send_events("127.0.0.1:80", "k", [])
