"""The plain-socket call against the gRPC server of grpcio: the same answers, and a clear word about all else."""

import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backend import grpc_wire
from backend.grpc_wire import MOST_SENT, UnaryWire, WireError

PATH = "/test.Echo/Say"


class Echo(grpc.GenericRpcHandler):
    """Answers ``times:body`` with the body that many times, and words with what they say."""

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        if handler_call_details.method != PATH:
            return None
        return grpc.unary_unary_rpc_method_handler(self.say)

    @staticmethod
    def say(request: bytes, context: grpc.ServicerContext) -> bytes:
        if request == b"refuse":
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "refused")
        if request == b"sleep":
            time.sleep(0.5)
        if request == b"who":
            return dict(context.invocation_metadata())["authorization"].encode()
        times, _, body = request.partition(b":")
        return body * int(times) if times.isdigit() else b"slept"


def serve(port: int = 0) -> tuple[grpc.Server, int]:
    server = grpc.server(ThreadPoolExecutor(8), handlers=(Echo(),), options=[("grpc.so_reuseport", 0)])
    bound = server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    return server, bound


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    server, bound = serve()
    yield bound
    server.stop(None)


@pytest.fixture
def wire(port: int) -> Iterator[UnaryWire]:
    wire = UnaryWire("127.0.0.1", port, PATH, {"authorization": "secret " + "x" * 300})
    yield wire
    wire.close()


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=st.binary(max_size=MOST_SENT - 10), times=st.sampled_from([0, 1, 2, 40]))
def test_gives_the_message_that_the_server_gives(wire: UnaryWire, body: bytes, times: int) -> None:
    assert wire.call(b"%d:%s" % (times, body), 10) == body * times


def test_one_connection_takes_call_after_call(wire: UnaryWire) -> None:
    for place in range(300):  # more bytes both ways than the windows that a connection starts with
        assert wire.call(b"20:" + bytes([place % 256]) * 4_000, 10) == bytes([place % 256]) * 80_000
    assert len(wire._idle) == 1


def test_a_long_connection_lets_the_server_go_on(wire: UnaryWire, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grpc_wire, "_WINDOW", 200_000)
    monkeypatch.setattr(grpc_wire, "_INITIAL_WINDOW", grpc_wire.struct.pack("!HI", 4, 200_000))
    for _ in range(30):
        assert len(wire.call(b"50:" + b"y" * 3_000, 10)) == 150_000


def test_threads_have_a_connection_each(wire: UnaryWire) -> None:
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda n: wire.call(b"3:%d" % n, 10), range(200)))
    assert answers == [b"%d" % n * 3 for n in range(200)]
    assert 1 <= len(wire._idle) <= 8


def test_sends_its_headers(wire: UnaryWire) -> None:
    assert wire.call(b"who", 10) == b"secret " + b"x" * 300


def test_says_what_it_cannot_answer(wire: UnaryWire, port: int) -> None:
    with pytest.raises(WireError, match="without a message"):
        wire.call(b"refuse", 10)
    with pytest.raises(WireError, match="at most"):
        wire.call(b"x" * (MOST_SENT + 1), 10)
    began = time.monotonic()
    with pytest.raises(WireError, match=r"in time|timed out"):
        wire.call(b"sleep", 0.1)
    assert time.monotonic() - began < 0.4
    with pytest.raises(WireError):
        UnaryWire("127.0.0.1", port, "/test.Echo/Nothing", {}).call(b"1:a", 10)
    assert wire.call(b"2:fine", 10) == b"finefine"


def test_a_server_that_is_gone_is_said_and_one_that_is_back_is_used() -> None:
    server, port = serve()
    wire = UnaryWire("127.0.0.1", port, PATH, {})
    assert wire.call(b"1:a", 10) == b"a"
    server.stop(None).wait()
    with pytest.raises(WireError):
        wire.call(b"1:b", 10)
    server, _ = serve(port)
    assert wire.call(b"1:c", 10) == b"c"
    server.stop(None)


def test_a_connection_that_idled_is_made_anew(wire: UnaryWire, monkeypatch: pytest.MonkeyPatch) -> None:
    wire.call(b"1:a", 10)
    [first] = wire._idle
    monkeypatch.setattr(grpc_wire, "_IDLE_S", 0.0)
    wire.call(b"1:a", 10)
    assert list(wire._idle) != [first]


@settings(max_examples=40, deadline=None)
@given(st.binary(min_size=1, max_size=200))
def test_a_peer_that_speaks_anything_else_is_no_answer(noise: bytes) -> None:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(1)

        def answer() -> None:
            peer, _ = listening.accept()
            with peer:
                peer.sendall(noise)

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(WireError):
            UnaryWire("127.0.0.1", listening.getsockname()[1], PATH, {}).call(b"1:a", 0.5)
        thread.join()
