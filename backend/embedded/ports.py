"""Ports of this machine: which are free, and who listens."""

import socket

import psutil

from backend.embedded.home import StackError


def free_port() -> int:
    """A port of 127.0.0.1 on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def listens(host: str, port: int) -> bool:
    """Whether somebody takes connections there."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.settimeout(0.5)
        return probe.connect_ex((host, port)) == 0


def require_free(host: str, port: int) -> None:
    """See that the API can listen at ``host`` and ``port``.

    Raises:
        StackError: it cannot.
    """
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(
            socket.SOL_SOCKET, socket.SO_REUSEADDR, 1
        )  # as the API does: connections in TIME_WAIT are fine
        try:
            probe.bind((host, port))
        except PermissionError as error:
            raise StackError(
                f"This user may not listen on port {port}: name one above 1023 in MORELIKE_PORT."
            ) from error
        except OSError as error:
            other = port + 1 if port < 65535 else 8000
            raise StackError(
                f"Nothing can listen on {host}:{port} ({error.strerror}): stop what uses it, or name another port, "
                f"as in MORELIKE_PORT={other}."
            ) from error


def listeners(port: int) -> int:
    """Number of sockets that listen on ``port``: gRPC servers can share one without a word."""
    found = psutil.net_connections(kind="tcp")
    return sum(one.status == psutil.CONN_LISTEN and one.laddr.port == port for one in found if one.laddr)
