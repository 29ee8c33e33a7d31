"""A world of good and bad hosts: what each of them does, and what must become of its URLs.

In:   how many hosts of each kind; a folder.
Out:  the plan of the server, the map of hosts, and the status that each URL must end with.
"""

from __future__ import annotations

import base64
import gzip
import io
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final

import numpy as np
from PIL import Image

from schemas.verdict import OK, Reason

What = Mapping[str, Any]
TYPE: Final = {"Content-Type": "image/jpeg"}


@cache
def picture(number: int) -> bytes:
    """A JPEG like no other."""
    noise = np.random.default_rng(number).integers(0, 255, (40, 60, 3), dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(noise).resize((240, 160)).save(out, "JPEG")
    return out.getvalue()


def answer(
    data: bytes, *, how: str = "", headers: Mapping[str, str] | None = None, times: int = 0
) -> What:
    return {"base64": base64.b64encode(data).decode(), "headers": {**TYPE, **(headers or {})},
            "how": how, "times": times, "rest": 0}  # fmt: skip


def to(target: str) -> What:
    return {"status": 302, "headers": {"Location": target}}


BOMB: Final = gzip.compress(bytes(64 << 20))


@dataclass(kw_only=True)
class Hosts:
    """Grows by one host of a kind at a time."""

    plan: dict[str, dict[str, What]] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)  # of the host map, before the last one
    must: dict[str, str] = field(default_factory=dict)  # URL -> status
    number: int = 0

    def add(self, kind: str) -> None:
        self.number += 1
        host = f"h{self.number}.{kind}.world{self.number}.test"
        paths: dict[str, What] = {"/robots.txt": {"status": 404}, "/ai.txt": {"status": 404}}
        self.plan[host] = paths
        KINDS[kind](self, host, paths)

    def map(self, port: int, *, good: int | None = None) -> str:
        """The host map of a world in which one server listens for all, or another for the good."""
        lines = [f"*.good.* 127.0.0.1:{good or port}", f"* 127.0.0.1:{port}"]
        return "\n".join([*self.lines, *lines])

    @property
    def files(self) -> dict[str, dict[str, bytes]]:
        """Of good hosts, which any server can serve."""
        return {host: {path: base64.b64decode(what["base64"]) for path, what in paths.items()
                       if "base64" in what}
                for host, paths in self.plan.items() if ".good." in host}  # fmt: skip

    def url(self, host: str, path: str, status: str, *, scheme: str = "http") -> None:
        self.must[f"{scheme}://{host}{path}"] = str(status)


def _single(what: What, status: str) -> Callable[[Hosts, str, dict[str, What]], None]:
    def add(hosts: Hosts, host: str, paths: dict[str, What]) -> None:
        paths["/a.jpg"] = what
        hosts.url(host, "/a.jpg", status)

    return add


def _good(hosts: Hosts, host: str, paths: dict[str, What]) -> None:
    for place in range(3):
        paths[f"/{place}.jpg"] = answer(picture(3 * hosts.number + place))
        hosts.url(host, f"/{place}.jpg", OK)
    hosts.url(host, "/missing.jpg", Reason.HTTP_STATUS)


def _rules(name: str, what: What, status: str) -> Callable[[Hosts, str, dict[str, What]], None]:
    def add(hosts: Hosts, host: str, paths: dict[str, What]) -> None:
        paths[f"/{name}"] = what
        paths["/a/b.jpg"] = answer(picture(1))
        hosts.url(host, "/a/b.jpg", status)

    return add


def _dead(hosts: Hosts, host: str, paths: dict[str, What]) -> None:
    with socket.socket() as closed:  # nobody listens where one just has
        closed.bind(("127.0.0.1", 0))
        hosts.lines.append(f"{host} 127.0.0.1:{closed.getsockname()[1]}")
    hosts.url(host, "/a.jpg", Reason.CONNECTION_FAILED)


def _private(hosts: Hosts, host: str, paths: dict[str, What]) -> None:
    hosts.lines.append(f"{host} 10.0.0.1")
    hosts.url(host, "/a.jpg", Reason.FORBIDDEN_ADDRESS)


def _abroad(hosts: Hosts, host: str, paths: dict[str, What]) -> None:
    """To another registered domain, whose rules count as well."""
    other = f"cdn{hosts.number}.test"
    hosts.plan[other] = {
        "/robots.txt": {"text": "User-agent: *\nDisallow: /private"},
        "/ai.txt": {"status": 404},
        "/x.jpg": answer(picture(2)),
        "/private/x.jpg": answer(picture(2)),
    }
    for path, status in (("/x.jpg", OK), ("/private/x.jpg", Reason.ROBOTS_TXT)):
        paths[path] = to(f"http://{other}{path}")
        hosts.url(host, path, status)


