"""Which addresses may be told."""

from __future__ import annotations

import pytest

from server.notifications.addresses import email_fault, url_fault

ALLOWED = [
    "https://example.org",
    "https://example.org/events?tenant=7",
    "https://example.org:8443/a/b",
    "https://oms.internal/hook",
    "https://10.0.0.7/hook",
    "https://93.184.216.34/hook",
    "https://[2606:2800:220:1::1]:443/",
    "HTTPS://EXAMPLE.ORG/",
    "https://3com.example/",
    "https://xn--zrich-kva.example/",
]
LOCAL = [
    "http://127.0.0.1:8080/hook",
    "http://localhost/hook",
    "http://localhost./hook",
    "http://app.localhost:9/hook",
    "http://[::1]:8080/hook",
    "http://[::ffff:127.0.0.1]/",
    "https://127.8.9.10/",
    "https://LOCALHOST/",
]
REFUSED = {
    "nothing": ("", "must be https"),
    "no scheme": ("example.org/hook", "must be https"),
    "plain text": ("http://example.org/hook", "must be https"),
    "plain text within a network": ("http://10.0.0.7/hook", "must be https"),
    "a file": ("file:///etc/passwd", "must be https"),
    "another scheme": ("gopher://example.org/", "must be https"),
    "no host": ("https:///hook", "must be https"),
    "no host but a port": ("https://:443/hook", "must be https"),
    "port 0": ("https://example.org:0/", "must be https"),
    "a port out of range": ("https://example.org:65536/", "port from 1 to 65535"),
    "a port of letters": ("https://example.org:http/", "is not an address"),
    "a password": ("https://me:secret@example.org/", "user name or password"),
    "a user": ("https://me@example.org/", "user name or password"),
    "an empty user": ("https://@example.org/", "user name or password"),
    "a user before a query": ("https://me:secret@example.org?a", "user name or password"),
    "a fragment": ("https://example.org/#top", "fragment"),
    "an empty fragment": ("https://example.org/#", "fragment"),
    "a space": ("https://example.org/a b", "ASCII"),
    "a line": ("https://example.org/\r\nX-Evil: 1", "ASCII"),
    "a backslash": ("https://example.org\\@127.0.0.1/", "ASCII"),
    "letters outside of ASCII": ("https://exämple.org/", "ASCII"),
    "metadata of a cloud": ("https://169.254.169.254/latest", "link-local"),
    "link-local": ("https://[fe80::1]/", "link-local"),
    "mapped link-local": ("https://[::ffff:169.254.169.254]/", "link-local"),
    "multicast": ("https://224.0.0.1/", "multicast"),
    "unspecified": ("https://0.0.0.0/", "unspecified"),
    "unspecified IPv6": ("https://[::]/", "unspecified"),
    "broadcast": ("https://255.255.255.255/", "reserved"),
    "a number for a host": ("https://2130706433/", "neither a name nor"),
    "a hexadecimal host": ("https://0x7f000001/", "neither a name nor"),
    "a short address": ("https://127.1/", "neither a name nor"),
    "an octal address": ("https://0177.0.0.1/", "is not an address"),
    "an address with a dot": ("https://127.0.0.1./", "service's own machine"),
    "too long": ("https://example.org/" + "x" * 2000, "at most 2000 characters"),
}


@pytest.mark.parametrize("url", ALLOWED)
def test_an_address_that_may_be_told(url: str) -> None:
    assert url_fault(url, allow_loopback=False) is None
    assert url_fault(url, allow_loopback=True) is None


@pytest.mark.parametrize("url", LOCAL)
def test_this_machine_is_told_only_where_that_is_allowed(url: str) -> None:
    assert "service's own machine" in (url_fault(url, allow_loopback=False) or "")
    assert url_fault(url, allow_loopback=True) is None


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("allow_loopback", [False, True])
def test_an_address_that_may_not_be_told(name: str, allow_loopback: bool) -> None:
    url, reason = REFUSED[name]
    fault = url_fault(url, allow_loopback=allow_loopback)
    if allow_loopback and reason == "service's own machine":
        assert fault is None
        return
    assert fault is not None
    assert reason in fault
    assert "secret" not in fault


@pytest.mark.parametrize(
    "address", ["a@b", "owner@example.org", "o.w+n_er@sub.example-1.org", "x" * 64 + "@example.org"]
)
def test_an_email_address(address: str) -> None:
    assert email_fault(address) is None


@pytest.mark.parametrize(
    "address",
    ["", "a", "@b", "a@", "a@b@c", "a b@c", "a@b c", "a@b\r\nBcc: x@y", "a@-b", "a@b..c", "ä@b", "a@b>", "<a@b>",
     "a,b@c", "x" * 65 + "@b", "a@" + "b" * 254],
)  # fmt: skip
def test_what_is_no_email_address(address: str) -> None:
    assert email_fault(address) is not None
