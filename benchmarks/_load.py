"""A small load generator for the callback: encrypted pushes made beforehand, kept connections, one thread.

It costs about 30 µs a request, so that a Python server is always the slower side. Closed loop: each of
``connections`` sends its next request when the answer is there. Open loop: requests are due at
Poisson moments whatever the server does, and latency counts from the due moment.
"""

import base64
import hashlib
import os
import random
import selectors
import socket
import struct
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Target:
    """Where pushes go and with which secrets they are made."""

    port: int
    path: str
    token: str
    aes_key: str  # 43 characters
    app_id: str
    original_id: str = "gh_0123456789ab"


@dataclass
class Outcome:
    """What one phase measured. Latencies in seconds, sorted."""

    requests: int = 0
    failures: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0  # of the whole server process tree
    own_cpu_seconds: float = 0.0  # of the generator
    latencies: list[float] = field(default_factory=list)

    @property
    def per_second(self) -> float:
        return self.requests / self.seconds

    @property
    def per_cpu_second(self) -> float:
        return self.requests / self.cpu_seconds if self.cpu_seconds else float("inf")

    def quantile(self, share: float) -> float:
        if not self.latencies:
            return float("nan")
        return self.latencies[min(len(self.latencies) - 1, int(share * len(self.latencies)))]


class PushMaker:
    """Makes text pushes in safe mode as the platform does: every MsgId new, 2,000 followers by turns."""

    def __init__(self, target: Target, seed: int = 1) -> None:
        self.target = target
        key = base64.b64decode(target.aes_key + "=")
        self.cipher = Cipher(algorithms.AES(key), modes.CBC(key[:16]))
        self.random = random.Random(seed)
        self.message_id = int(time.time()) << 32 | seed << 24

    def request(self, content: str, follower: int) -> bytes:
        """One whole HTTP request."""
        target = self.target
        self.message_id += 1
        stamp, nonce = str(int(time.time())), f"{self.random.getrandbits(32):010d}"
        xml = (
            f"<xml><ToUserName><![CDATA[{target.original_id}]]></ToUserName>"
            f"<FromUserName><![CDATA[o_bench_{follower:020d}]]></FromUserName>"
            f"<CreateTime>{stamp}</CreateTime><MsgType><![CDATA[text]]></MsgType>"
            f"<Content><![CDATA[{content}]]></Content><MsgId>{self.message_id}</MsgId></xml>"
        ).encode()
        plain = self.random.randbytes(16) + struct.pack(">I", len(xml)) + xml
        plain += target.app_id.encode()
        pad = 32 - len(plain) % 32
        encryptor = self.cipher.encryptor()
        sealed = encryptor.update(plain + bytes([pad]) * pad) + encryptor.finalize()
        encrypted = base64.b64encode(sealed).decode()
        body = (
            f"<xml><ToUserName><![CDATA[{target.original_id}]]></ToUserName>"
            f"<Encrypt><![CDATA[{encrypted}]]></Encrypt></xml>"
        ).encode()
        query = (
            f"signature={_sha1(target.token, stamp, nonce)}&timestamp={stamp}&nonce={nonce}"
            f"&encrypt_type=aes&msg_signature={_sha1(target.token, stamp, nonce, encrypted)}"
        )
        head = (
            f"POST {target.path}?{query} HTTP/1.1\r\nHost: 127.0.0.1:{target.port}\r\n"
            f"Content-Type: text/xml\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body

    def requests(self, count: int, texts: Callable[[random.Random], str]) -> deque[bytes]:
        return deque(
            self.request(texts(self.random), self.random.randrange(2000)) for _ in range(count)
        )

    def open_reply(self, body: bytes) -> str:
        """The plain XML inside an encrypted reply; the body itself when it is not encrypted."""
        text = body.decode()
        if "<Encrypt>" not in text:
            return text
        encrypted = text.split("<Encrypt>")[1].split("</Encrypt>")[0]
        encrypted = encrypted.removeprefix("<![CDATA[").removesuffix("]]>")
        decryptor = self.cipher.decryptor()
        plain = decryptor.update(base64.b64decode(encrypted)) + decryptor.finalize()
        (size,) = struct.unpack(">I", plain[16:20])
        return plain[20 : 20 + size].decode()


def _sha1(*parts: str) -> str:
    return hashlib.sha1("".join(sorted(parts)).encode()).hexdigest()


class _Connection:
    __slots__ = ("buffer", "due", "socket")

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=10)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""
        self.due = 0.0


