"""A unary gRPC call over a plain socket, for the calls that a search waits for.

The general client costs 0.5 ms of processor time a call, most of it in waking threads of its own; a request and its
answer on a blocking socket cost a tenth. This one speaks only as much HTTP/2 (RFC 9113) as one small request and its
answer need, one call at a time on each connection, without TLS. Whatever else it meets it says so (``WireError``), and
the caller asks through the general client, which knows errors, retries and the rest.
"""

import socket
import struct
import threading
import time
from collections import deque
from dataclasses import dataclass, field

MOST_SENT = 16_000
"""Bytes of a request: it goes out as one frame, which every peer takes."""

_IDLE_S = 20.0  # servers ping connections that idle for longer, and hang up on those that do not answer
_WINDOW = 2**30
_DATA, _HEADERS, _RESET, _SETTINGS, _PING, _GOAWAY, _MORE_WINDOW = 0, 1, 3, 4, 6, 7, 8
_END_STREAM, _END_HEADERS, _PADDED, _ACK = 0x1, 0x4, 0x8, 0x1
_HEAD = struct.Struct("!BHBBI")  # length in 8 and 16 bits, kind, flags, stream
_PREFIX = struct.Struct("!BI")  # of a gRPC message: not compressed, its length
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_INITIAL_WINDOW = struct.pack("!HI", 4, _WINDOW)


class WireError(Exception):
    """This connection did not give a plain answer; it is closed, and another way may."""


@dataclass
class _Connection:
    """One connection and what HTTP/2 remembers of it."""

    stream: socket.socket
    sendable: int = 65_535
    next_id: int = 1
    taken: int = 0
    used_at: float = field(default_factory=time.monotonic)
    rest: bytes = b""
    leaving: bool = False


class UnaryWire:
    """Unary calls of one method to ``host:port``. Safe to share between threads: each call has a connection of its own.

    Args:
        host: of the server.
        port: of the server.
        path: of the method, ``/package.Service/Method``.
        headers: what goes with every call beside what gRPC asks for, lower case.
    """

    def __init__(self, host: str, port: int, path: str, headers: dict[str, str]) -> None:
        self._address = (host, port)
        always = {
            ":method": "POST",
            ":scheme": "http",
            ":path": path,
            ":authority": f"{host}:{port}",
            "te": "trailers",
            "content-type": "application/grpc",
        }
        self._headers = b"".join(_literal(name, value) for name, value in (always | headers).items())
        self._idle: deque[_Connection] = deque()
        self._closed = threading.Event()

    def call(self, request: bytes, timeout_s: float) -> bytes:
        """The message that answers ``request``.

        Raises:
            WireError: there was no plain answer: no connection, an error, too long a request, or not in time.
        """
        if len(request) > MOST_SENT:
            raise WireError(f"{len(request)} bytes; at most {MOST_SENT} are sent in this way")
        deadline = time.monotonic() + timeout_s
        connection = self._connection(timeout_s)
        try:
            answer = _exchange(connection, self._headers, request, deadline)
        except (OSError, struct.error) as error:
            connection.stream.close()
            raise WireError(str(error)) from error
        except WireError:
            connection.stream.close()
            raise
        self._give_back(connection)
        return answer

    def close(self) -> None:
        """Close the connections that are idle; those in use close after their call."""
        self._closed.set()
        while self._idle:
            self._idle.pop().stream.close()

    def _connection(self, timeout_s: float) -> _Connection:
        while self._idle:
            try:
                found = self._idle.pop()  # the one used last
            except IndexError:  # another thread was faster
                break
            if time.monotonic() - found.used_at < _IDLE_S:
                return found
            found.stream.close()
        try:
            stream = socket.create_connection(self._address, timeout=timeout_s)
        except OSError as error:
            raise WireError(str(error)) from error
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        stream.sendall(
            _PREFACE
            + _frame(_SETTINGS, 0, 0, _INITIAL_WINDOW)
            + _frame(_MORE_WINDOW, 0, 0, struct.pack("!I", _WINDOW - 65_535))
        )
        return _Connection(stream)

    def _give_back(self, connection: _Connection) -> None:
        connection.used_at = time.monotonic()
        # ids are odd and end at 2**31; a server that is leaving takes no further calls
        if connection.leaving or connection.next_id > 2**30 or self._closed.is_set():
            connection.stream.close()
        else:
            self._idle.append(connection)


