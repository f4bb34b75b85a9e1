"""Which names a web page may reach the dashboard by: what keeps foreign pages out.

A page of somebody else's can let its own name point to this machine (DNS rebinding): the browser
then takes the dashboard for a part of that page, and hands everything over. The name stands in the
request's Host, so every name that was not expected is refused (421). A page that sends something
without being able to read the answer shows itself by its Origin (403).

`check_host` wraps a WSGI application; `parse_host` reads a Host, or what a user gives for one;
`is_loopback` tells addresses of this machine alone from those that others reach.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
"""What a browser on this machine may call it."""

LOCAL_ADDRESS_KEY = "SERVER_ADDR"
"""Of a request's environment: the address that the connection was made to."""

_DEFAULT_PORTS = {"http": 80, "https": 443}
# https://www.rfc-editor.org/rfc/rfc9110#section-7.2: a name or an IPv4 address, or an IPv6 address
# in brackets; a port.
_HOST = re.compile(r"(?:\[(?P<ipv6>[0-9a-fA-F:.]+)\]|(?P<name>[\w.-]+))(?::(?P<port>[0-9]{1,5}))?")
_UNBRACKETED_IPV6 = re.compile(r"[0-9a-fA-F.]*:[0-9a-fA-F.]*:[0-9a-fA-F:.]*")


class Host(NamedTuple):
    """A name or address, in the one form in which it is compared, and its port if one is given."""

    name: str
    port: int | None


def parse_host(text: str) -> Host | None:
    """Return the host that a text names, such as "Example.org:8080" or "[::1]"; None for none."""
    if _UNBRACKETED_IPV6.fullmatch(text):
        text = f"[{text}]"
    match = _HOST.fullmatch(text)
    if match is None or int(match["port"] or 0) > 65_535:
        return None
    name = (match["ipv6"] or match["name"]).lower().removesuffix(".")
    try:
        if match["ipv6"] or re.fullmatch(r"[0-9.]+", name):
            address = ipaddress.ip_address(name)
            mapped = getattr(address, "ipv4_mapped", None)  # ::ffff:127.0.0.1
            name = str(mapped or address)
        elif not name.isascii():
            name = name.encode("idna").decode()  # as browsers write it
    except ValueError:
        return None
    return Host(name, int(match["port"]) if match["port"] else None) if name else None


def is_loopback(host: str) -> bool:
    """Return whether only programs of this machine reach an address that is listened on."""
    parsed = parse_host(host)
    if parsed is None:
        return False
    try:
        return ipaddress.ip_address(parsed.name).is_loopback
    except ValueError:
        return parsed.name == "localhost"


def check_host(
    application: WSGIApplication, *, listens_on: str, allowed: Collection[str] = ()
) -> WSGIApplication:
    """Return an application that answers only who calls it by a name that was expected.

    Expected are this machine's own names for itself, the address that is listened on, the address
    that a connection was made to, and what the user allows.

    Args:
        application: Answers the others.
        listens_on: The address, or name, that the server listens on.
        allowed: Names by which a proxy or another machine reaches it.
    """
    trusted = {host.name for host in map(parse_host, allowed) if host is not None}
    given = parse_host(listens_on)
    expected = {*LOCAL_NAMES, *trusted, *(() if given is None else (given.name,))}

    def answer_expected(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        host = parse_host(environ.get("HTTP_HOST", ""))
        local_address = parse_host(environ.get(LOCAL_ADDRESS_KEY, ""))
        if host is None or (
            host.name not in expected
            # An address, and no name that somebody could point elsewhere.
            and (local_address is None or host.name != local_address.name)
        ):
            return refuse(
                start_response,
                "421 Misdirected Request",
                "This dashboard was not told that it is reached by this name; start it with "
                "--allowed-host NAME if it is meant to be.",
            )
        origin = environ.get("HTTP_ORIGIN")
        if origin is not None and not _is_own_origin(origin, host, trusted):
            return refuse(
                start_response,
                "403 Forbidden",
                "This dashboard answers its own pages only, and not those of another site; start "
                "it with --allowed-host NAME if they are its own behind a proxy.",
            )
        return application(environ, start_response)

    return answer_expected


def refuse(start_response: StartResponse, status: str, reason: str) -> list[bytes]:
    """Answer a request with a status and its reason, as the dashboard's page reads it."""
    body = json.dumps({"reason": reason}).encode()
    headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
    start_response(status, headers)
    return [body]


def _is_own_origin(origin: str, host: Host, trusted: Collection[str]) -> bool:
    """Return whether a page's Origin is the host that it asks, or one that the user allows."""
    scheme, _, rest = origin.partition("://")
    source = parse_host(rest)
    if scheme not in _DEFAULT_PORTS or source is None:
        return False
    default = _DEFAULT_PORTS[scheme]
    same = (source.name, source.port or default) == (host.name, host.port or default)
    return same or source.name in trusted
