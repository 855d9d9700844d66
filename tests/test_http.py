"""What strangers' addresses may and may not make this server do."""

import gzip
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from backend.http import FetchFailed, FetchRefused, SafeFetcher
from tests.fixtures.hostile import Stranger, answer, drip, drip_headers, endless, picture_bytes, redirect
from tests.fixtures.timing import quickest


def fetcher(stranger: Stranger, **options: object) -> SafeFetcher:
    """A fetcher that may reach ``stranger`` and nothing else that is private."""
    return SafeFetcher(allowed_hosts={stranger.host}, **({"timeout_s": 5.0} | options))  # type: ignore[arg-type]


def answers(*addresses: str) -> Callable[[str, int], Sequence[str]]:
    return lambda _host, _port: addresses


def test_get_gives_the_body_and_asks_for_it_as_it_is(stranger: Stranger) -> None:
    url = stranger.serve("/a%20b.png?v=1", answer(b"body", "image/png"))
    fetched = fetcher(stranger).get(url)
    assert (fetched.data, fetched.content_type, fetched.final_url) == (b"body", "image/png", url)
    assert "accept-encoding: identity" in stranger.requests[0].lower()
    assert f"host: {stranger.host}" in stranger.requests[0].lower()


PRIVATE_HOSTS = [
    "127.0.0.1",
    "localhost",
    "127.1",
    "2130706433",  # 127.0.0.1 as one number
    "0x7f000001",
    "0177.0.0.1",
    "0.0.0.0",
    "10.0.0.1",
    "172.16.5.4",
    "192.168.1.1",
    "100.64.0.1",  # carrier-grade NAT
    "169.254.169.254",  # metadata of AWS, Google and Azure
    "100.100.100.200",  # metadata of Alibaba
    "168.63.129.16",  # Azure's
    "192.0.0.192",  # Oracle's
    "224.0.0.1",
    "255.255.255.255",
    "[::1]",
    "[::]",
    "[fe80::1]",
    "[fc00::1]",
    "[fd00:ec2::254]",  # metadata of AWS over IPv6
    "[ff02::1]",
    "[::ffff:127.0.0.1]",
    "[::ffff:8.8.8.8]",
    "[::127.0.0.1]",
    "[64:ff9b::7f00:1]",  # NAT64 of 127.0.0.1
    "[64:ff9b:1::a00:1]",
    "[2002:7f00:1::]",  # 6to4 of 127.0.0.1
    "[2001:0:7f00:1::]",  # Teredo
]


@pytest.mark.parametrize("host", PRIVATE_HOSTS)
def test_get_refuses_addresses_that_are_not_public(host: str) -> None:
    with pytest.raises(FetchRefused) as refused:
        SafeFetcher(timeout_s=2).get(f"http://{host}/x.png")
    assert refused.value.permanent


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "10.0.0.1", "169.254.169.254", "::1", "::ffff:10.0.0.1", "fe80::1%eth0"]
)
def test_get_refuses_names_that_resolve_to_private_addresses(address: str) -> None:
    for found in ([address], ["93.184.216.34", address], [address, "93.184.216.34"]):
        with pytest.raises(FetchRefused, match="public"):
            SafeFetcher(timeout_s=2, resolve=lambda _h, _p, found=found: found).get("http://shop.example/x.png")


@pytest.mark.parametrize("host", ["169.254.169.254", "0.0.0.0", "224.0.0.1", "100.100.100.200"])
def test_get_refuses_metadata_even_on_hosts_that_were_allowed(host: str) -> None:
    with pytest.raises(FetchRefused, match="public"):
        SafeFetcher(allowed_hosts={host, "images.internal"}, timeout_s=2).get(f"http://{host}/")
    with pytest.raises(FetchRefused, match="public"):
        SafeFetcher(allowed_hosts={"images.internal"}, timeout_s=2, resolve=answers(host)).get(
            "http://images.internal/"
        )


