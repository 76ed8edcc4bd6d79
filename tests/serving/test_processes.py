"""The service as a process: slow clients, signals, kills."""

from __future__ import annotations

import contextlib
import http.client
import json
import signal
import socket
import threading
import time
from urllib.parse import urlsplit

import pytest

from nearfar.indexing import open_index
from tests.serving.service import process, vectors, write_index


def post(address, path, body):
    connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=30)
    try:
        connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
        reply = connection.getresponse()
        return reply.status, json.loads(reply.read())
    finally:
        connection.close()


def adding(address, acknowledged, stop):
    """Add items one by one until told to stop or refused."""
    row = 0
    while not stop.is_set():
        name = f"{threading.get_ident()}/{row}"
        item = {"id": name, "vector": vectors(1, seed=row)[0].tolist()}
        try:
            status, _ = post(address, "/v1/items", {"items": [item]})
        except (OSError, http.client.HTTPException, ValueError):
            return
        if status != 200:
            return
        acknowledged.append(name)
        row += 1


@pytest.mark.parametrize("end", [signal.SIGTERM, pytest.param(signal.SIGKILL, marks=pytest.mark.slow)])
def test_no_acknowledged_write_is_lost(tmp_path, end):
    path = write_index(tmp_path / "index")
    acknowledged: list[str] = []
    stop = threading.Event()
    with process("serve", path, "--rate", 0) as (running, address):
        threads = [threading.Thread(target=adding, args=(address, acknowledged, stop)) for _ in range(4)]
        for one in threads:
            one.start()
        while len(acknowledged) < 100:
            time.sleep(0.01)
        running.send_signal(end)
        code = running.wait(timeout=30)
        stop.set()
        for one in threads:
            one.join()
    if end == signal.SIGTERM:
        assert code == 0
        found = open_index(path)
        assert not (path / "writes.journal").exists()
    else:
        from nearfar.serving import Store

        store = Store(open_index(path), path)
        found = store.index
        store.close()
    assert [name for name in acknowledged if name not in found] == []
    assert 20 + len(acknowledged) <= found.count <= 20 + len(acknowledged) + 4


def test_slow_clients_are_let_go_and_others_are_served(tmp_path):
    path = write_index(tmp_path / "index")
    with process("serve", path, "--seconds", 3) as (_, address), contextlib.ExitStack() as open_sockets:
        host, port = urlsplit(address).hostname, urlsplit(address).port
        silent, half, slow = (
            open_sockets.enter_context(socket.create_connection((host, port), timeout=30)) for _ in range(3)
        )
        half.sendall(b"GET /v1/info HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Half: ")
        slow.sendall(b"POST /v1/search/vector HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000\r\n\r\n{")
        assert post(address, "/v1/search/vector", {"vectors": vectors(1).tolist()})[0] == 200
        start = time.monotonic()
        assert silent.recv(100) == b""
        assert half.recv(100) == b""
        assert slow.recv(4096).startswith(b"HTTP/1.1 408 ")
        assert time.monotonic() - start < 20


@pytest.mark.slow
def test_a_body_without_end_is_cut_off(tmp_path):
    path = write_index(tmp_path / "index")
    with process("serve", path, "--body-mib", 1) as (_, address):
        host, port = urlsplit(address).hostname, urlsplit(address).port
        with socket.create_connection((host, port), timeout=20) as one:
            one.sendall(b"POST /v1/search/vector HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n")
            sent = 0
            try:
                while sent < 64 * 2**20:
                    one.sendall(b"10000\r\n" + b"x" * 65_536 + b"\r\n")
                    sent += 65_536
            except OSError:
                pass
            assert sent < 32 * 2**20
        assert post(address, "/v1/search/vector", {"vectors": vectors(1).tolist()})[0] == 200


def test_a_taken_port_and_a_missing_key_are_one_sentence(tmp_path, capsys):
    from tests.cli.call import call, refused

    path = write_index(tmp_path / "index")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        outcome = call(capsys, "serve", path, "--port", taken.getsockname()[1])
    assert "choose another --port" in refused(outcome)
    assert "NEARFAR_API_KEY" in refused(call(capsys, "serve", path, "--host", "0.0.0.0"))
    (tmp_path / "key").write_text("short")
    assert "16 printable" in refused(call(capsys, "serve", path, "--key-file", tmp_path / "key"))
    assert "holds no finished index" in refused(call(capsys, "serve", tmp_path / "nowhere"))
