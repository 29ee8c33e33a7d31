"""The picture test's crawl: HTML pages whose text names what only their pictures show.

    python -m tests.bench.picture_crawl FOLDER [PAGES]

Every page has three pictures, and under each a sentence that tells colour, count, shape and place
of what is drawn in it. The four are drawn independently and evenly, so that without the picture a
word costs the entropy of its attribute: ln 6, ln 4, ln 3, ln 4 = 1.79, 1.39, 1.10, 1.39 nats.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from PIL import Image, ImageDraw

from tests.crawl import Response, encoded, page, write_responses

COLOURS: Final = {
    "red": (214, 40, 40), "green": (30, 150, 60), "blue": (40, 70, 210),
    "yellow": (240, 210, 40), "purple": (130, 40, 160), "orange": (245, 130, 20),
}  # fmt: skip
COUNTS: Final = ("one", "two", "three", "four")
SHAPES: Final = ("circles", "squares", "triangles")
PLACES: Final = ("northwest", "northeast", "southwest", "southeast")
ATTRIBUTES: Final = {
    "colour": tuple(COLOURS), "count": COUNTS, "shape": SHAPES, "place": PLACES
}  # fmt: skip
SIDE: Final = 168  # pixels; over the 150 that the recipe asks for
RADIUS: Final = 18
PICTURES: Final = 3  # a page


@dataclass(frozen=True, kw_only=True, slots=True)
class Drawn:
    colour: str
    count: str
    shape: str
    place: str

    @property
    def sentence(self) -> str:
        return f"Here are {self.colour} {self.count} {self.shape} {self.place}."


def draw(drawn: Drawn, dice: random.Random) -> Image.Image:
    """Figures that do not overlap, in one quarter of a pale picture."""
    pale = tuple(dice.randint(225, 255) for _ in range(3))
    image = Image.new("RGB", (SIDE, SIDE), pale)
    brush = ImageDraw.Draw(image)
    for x, y in _centres(drawn, dice):
        _figure(brush, drawn, x, y)
    return image


def _centres(drawn: Drawn, dice: random.Random) -> list[tuple[int, ...]]:
    """Of the four cells of a quarter, so that figures never touch and each place is one place."""
    down, right = divmod(PLACES.index(drawn.place), 2)
    cells = [(2 * right + column, 2 * down + row) for column in range(2) for row in range(2)]
    chosen = dice.sample(cells, 1 + COUNTS.index(drawn.count))
    middle = SIDE // 8
    loose = middle - RADIUS - 1
    return [
        tuple(middle + 2 * middle * place + dice.randint(-loose, loose) for place in cell)
        for cell in chosen
    ]


def _figure(brush: ImageDraw.ImageDraw, drawn: Drawn, x: int, y: int) -> None:
    box = (x - RADIUS, y - RADIUS, x + RADIUS, y + RADIUS)
    colour = COLOURS[drawn.colour]
    match drawn.shape:
        case "circles":
            brush.ellipse(box, fill=colour)
        case "squares":
            brush.rectangle(box, fill=colour)
        case "triangles":
            brush.polygon([(x, y - RADIUS), (x - RADIUS, y + RADIUS), (x + RADIUS, y + RADIUS)],
                          fill=colour)  # fmt: skip


def responses(pages: int, seed: int = 7) -> Iterator[Response]:
    for number in range(pages):
        dice = random.Random(f"{seed}/{number}")
        site = f"https://shapes{number % 50}.example.org"
        shown = [
            Drawn(**{name: dice.choice(values) for name, values in ATTRIBUTES.items()})
            for _ in range(PICTURES)
        ]
        urls = [f"{site}/{number}-{k}.png" for k in range(PICTURES)]
        # an empty paragraph puts each sentence behind its picture
        texts = ["This page has pictures.", *(drawn.sentence for drawn in shown)]
        date = f"2024-05-{1 + number % 28:02d}T10:00:00Z"
        yield Response(url=f"{site}/{number}", date=date, body=page(f"Page {number}", texts, urls))
        for url, drawn in zip(urls, shown, strict=True):
            body = encoded(draw(drawn, dice), "PNG")
            yield Response(url=url, date=date, body=body, media="image/png")


def write(folder: Path, pages: int) -> list[Path]:
    return write_responses(folder, list(responses(pages)), name="shapes", warcs=2)


if __name__ == "__main__":
    for path in write(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 2000):
        print(path)