@pytest.mark.parametrize(
    "target",
    [
        "http://169.254.169.254/latest/meta-data/",
        "http://127.0.0.1:1/",
        "http://localhost:1/",
        "http://[::ffff:127.0.0.1]/",
        "//127.0.0.1:1/x",
        "file:///etc/passwd",
        "gopher://127.0.0.1:6379/_FLUSHALL",
        "http://user:secret@example.com/",
    ],
)
def test_get_checks_every_redirect_again(stranger: Stranger, target: str) -> None:
    stranger.serve("/start", redirect("/next"))
    stranger.serve("/next", redirect(target))
    with pytest.raises(FetchRefused) as refused:
        fetcher(stranger).get(stranger.url("/start"))
    assert "secret" not in str(refused.value.problem())
    assert stranger.paths() == ["/start", "/next"]


def test_get_follows_five_redirects_and_no_sixth(stranger: Stranger) -> None:
    for number in range(6):
        stranger.serve(f"/{number}", redirect(f"/{number + 1}"))
    stranger.serve("/6", answer(b"end"))
    assert fetcher(stranger).get(stranger.url("/1")).data == b"end"
    with pytest.raises(FetchRefused, match="redirects too often"):
        fetcher(stranger).get(stranger.url("/0"))


def test_get_connects_to_the_address_that_was_checked(stranger: Stranger) -> None:
    """A name that answers differently the second time is not asked a second time."""
    asked = []

    def rebinding(host: str, _port: int) -> list[str]:
        asked.append(host)
        return ["127.0.0.1"] if len(asked) == 1 else ["169.254.169.254"]

    stranger.serve("/x", answer(b"body"))
    safe = SafeFetcher(allowed_hosts={f"shop.test:{stranger.port}"}, timeout_s=5, resolve=rebinding)
    assert safe.get(f"http://Shop.Test:{stranger.port}/x").data == b"body"
    assert asked == ["shop.test"]
    assert f"host: shop.test:{stranger.port}" in stranger.requests[0].lower()


def test_allowed_host_opens_its_own_port_only(stranger: Stranger) -> None:
    stranger.serve("/x", answer(b"body"))
    with pytest.raises(FetchRefused, match="MORELIKE_IMAGE_ALLOWED_HOSTS"):
        SafeFetcher(allowed_hosts={"127.0.0.1", "127.0.0.1:9"}, timeout_s=2).get(stranger.url("/x"))


def test_get_reads_no_more_than_the_cap_of_an_endless_body(stranger: Stranger) -> None:
    stranger.serve("/endless", endless)
    with pytest.raises(FetchRefused, match="too large"):
        fetcher(stranger, max_bytes=2**20, timeout_s=60.0).get(stranger.url("/endless"))


def test_get_refuses_an_announced_length_before_reading(stranger: Stranger) -> None:
    stranger.serve("/huge", lambda c: c.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n"))
    with pytest.raises(FetchRefused, match="too large"):
        fetcher(stranger).get(stranger.url("/huge"))


@pytest.mark.parametrize("behaviour", [drip, drip_headers, lambda _connection: time.sleep(3)])
def test_get_ends_with_its_deadline_however_slow_the_server_drips(
    stranger: Stranger, behaviour: Callable[[socket.socket], None]
) -> None:
    stranger.serve("/slow", behaviour)

    def ended_after() -> float:
        began = time.monotonic()
        with pytest.raises(FetchFailed, match="too slow") as failed:
            fetcher(stranger, timeout_s=0.4).get(stranger.url("/slow"))
        assert not failed.value.permanent
        return time.monotonic() - began

    assert quickest(ended_after, 1.5) < 1.5


def test_get_ends_with_its_deadline_when_the_lookup_is_slow() -> None:
    def slow(_host: str, _port: int) -> list[str]:
        time.sleep(0.8)
        return ["93.184.216.34"]

    with pytest.raises(FetchFailed, match="too long"):
        SafeFetcher(timeout_s=0.2, resolve=slow).get("http://shop.example/")


def test_get_refuses_a_compressed_body(stranger: Stranger) -> None:
    """A gzip bomb: 10 MB of zeros in 10 KB, sent although it was not asked for."""
    stranger.serve("/bomb", answer(gzip.compress(b"\x00" * 10**7), Content_Encoding="gzip"))
    with pytest.raises(FetchRefused, match="compressed"):
        fetcher(stranger, max_bytes=2**20).get(stranger.url("/bomb"))


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        ("404 Not Found", FetchRefused),
        ("403 Forbidden", FetchRefused),
        ("410 Gone", FetchRefused),
        ("304 Not Modified", FetchRefused),
        ("429 Too Many Requests", FetchFailed),
        ("408 Request Timeout", FetchFailed),
        ("500 Internal Server Error", FetchFailed),
        ("503 Service Unavailable", FetchFailed),
    ],
)
def test_statuses_tell_never_from_later(stranger: Stranger, status: str, kind: type[Exception]) -> None:
    stranger.serve("/x", answer(b"", status=status))
    with pytest.raises(kind) as failed:
        fetcher(stranger).get(stranger.url("/x"))
    assert type(failed.value) is kind


