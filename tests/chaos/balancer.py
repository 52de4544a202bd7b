"""What stands in front of two web servers: passes connections on, and skips a server that is down."""

import random
import selectors
import socket
import threading
from collections.abc import Sequence

CONNECT_SECONDS = 2.0
PIECE = 65_536


class Balancer:
    """Listens until ``close``; each connection goes to one of ``ports``, chosen by chance."""

    def __init__(self, ports: Sequence[int], chance: random.Random) -> None:
        self._ports = list(ports)
        self._chance = chance
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self._closing = False
        threading.Thread(target=self._listen, name="balancer", daemon=True).start()

    def close(self) -> None:
        self._closing = True
        self._socket.close()

    def _listen(self) -> None:
        while not self._closing:
            try:
                caller, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._pass_on, args=(caller,), daemon=True).start()

    def _pass_on(self, caller: socket.socket) -> None:
        with caller:
            server = self._server()
            if server is None:
                return
            with server:
                _join(caller, server)

    def _server(self) -> socket.socket | None:
        for port in self._chance.sample(self._ports, len(self._ports)):
            try:
                return socket.create_connection(("127.0.0.1", port), CONNECT_SECONDS)
            except OSError:
                continue
        return None


def _join(one: socket.socket, other: socket.socket) -> None:
    """Carry what comes from either to the other, until one of them ends."""
    with selectors.DefaultSelector() as ready:
        ready.register(one, selectors.EVENT_READ, other)
        ready.register(other, selectors.EVENT_READ, one)
        while True:
            for key, _ in ready.select():
                try:
                    piece = key.fileobj.recv(PIECE)  # type: ignore[union-attr]
                    if not piece:
                        return
                    key.data.sendall(piece)
                except OSError:
                    return