def _back(hosts: Hosts, host: str, paths: dict[str, What]) -> None:
    """To another registered domain, and from there back, and there again."""
    other = f"there{hosts.number}.test"
    paths["/a.jpg"], paths["/c.jpg"] = to(f"http://{other}/b.jpg"), answer(picture(3))
    paths["/1.jpg"], paths["/3.jpg"] = to(f"http://{other}/2.jpg"), to(f"http://{other}/4.jpg")
    hosts.plan[other] = {
        "/b.jpg": to(f"http://{host}/c.jpg"),
        "/2.jpg": to(f"http://{host}/3.jpg"),
        "/4.jpg": answer(picture(4)),
    }
    hosts.url(host, "/a.jpg", OK)
    hosts.url(host, "/1.jpg", OK)


def _secure(hosts: Hosts, host: str, paths: dict[str, What]) -> None:
    """TLS with another name in its certificate: the map's last line but one leads there."""
    hosts.url(host, "/a.jpg", Reason.TLS_FAILED, scheme="https")


KINDS: Final[Mapping[str, Callable[[Hosts, str, dict[str, What]], None]]] = {
    "good": _good,
    "dead": _dead,
    "private": _private,
    "abroad": _abroad,
    "back": _back,
    "secure": _secure,
    "drip": _single(answer(picture(5), how="drip"), Reason.TIMED_OUT),
    "hang": _single({"how": "hang"}, Reason.TIMED_OUT),
    "endless": _single({"how": "endless", "headers": TYPE}, Reason.NOT_AN_IMAGE),
    "endlessimage": _single(answer(picture(5), how="endless"), Reason.IMAGE_BYTES),
    "bomb": _single(answer(BOMB, headers={"Content-Encoding": "gzip"}), Reason.IMAGE_BYTES),
    "huge": _single({"size": 1 << 25, "headers": TYPE}, Reason.IMAGE_BYTES),
    "loop": _single(to("/a.jpg"), Reason.TOO_MANY_REDIRECTS),
    "toloopback": _single(to("http://127.0.0.1/a.jpg"), Reason.FORBIDDEN_ADDRESS),
    "tometadata": _single(to("http://169.254.169.254/latest"), Reason.FORBIDDEN_ADDRESS),
    "tomapped": _single(to("http://[::ffff:10.0.0.1]/a.jpg"), Reason.FORBIDDEN_ADDRESS),
    "todecimal": _single(to("http://2130706433/a.jpg"), Reason.FORBIDDEN_ADDRESS),
    "tofile": _single(to("file:///etc/passwd"), Reason.BAD_URL),
    "toport": _single(to("http://elsewhere.test:22/"), Reason.FORBIDDEN_PORT),
    "page": _single({"text": "<html>no picture</html>" * 9, "headers": TYPE}, Reason.NOT_AN_IMAGE),
    "othertype": _single(answer(picture(6), headers={"Content-Type": "application/pdf"}), OK),
    "busy": _single(answer(picture(7), how="busy", times=1), OK),
    "storm": _single({"status": 429, "headers": {"Retry-After": "0"}}, Reason.HTTP_STATUS),
    "tired": _single({"status": 503, "headers": {"Retry-After": "90000"}}, Reason.DEFERRED),
    "short": _single(answer(picture(8), how="short"), Reason.TRUNCATED_PAYLOAD),
    "cut": _single(answer(picture(9)[:-200]), Reason.TRUNCATED_IMAGE),
    "close": _single({"how": "close"}, Reason.CONNECTION_LOST),
    "noai": _single(answer(picture(10), headers={"X-Robots-Tag": "noai"}), Reason.NOAI),
    "empty": _single(answer(b""), Reason.EMPTY_PAYLOAD),
    "forbids": _rules("robots.txt", {"text": "User-agent: *\nDisallow: /"}, Reason.ROBOTS_TXT),
    "forbidsai": _rules("ai.txt", {"text": "User-Agent: *\nDisallow: *.jpg"}, Reason.AI_TXT),
    "fails": _rules("robots.txt", {"status": 500}, Reason.RULES_UNREACHABLE),
    "busyrules": _rules("robots.txt", {"status": 429}, Reason.RULES_UNREACHABLE),
    "silent": _rules("robots.txt", {"how": "hang"}, Reason.TIMED_OUT),
}


def build(count: int) -> Hosts:
    """Hosts of every kind in turn; every second one is good."""
    hosts = Hosts()
    others = [kind for kind in KINDS if kind != "good"]
    for number in range(count):
        hosts.add("good" if number % 2 else others[(number // 2) % len(others)])
    return hosts