def test_servers_that_break_off_or_talk_nonsense_are_worth_another_try(stranger: Stranger) -> None:
    stranger.serve("/cut", lambda c: c.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf"))
    stranger.serve("/nonsense", lambda c: c.sendall(b"\x00\x01 nonsense\r\n\r\n"))
    stranger.serve("/nothing", lambda _connection: None)
    for path in ("/cut", "/nonsense", "/nothing"):
        with pytest.raises(FetchFailed):
            fetcher(stranger).get(stranger.url(path))
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        host = f"127.0.0.1:{unused.getsockname()[1]}"
    with pytest.raises(FetchFailed):
        SafeFetcher(allowed_hosts={host}, timeout_s=2).get(f"http://{host}/")


@pytest.mark.parametrize(
    "url",
    [
        "ftp://example.com/x",
        "file:///etc/passwd",
        "javascript:alert(1)",
        "data:image/png;base64,AAAA",
        "//example.com/x",
        "/etc/passwd",
        "",
        "http://",
        "http:///x",
        "http://exa mple.com/",
        "http://example.com:99999/",
        "http://example.com:22/",
        "http://example.com:6379x/",
        "http://user@example.com/",
        "http://user:password@example.com/",
        "http://example.com\\@127.0.0.1/",
        "http://127.0.0.1#@example.com/",
        "http://[::1",
        "http://exam\x00ple.com/",
        "http://exam%70le.com/",
        "http://" + "a" * 300 + ".com/",
    ],
)
def test_get_refuses_what_is_no_plain_web_address(url: str) -> None:
    with pytest.raises(FetchRefused):
        SafeFetcher(timeout_s=2, resolve=answers("127.0.0.1")).get(url)


def test_header_injection_through_the_path_is_escaped(stranger: Stranger) -> None:
    with pytest.raises(FetchRefused):
        fetcher(stranger).get(stranger.url("/x y\u2028?q=ü z"))
    assert stranger.paths() == ["/x%20y%E2%80%A8?q=%C3%BC%20z"]


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs the openssl command to make a certificate")
def test_https_verifies_the_name_although_it_connects_to_the_address(tmp_path: Path) -> None:
    made = [
        *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=shop.test"),
        *("-addext", "subjectAltName=DNS:shop.test"),
        *("-keyout", str(tmp_path / "key.pem"), "-out", str(tmp_path / "cert.pem")),
    ]
    subprocess.run(made, check=True, capture_output=True)
    server_side = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server_side.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    names: list[str] = []
    server_side.sni_callback = lambda _s, name, _c: names.append(name)
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]

    def serve() -> None:
        for _ in range(2):
            connection, _peer = listener.accept()
            try:
                with server_side.wrap_socket(connection, server_side=True) as secured:
                    secured.recv(65536)
                    answer(b"secret picture")(secured)
            except OSError:
                connection.close()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    trusting = ssl.create_default_context(cafile=str(tmp_path / "cert.pem"))
    safe = SafeFetcher(
        allowed_hosts={f"shop.test:{port}", f"other.test:{port}"},
        timeout_s=5,
        resolve=answers("127.0.0.1"),
        ssl_context=trusting,
    )
    assert safe.get(f"https://shop.test:{port}/x").data == b"secret picture"
    with pytest.raises(FetchFailed):
        safe.get(f"https://other.test:{port}/x")
    assert names == ["shop.test", "other.test"]
    thread.join(120)
    listener.close()


def test_pictures_come_through_whole(stranger: Stranger) -> None:
    data = picture_bytes("JPEG", (640, 480))
    assert fetcher(stranger).get(stranger.serve("/p.jpg", answer(data))).data == data
