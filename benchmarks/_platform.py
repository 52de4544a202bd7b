"""A platform that answers every call after a fixed latency, for measuring senders: one thread, about 30 µs a call.

It reads requests with a Content-Length, answers token calls with a token and everything else with
``errcode`` 0, and counts what it took. It runs as a process of its own: ``start`` it, ``stop`` it.
"""

import multiprocessing
import os
import select
import socket
import time
from collections import deque
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

TICKS = os.sysconf("SC_CLK_TCK")
_TOKEN = b'{"access_token":"BENCH-TOKEN-0123456789","expires_in":7200}'
_OK = b'{"errcode":0,"errmsg":"ok"}'


def _answer(body: bytes) -> bytes:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json; encoding=utf-8\r\nContent-Length: %d\r\n\r\n"
    return head % len(body) + body


@dataclass
class Platform:
    """A running stub. ``counted`` asks how many calls it took so far."""

    port: int
    process: Any
    pipe: Connection

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def counted(self) -> int:
        self.pipe.send("count")
        return int(self.pipe.recv())

    def cpu_seconds(self) -> float:
        """User and system time of the stub so far."""
        with open(f"/proc/{self.process.pid}/stat") as file:
            fields = file.read().rsplit(") ", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def stop(self) -> None:
        self.pipe.send("stop")
        self.process.join(5)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()


def start(latency: float = 0.05) -> Platform:
    """Start the stub on a free port of this machine; it ends with its parent."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, latency), daemon=True)
    process.start()
    theirs.close()
    return Platform(int(ours.recv()), process, ours)


def _serve(pipe: Connection, latency: float) -> None:
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    listener.setblocking(False)
    pipe.send(listener.getsockname()[1])
    poll = select.epoll()
    poll.register(listener.fileno(), select.EPOLLIN)
    poll.register(pipe.fileno(), select.EPOLLIN)
    open_: dict[int, socket.socket] = {}
    begun: dict[int, bytes] = {}  # requests that came in pieces
    due: deque[tuple[float, int, bytes]] = deque()  # one latency for all: first come, first due
    taken = 0
    token, ok = _answer(_TOKEN), _answer(_OK)

    def drop(fd: int) -> None:
        poll.unregister(fd)
        begun.pop(fd, None)
        open_.pop(fd).close()

    while True:
        wait = max(0.0, due[0][0] - time.perf_counter()) if due else 1.0
        for fd, _event in poll.poll(wait):
            if fd == listener.fileno():
                while True:
                    try:
                        connection, _ = listener.accept()
                    except BlockingIOError:
                        break
                    connection.setblocking(False)
                    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    open_[connection.fileno()] = connection
                    poll.register(connection.fileno(), select.EPOLLIN)
                continue
            if fd == pipe.fileno():
                try:
                    asked = pipe.recv()
                except EOFError:
                    return
                if asked == "stop":
                    return
                pipe.send(taken)
                continue
            try:
                piece = open_[fd].recv(65536)
            except (BlockingIOError, ConnectionResetError):
                piece = b""
            if not piece:
                drop(fd)
                continue
            data = begun.pop(fd, b"") + piece
            head = data.find(b"\r\n\r\n")
            if head < 0 or len(data) < head + 4 + _length(data[:head]):
                begun[fd] = data
                continue
            is_token = data.startswith(b"POST /cgi-bin/stable_token")
            taken += not is_token
            due.append((time.perf_counter() + latency, fd, token if is_token else ok))
        now = time.perf_counter()
        while due and due[0][0] <= now:
            _at, fd, answer = due.popleft()
            if fd in open_:
                try:
                    open_[fd].send(answer)
                except OSError:
                    drop(fd)


def _length(head: bytes) -> int:
    place = head.lower().find(b"content-length:")
    return int(head[place + 15 :].split(b"\r\n", 1)[0]) if place >= 0 else 0
