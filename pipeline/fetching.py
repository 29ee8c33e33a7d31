"""Fetching: what the user chose for the stage that asks other people's servers.

In:   options of the command line, the texts of the files they name.
Out:  Fetching, which travels with the job to every worker. Of it only what shapes rows is part of
      the stage's fingerprint: another pace or another contact does nothing again.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any, Final

from pipeline.media.pixels import Encoding

AGENT: Final = "interloom"  # as robots.txt may name us
_CONTACT: Final = re.compile(
    r"(?:mailto:)?[^@\s<>()]+@[^@\s<>()]+\.[a-zA-Z]{2,}|https?://[^\s<>()]+"
)
_SERVICE: Final = re.compile(r"https?://[^\s/]+(/\S*)?")
_POSITIVE: Final = ("requests", "image_bytes", "connect", "read", "total", "deadline", "tries",
                    "host_failures", "host_images", "commit_bytes", "commit_seconds")  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class Fetching:
    """`on` is False for --no-fetch. Sizes in bytes, times in seconds."""

    on: bool = False
    contact: str = ""  # an address of mail, or a page: whom to ask about us
    round: int = 1  # one more for each refetch
    again: tuple[str, ...] = ()  # statuses that the last refetch asks for anew
    rates: str = ""  # text of a TOML file
    opt_out_service: str = ""  # URL
    host_map: str = ""  # text of a map
    ports: tuple[int, ...] = (80, 443)
    requests: int = 128  # under way at a time, a worker
    decoders: int = 0  # processes a worker; 0: as many as it has cores (look.py)
    image_bytes: int = 16 << 20
    connect: float = 10.0
    read: float = 20.0  # without a byte
    total: float = 60.0  # a request
    deadline: float | None = None  # the stage: then the rest is DEFERRED
    host_images: int | None = None  # asked of a host in a round; the rest is DEFERRED
    redirects: int = 5
    tries: int = 3
    host_failures: int = 10  # in a row, and a host is given up
    encoding: Encoding | None = None  # None: the bytes as they came
    commit_bytes: int = 256 << 20
    commit_seconds: float = 30.0

    def __post_init__(self) -> None:
        if self.on and not _CONTACT.fullmatch(self.contact):
            raise ValueError(
                f"contact is {self.contact!r}: images are asked of other people, who must "
                "know whom to write to: give --contact you@example.org or a page of yours, or "
                "--no-fetch to go without the images that the crawl does not hold"
            )
        service = self.opt_out_service
        if service and not _SERVICE.fullmatch(service):
            raise ValueError(f"opt-out service is {service!r}: give its http:// or https:// URL")
        for name in _POSITIVE:
            if (value := getattr(self, name)) is not None and not value > 0:
                raise ValueError(f"fetching: {name} is {value}: choose more than 0")
        for port in self.ports:
            if not 0 < port < 65_536:
                raise ValueError(f"port is {port}: choose 1 to 65535")

    @property
    def user_agent(self) -> str:
        return f"{AGENT}/{version('interloom')} (+{self.contact})"

    @property
    def shaping(self) -> dict[str, Any]:
        """What the fingerprint of the stage knows of it."""
        if not self.on:
            return {"fetch": "off"}
        encoding = None if self.encoding is None else asdict(self.encoding)
        return {"fetch": "on", "round": self.round, "image_bytes": self.image_bytes,
                "encoding": encoding}  # fmt: skip