def _exchange(connection: _Connection, headers: bytes, request: bytes, deadline: float) -> bytes:
    stream_id, connection.next_id = connection.next_id, connection.next_id + 2
    message = _PREFIX.pack(0, len(request)) + request
    connection.sendable -= len(message)
    if connection.sendable < 0:
        raise WireError("the server took no more")
    connection.stream.settimeout(max(deadline - time.monotonic(), 0.001))
    connection.stream.sendall(
        _frame(_HEADERS, _END_HEADERS, stream_id, headers) + _frame(_DATA, _END_STREAM, stream_id, message)
    )
    body = bytearray()
    while True:
        kind, flags, where, payload = _next_frame(connection, deadline)
        if where == 0:
            _manage(connection, kind, flags, payload)
        elif where == stream_id and kind == _RESET:
            raise WireError("the server broke the call off")
        elif where == stream_id and kind == _DATA:
            body += _unpadded(flags, payload)
            _allow(connection, len(payload))
        if where == stream_id and flags & _END_STREAM and kind in (_DATA, _HEADERS):
            return _message(body)


def _message(body: bytearray) -> bytes:
    """The one message of an answer; an error has none, and its reason stands in headers that are not read here."""
    if len(body) < _PREFIX.size:
        raise WireError("an answer without a message")
    compressed, length = _PREFIX.unpack_from(body)
    if compressed or length != len(body) - _PREFIX.size:
        raise WireError("an answer of another form")
    return bytes(body[_PREFIX.size :])


def _manage(connection: _Connection, kind: int, flags: int, payload: bytes) -> None:
    """What concerns the whole connection."""
    if kind == _SETTINGS and not flags & _ACK:
        connection.stream.sendall(_frame(_SETTINGS, _ACK, 0, b""))
    elif kind == _PING and not flags & _ACK:
        connection.stream.sendall(_frame(_PING, _ACK, 0, payload))
    elif kind == _MORE_WINDOW:
        connection.sendable += struct.unpack("!I", payload)[0]
    elif kind == _GOAWAY:
        connection.leaving = True


def _allow(connection: _Connection, count: int) -> None:
    """Let the server send as much again once half of what it may send is used up."""
    connection.taken += count
    if connection.taken > _WINDOW // 2:
        connection.stream.sendall(_frame(_MORE_WINDOW, 0, 0, struct.pack("!I", connection.taken)))
        connection.taken = 0


def _next_frame(connection: _Connection, deadline: float) -> tuple[int, int, int, bytes]:
    data = _at_least(connection, _HEAD.size, deadline)
    high, low, kind, flags, where = _HEAD.unpack_from(data)
    end = _HEAD.size + (high << 16 | low)
    data = _at_least(connection, end, deadline)
    connection.rest = data[end:]
    return kind, flags, where & 0x7FFF_FFFF, data[_HEAD.size : end]


def _at_least(connection: _Connection, count: int, deadline: float) -> bytes:
    while len(connection.rest) < count:
        left = deadline - time.monotonic()
        if left <= 0:
            raise WireError("no answer in time")
        connection.stream.settimeout(left)
        more = connection.stream.recv(65_536)
        if not more:
            raise WireError("the server hung up")
        connection.rest += more
    return connection.rest


def _unpadded(flags: int, payload: bytes) -> bytes:
    return payload[1 : len(payload) - payload[0]] if flags & _PADDED else payload


def _frame(kind: int, flags: int, where: int, payload: bytes) -> bytes:
    return _HEAD.pack(len(payload) >> 16, len(payload) & 0xFFFF, kind, flags, where) + payload


def _literal(name: str, value: str) -> bytes:
    """A header as HPACK (RFC 7541) writes one that it shall not remember: nothing is kept between calls."""
    return b"\x00" + _text(name.encode()) + _text(value.encode())


def _text(value: bytes) -> bytes:
    if len(value) < 127:
        return bytes([len(value)]) + value
    out, rest = bytearray([127]), len(value) - 127
    while rest > 127:
        out.append(rest & 127 | 128)
        rest >>= 7
    out.append(rest)
    return bytes(out) + value
