"""Which addresses may be told: no credentials within, nothing that only this machine or its link can mean.

A host that is a name is not resolved: what answers must prove under TLS that it bears the name, so a name that leads to
an address within the network of the service gets no event unless it is a server of that name.
"""

from __future__ import annotations

import ipaddress
import re
from typing import TypeAlias

import httpx

LONGEST_URL = 2000
LONGEST_EMAIL = 254
_LONGEST_LOCAL_PART = 64
_EMAIL = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]+@[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\.[A-Za-z0-9-]+)*")
# What resolvers take for a number: 127.1, 0x7f000001, 2130706433.
_NUMERIC = re.compile(r"(0[xX][0-9a-fA-F]*|[0-9]+)")
_Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address


def url_fault(url: str, *, allow_loopback: bool) -> str | None:
    """What is wrong with the address of a webhook, as a sentence about it; None when nothing is.

    Args:
        url: The address.
        allow_loopback: Whether this machine itself may be told, and over http too.
    """
    if len(url) > LONGEST_URL:
        return f"must have at most {LONGEST_URL} characters, not {len(url)}"
    if not (url.isascii() and url.isprintable()) or " " in url or "\\" in url:
        return "must be ASCII without spaces, control characters and backslashes"
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL:
        return "is not an address such as https://example.org/events"
    if parsed.userinfo or "@" in url.partition("//")[2].partition("/")[0].partition("?")[0]:
        return "must not have a user name or password: they would be stored and shown"
    if "#" in url:
        return "must not have a fragment"
    return _place_fault(parsed, allow_loopback=allow_loopback)


def email_fault(address: str) -> str | None:
    """What is wrong with an e-mail address, as a sentence about it; None when nothing is."""
    if len(address) > LONGEST_EMAIL or len(address.partition("@")[0]) > _LONGEST_LOCAL_PART:
        return f"must have at most {LONGEST_EMAIL} characters, at most {_LONGEST_LOCAL_PART} of them before the @"
    return None if _EMAIL.fullmatch(address) else "must be an e-mail address such as owner@example.org, in ASCII"


def _place_fault(parsed: httpx.URL, *, allow_loopback: bool) -> str | None:
    host = parsed.host.rstrip(".").lower()
    if parsed.scheme not in ("https", "http") or not host or not _has_port(parsed):
        return "must be https, and name a host and at most a port from 1 to 65535"
    address = _address(host)
    if address is None and _NUMERIC.fullmatch(host.rpartition(".")[2]):
        return f"has the host {host}, which is neither a name nor a numeric address in its usual form"
    loopback = host == "localhost" or host.endswith(".localhost") if address is None else address.is_loopback
    if loopback and not allow_loopback:
        return f"leads to {host}, the service's own machine, which this service does not allow"
    if parsed.scheme == "http" and not loopback:
        return "must be https"
    if address is not None and not loopback and _is_nobodys(address):
        return f"leads to {host}, which is link-local, multicast, reserved or unspecified"
    return None


def _has_port(parsed: httpx.URL) -> bool:
    return parsed.port is None or 0 < parsed.port < 1 << 16


def _address(host: str) -> _Address | None:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def _is_nobodys(address: _Address) -> bool:
    """Whether no receiver can be meant; the metadata services of clouds are at link-local addresses."""
    return address.is_link_local or address.is_multicast or address.is_reserved or address.is_unspecified