def _complete(buffer: bytes) -> tuple[bool, bool, bytes] | None:
    """(answered 200, connection stays, body) once the whole response is there."""
    end = buffer.find(b"\r\n\r\n")
    if end < 0:
        return None
    head = buffer[:end].lower()
    at = head.find(b"content-length:")
    if at < 0:
        raise RuntimeError("the server answers without Content-Length")
    size = int(head[at + 15 :].split(b"\r\n", 1)[0])
    if len(buffer) < end + 4 + size:
        return None
    return buffer[9:12] == b"200", b"connection: close" not in head, buffer[end + 4 :]


def ask(port: int, request: bytes) -> bytes:
    """One request on its own connection; the body of the answer."""
    connection = _Connection(port)
    connection.socket.sendall(request)
    while (found := _complete(connection.buffer)) is None:
        chunk = connection.socket.recv(65536)
        if not chunk:
            raise RuntimeError("the server hung up")
        connection.buffer += chunk
    connection.socket.close()
    if not found[0]:
        raise RuntimeError(f"the server answered {connection.buffer[:200]!r}")
    return found[2]


def run(
    port: int,
    pending: deque[bytes],
    *,
    seconds: float,
    connections: int,
    rate: float | None = None,
    pids: Sequence[int] = (),
) -> Outcome:
    """Send ``pending`` for at most ``seconds``; closed loop, or open loop at ``rate`` a second."""
    outcome = Outcome()
    selector = selectors.DefaultSelector()
    idle = deque(_Connection(port) for _ in range(connections))
    for connection in idle:
        selector.register(connection.socket, selectors.EVENT_READ, connection)
    arrivals = random.Random(2)
    clock = time.perf_counter
    cpu_before, own_before = cpu_seconds(pids), time.process_time()
    start = clock()
    stop = start + seconds
    next_due = start
    busy = 0
    while True:
        moment = clock()
        while pending and idle and moment < stop and (rate is None or next_due <= moment):
            connection = idle.popleft()
            connection.due = moment if rate is None else next_due
            if rate is not None:
                next_due += arrivals.expovariate(rate)
            connection.socket.sendall(pending.popleft())
            busy += 1
        if busy == 0 and (moment >= stop or not pending):
            break
        if moment > stop + 20:
            outcome.failures += busy
            break
        wait = 1.0
        if rate is not None and idle and moment < stop:
            wait = max(0.0, min(next_due - moment, 1.0))
        for key, _ in selector.select(wait):
            connection = key.data
            chunk = connection.socket.recv(65536)
            connection.buffer += chunk
            found = _complete(connection.buffer) if chunk else (False, False, b"")
            if found is None:
                continue
            busy -= 1
            good, stays, _body = found
            outcome.requests += good
            outcome.failures += not good
            outcome.latencies.append(clock() - connection.due)
            connection.buffer = b""
            if not stays:
                selector.unregister(connection.socket)
                connection.socket.close()
                connection = _Connection(port)
                selector.register(connection.socket, selectors.EVENT_READ, connection)
            idle.append(connection)
    outcome.seconds = clock() - start
    outcome.cpu_seconds = cpu_seconds(pids) - cpu_before
    outcome.own_cpu_seconds = time.process_time() - own_before
    outcome.latencies.sort()
    for key in list(selector.get_map().values()):
        key.data.socket.close()
    selector.close()
    return outcome


def process_tree(pid: int) -> list[int]:
    """``pid`` and all its descendants."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
            except (OSError, IndexError):
                continue
            children.setdefault(parent, []).append(int(entry.name))
    found = [pid]
    for one in found:
        found.extend(children.get(one, []))
    return found


def cpu_seconds(pids: Sequence[int]) -> float:
    """User and system time of living processes, in seconds (resolution 10 ms)."""
    total = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        total += int(fields[11]) + int(fields[12])
    return total / TICKS


def memory_mb(pids: Sequence[int]) -> float:
    """Resident memory of the processes together, in MB (shared pages counted once each)."""
    kilobytes = 0
    for pid in pids:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                kilobytes += int(line.split()[1])
    return kilobytes / 1024
