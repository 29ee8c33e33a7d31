"""Image judgement: one image alone, one among its document, and a ledger that balances."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filters.images import ImageFacts, ImageJudgement, judge_images, refuse_image
from filters.recipe import OBELICS, OFF, RECIPES, Recipe
from filters.rules import Refusal
from schemas.document import Document, ImageNode, Node, TextNode
from schemas.verdict import OK, Reason


def facts(
    number: int = 0,
    *,
    status: str = OK,
    width: int = 300,
    height: int = 200,
    image_format: str = "jpeg",
) -> ImageFacts:
    return ImageFacts(
        url=f"https://a.org/{number}.jpg",
        status=status,
        sha256=f"{number:064x}",
        phash=number,
        width=width,
        height=height,
        format=image_format,
        bytes=1000,
    )


def page(*nodes: Node) -> Document:
    return Document(
        id="0" * 32,
        url="https://a.org/",
        domain="a.org",
        date="2026-01-01T00:00:00Z",
        input="crawl.warc.gz",
        offset=0,
        length=1,
        nodes=nodes,
    )


TEXT = TextNode(text="A text.")


def picture(number: int) -> ImageNode:
    return ImageNode(url=f"https://a.org/{number}.jpg")


def judge(
    images: Mapping[int, ImageFacts | None],
    *,
    recipe: Recipe = OBELICS,
    clusters: Mapping[int, str] | None = None,
    holders: Mapping[int, int] | None = None,
) -> ImageJudgement:
    """A page of one text and then the images, at positions 1, 2, 3, ..."""
    document = page(TEXT, *map(picture, range(1, len(images) + 1)))
    alone = {at: str(at) for at in images}
    return judge_images(
        document,
        range(len(document.nodes)),
        images,
        recipe,
        clusters=alone | dict(clusters or {}),
        holders=dict.fromkeys(images, 1) | dict(holders or {}),
    )


def test_a_good_image_is_kept() -> None:
    assert judge({1: facts(1)}) == ImageJudgement(kept=(0, 1))


@pytest.mark.parametrize(
    ("found", "refused"),
    [
        (None, Reason.NOT_FETCHED),
        (facts(status="truncated_image"), Reason.TRUNCATED_IMAGE),
        (facts(image_format="gif"), Reason.IMAGE_FORMAT),
        (facts(image_format="png"), None),
        (facts(image_format="webp"), None),
        (facts(width=150, height=150), None),
        (facts(width=150, height=149), Reason.IMAGE_SIDE_SHORT),
        (facts(width=20_000, height=10_000), None),
        (facts(width=20_001, height=10_001), Reason.IMAGE_SIDE_LONG),
        (facts(width=400, height=200), None),
        (facts(width=200, height=400), None),
        (facts(width=401, height=200), Reason.IMAGE_ASPECT),
        (facts(width=200, height=401), Reason.IMAGE_ASPECT),
        (facts(width=0, height=0), Reason.IMAGE_SIDE_SHORT),
    ],
)
def test_an_image_alone_is_refused_for_one_reason(
    found: ImageFacts | None, refused: Reason | None
) -> None:
    refusal = refuse_image(found, OBELICS)
    assert (refusal and refusal.reason) == refused
    judged = judge({1: found, 2: facts(2)})
    assert judged.nodes == ({1: refusal} if refusal else {})


def test_a_file_that_could_not_be_used_tells_its_own_value_and_limit() -> None:
    broken = ImageFacts(url="u", status=Reason.TOO_MANY_PIXELS, value=2e9, limit=1e8)
    assert refuse_image(broken, OFF) == Refusal(reason=Reason.TOO_MANY_PIXELS, value=2e9, limit=1e8)


def test_a_status_that_is_no_reason_is_an_error() -> None:
    with pytest.raises(ValueError, match="fine"):
        refuse_image(facts(status="fine"), OBELICS)


@pytest.mark.parametrize(("documents", "kept"), [(10, (0, 1, 2)), (11, (0, 2))])
def test_an_image_in_more_than_10_documents_goes(documents: int, kept: tuple[int, ...]) -> None:
    judged = judge({1: facts(1), 2: facts(2)}, holders={1: documents})
    assert judged.kept == kept
    if len(kept) == 2:
        assert judged.nodes[1] == Refusal(reason=Reason.FREQUENT_IMAGE, value=11, limit=10)


@pytest.mark.parametrize(
    ("second", "cluster"),
    [(facts(2), "1"), (facts(1), "2"), (facts(3), "3")],
    ids=["same cluster", "same bytes and URL", "another picture"],
)
def test_a_picture_stays_once_in_a_document(second: ImageFacts, cluster: str) -> None:
    judged = judge({1: facts(1), 2: second}, clusters={2: cluster})
    duplicate = Refusal(reason=Reason.DUPLICATE_IN_DOCUMENT, value=1, limit=0)
    assert judged.nodes == ({} if cluster == "3" else {2: duplicate})


def test_a_refused_picture_does_not_make_the_next_one_a_duplicate() -> None:
    small = facts(1, width=100, height=100)
    judged = judge({1: small, 2: facts(2)}, clusters={1: "same", 2: "same"})
    assert judged.kept == (0, 2)


@pytest.mark.parametrize(("count", "refused"), [(30, None), (31, Reason.TOO_MANY_IMAGES)])
def test_a_document_has_at_most_30_images(count: int, refused: Reason | None) -> None:
    judged = judge({at: facts(at) for at in range(1, count + 1)})
    assert (judged.refusal and judged.refusal.reason) == refused


def test_a_document_has_an_image_and_a_text() -> None:
    no_image = judge({1: None})
    assert no_image.refusal == Refusal(reason=Reason.NO_IMAGE, value=0, limit=1)
    assert no_image.nodes == {1: Refusal(reason=Reason.NOT_FETCHED)}
    document = page(TEXT, picture(1))
    no_text = judge_images(document, [1], {1: facts(1)}, OBELICS, clusters={1: "1"}, holders={1: 1})
    assert no_text.refusal == Refusal(reason=Reason.NO_TEXT, value=0, limit=1)


def test_an_image_that_was_not_compared_is_an_error_and_not_a_pass() -> None:
    document = page(TEXT, picture(1))
    with pytest.raises(KeyError):
        judge_images(document, [0, 1], {1: facts(1)}, OBELICS, clusters={}, holders={1: 1})
    with pytest.raises(KeyError):
        judge_images(document, [0, 1], {1: facts(1)}, OBELICS, clusters={1: "1"}, holders={})
    off = judge_images(document, [0, 1], {1: facts(1)}, OFF, clusters={}, holders={})
    assert off.kept == (0, 1)


FACTS = st.none() | st.builds(
    facts,
    st.integers(0, 5),
    status=st.sampled_from([OK, OK, OK, "undecodable", "not_an_image"]),
    width=st.sampled_from([0, 149, 150, 300, 601, 20_001]),
    height=st.sampled_from([0, 149, 150, 300, 601, 20_001]),
    image_format=st.sampled_from(["jpeg", "png", "webp", "gif", "bmp", ""]),
)


@settings(max_examples=300)
@given(
    st.lists(st.just("text") | st.just("gone") | FACTS, max_size=40),
    st.lists(st.integers(0, 3), min_size=40, max_size=40),
    st.lists(st.integers(1, 12), min_size=40, max_size=40),
    st.sampled_from(list(RECIPES.values())),
)
def test_every_node_that_came_this_far_is_kept_or_dropped_exactly_once(
    what: list[str | ImageFacts | None],
    clusters: list[int],
    holders: list[int],
    recipe: Recipe,
) -> None:
    document = page(*(TEXT if one == "text" else picture(at) for at, one in enumerate(what)))
    seen = [at for at, one in enumerate(what) if one != "gone"]
    judged = judge_images(
        document,
        seen,
        {at: one for at, one in enumerate(what) if not isinstance(one, str)},
        recipe,
        clusters={at: str(cluster) for at, cluster in enumerate(clusters)},
        holders=dict(enumerate(holders)),
    )
    if judged.refusal is None:
        assert sorted([*judged.kept, *judged.nodes]) == seen
        assert {type(document.nodes[at]) for at in judged.kept} == {TextNode, ImageNode}
    else:
        assert judged.kept == ()
        assert set(judged.nodes) <= set(seen)
    assert all(isinstance(document.nodes[at], ImageNode) for at in judged.nodes)


def test_an_image_is_refused_for_what_its_response_asks_before_its_format() -> None:
    asks = [
        (replace(facts(image_format="gif"), robots=("noai",)), Reason.NOAI),
        (replace(facts(), robots=("noimageai", "noindex")), Reason.NOIMAGEAI),
        (replace(facts(width=3), tdm_reservation=True), Reason.TDM_RESERVED),
        (replace(facts(status=Reason.UNDECODABLE), robots=("noai",)), Reason.UNDECODABLE),
    ]
    for image, reason in asks:
        refusal = refuse_image(image, OBELICS)
        assert refusal is not None
        assert refusal.reason is reason
    assert refuse_image(replace(facts(), robots=("noindex",)), OBELICS) is None
    assert refuse_image(replace(facts(), robots=("noai",), tdm_reservation=True), OFF) is None
