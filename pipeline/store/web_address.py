"""Web addresses: which of them a server can have, told before anyone is asked.

In:      an http(s) URL as a user, a list or an index gives it.
Out:     nothing, where it can be asked for.
Refused: no host, one that no name server knows how to look up, a port that is none, characters
         that no address has, a password: ValueError with the URL, what is wrong and what to do.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import urlsplit

import httpx

# as httpx would send it: an IPv6 address, or labels in ASCII
_HOST: Final = re.compile(
    r"(?P<ipv6>[0-9a-f.:][0-9a-f.]*+:[0-9a-f.:]*+(?:%25.+)?)|(?:[0-9a-z_-]{1,63}\.)*[0-9a-z_-]{1,63}\.?"
)
_SHOWN: Final = 200  # characters of an address in a message


def check_address(url: str) -> None:
    """Refuse what cannot be asked for.

    Raises:
        ValueError: naming the address, without a password in it.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
        asked = httpx.URL(url)
        host = asked.host and asked.raw_host.decode()  # the first of them undoes and checks IDNA
    except (ValueError, httpx.InvalidURL) as error:
        raise _refused(url, str(error)) from error
    if parts.username is not None:
        raise _refused(url, "a password in it would be stored with every document", download=True)
    if not host:
        raise _refused(url, "it names no host")
    if not _HOST.fullmatch(host):
        raise _refused(url, f"no host can be called {host}")
    if port == 0:
        raise _refused(url, "port 0 is none")


def _refused(url: str, wrong: str, *, download: bool = False) -> ValueError:
    remedy = (
        "download the file, and name it where it then lies"
        if download
        else "write it as http(s)://HOST[:PORT]/PATH, with a port from 1 to 65535"
    )
    before, mark, after = url.partition("://")
    netloc, slash, path = after.partition("/")
    _, password, host = netloc.rpartition("@")
    shown = before + mark + ("***@" if password else "") + host + slash + path
    if len(shown) > _SHOWN:
        shown = f"{shown[:_SHOWN]}... ({len(shown):,} characters)"
    return ValueError(f"{shown}: {wrong}; {remedy}")
