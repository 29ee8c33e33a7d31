"""Vocabulary: what elements and the words of class and id names mean on a page.

In:   an element's tag; its class and id names, as written.
Out:  `BLOCKS`, `ROLES`, `SKIPPED` by tag; `signs_of`, the signs of all names together, as bits that
      the walk (dom.py) and the rules (marks.py) test.

A name is cut into whole words at spaces, hyphens, underscores and capitals: `updated-info` has the
words updated and info, and does not match `date`. A page brings two hundred combinations of names
that no page before it had, made of as many single names, so the signs of each single name are
worked out once. Signs are plain integers, because an operation on an `enum.Flag` takes ten times
as long.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from schemas.document import Role


def words(text: str) -> frozenset[str]:
    """A list of words, written as a text."""
    return frozenset(text.split())


# never content, nor what is in them; the value is the edit that they are counted as
SKIPPED: Final = {
    **dict.fromkeys(("script", "style", "template", "link", "meta", "title", "head"), "script"),
    **dict.fromkeys(
        ("iframe", "embed", "video", "audio", "canvas", "applet", "frame", "frameset", "noframes"),
        "embed",
    ),
    **dict.fromkeys(
        ("select", "textarea", "input", "datalist", "option", "output", "progress", "meter"),
        "form_control",
    ),
    **dict.fromkeys(("svg", "annotation", "annotation-xml"), "drawing"),
    **dict.fromkeys(("rt", "rp"), "ruby"),
    "-text": "",  # an empty one
    "-comment": "",
    "-doctype": "",
}

# elements that stand in a block of their own (HTML standard, 15.3)
BLOCKS: Final = words(
    "address article aside blockquote body center dd details dialog dir div dl dt fieldset "
    "figcaption figure footer form h1 h2 h3 h4 h5 h6 header hgroup hr legend li listing main menu "
    "nav ol p pre search section summary table caption thead tbody tfoot tr td th ul xmp "
    "html plaintext"
)

ROLES: Final = {
    **dict.fromkeys(("h1", "h2", "h3", "h4", "h5", "h6"), Role.HEADING),
    **dict.fromkeys(("li", "dt", "dd"), Role.LIST_ITEM),
    **dict.fromkeys(("figcaption", "caption"), Role.CAPTION),
    **dict.fromkeys(("pre", "listing", "xmp"), Role.CODE),
    "blockquote": Role.QUOTE,
    # what starts anew inside a list item or a quote
    **dict.fromkeys(("article", "section", "main", "td", "th", "body"), Role.PARAGRAPH),
}

PERMALINKS: Final = words("headerlink permalink anchorjs")
NAVIGATION: Final = words(
    "nav navbar navigation navheader navfooter menu submenu megamenu topnav sidenav subnav mainnav "
    "navmenu navlinks nav2 breadcrumb breadcrumbs crumbs crumb pagination pager paging paginator "
    "offcanvas hamburger skiplink skiplinks toolbar tabs tablist jumplinks sitemap toc "
    "tableofcontents headerlink permalink anchorjs sphinxsidebar sphinxsidebarwrapper"
)
FURNITURE: Final = words(
    "footer colophon masthead topbar bottombar sidebar sidebars rightrail leftrail rail cookie "
    "cookies cookiebar consent gdpr ccpa onetrust share sharing sharebar sharedaddy addtoany "
    "addthis social socials socialmedia follow related recommended recommendation recommendations "
    "newsletter newsletters subscribe subscription signup login signin register modal popup "
    "popover lightbox dropdown advert adverts advertisement advertisements ads ad adsense sponsor "
    "sponsored promo promos promotion taboola outbrain disqus respond copyright trackback "
    "trackbacks printfriendly noprint backtotop scrolltop searchform searchbox byline tagcloud "
    "taglist tags postmeta toolbox snackbar toast alertbar announcement widgetarea "
    "upsell paywall feedback rating ratings survey"
)
CONSENT: Final = words(  # tools that ask for it
    "onetrust optanon cookiebot cybot didomi truste trustarc usercentrics cookieyes cmplz termly "
    "osano iubenda klaro tarteaucitron cookiescript cookieconsent cookielawinfo"
)
LAYOUT: Final = words("layout column columns")
COMMENTS: Final = words("comments commentlist comment disqus respond")
HIDDEN_PHRASES: Final = tuple(
    frozenset(phrase.split())
    for phrase in (
        "sr only",
        "visually hidden",
        "screen reader",
        "display none",
        "d none",
        "tooltip content",
        "tooltip text",
        "tooltiptext",
    )
)
WIDER: Final = words("sm md lg xl xxl")
FOLDED: Final = words(  # hidden until a reader asks for it
    "tab tabs tabpanel panel pane accordion collapse collapsible collapsed faq answer expand "
    "expandable toggle readmore more"
)
HEADERS: Final = words("site global main top masthead page nav fixed sticky")
NOTES: Final = words(
    "note notes admonition callout tip warning caution important info infobox pullquote epigraph "
    "sidenote example box"
)
CAPTIONS: Final = words("caption captions figcaption thumbcaption imagecaption gallerytext")
FIGURES: Final = words("figure informalfigure mediaobject thumbinner imageblock")

HAVING: Final = ("has-", "with-", "no-")  # beginnings of names that say what is inside or beside
NO_PART: Final = tuple(
    frozenset(phrase.split())
    for phrase in ("section footer", "follow up", "cmp promo", "form field")
)

WORD: Final = re.compile(r"[A-Z]*[a-z0-9]+|[A-Z]+")  # ends before a capital behind a small one
LONGEST_NAME: Final = 512  # characters of class and id; utility frameworks write hundreds


def words_of(name: str) -> frozenset[str]:
    """The words of class and id names, in lower case."""
    return frozenset(" ".join(WORD.findall(name[:LONGEST_NAME])).lower().split())


# signs
FIGURE: Final = 1 << 0
CAPTION: Final = 1 << 1
TITLE: Final = 1 << 2
PERMALINK: Final = 1 << 3
HIDDEN: Final = 1 << 4  # by a name for which style sheets hide elements
IS_CONSENT: Final = 1 << 5
# what the element itself is called, not what is beside or in it
IS_NAVIGATION: Final = 1 << 6
IS_FURNITURE: Final = 1 << 7
IS_COMMENTS: Final = 1 << 8
IS_HEADER: Final = 1 << 9
SITE_HEADER: Final = 1 << 10  # a header that is named as one of the page
_NARROW: Final = 1 << 11  # hidden on narrow screens
_WIDE: Final = 1 << 12  # shown on wide ones

_UNSURE: Final = 1 << 13  # hidden if the other words of the name say so
_PART: Final = IS_NAVIGATION | IS_FURNITURE | IS_COMMENTS | IS_HEADER
_BY_LIST: Final = (
    (FIGURE, FIGURES),
    (CAPTION, CAPTIONS),
    (TITLE, words("title")),
    (PERMALINK, PERMALINKS),
    (IS_CONSENT, CONSENT),
    (IS_NAVIGATION, NAVIGATION),
    (IS_FURNITURE, FURNITURE),
    (IS_COMMENTS, COMMENTS),
    (IS_HEADER, words("header")),
    (_UNSURE, words("only hidden reader none tooltip tooltiptext d")),
)
_BY_WORD: Final = {
    word: sum(sign for sign, listed in _BY_LIST if word in listed)
    for word in frozenset[str]().union(*(listed for _, listed in _BY_LIST))
}
_D_NONE: Final = words("d none")  # `d-none d-md-block` hides on narrow screens only


@lru_cache(maxsize=65_536)
def signs_of(name: str) -> int:
    """The signs of class and id names."""
    signs = 0
    for single in name[:LONGEST_NAME].split():
        signs |= _signs_of(single)
    if signs & _NARROW and not signs & _WIDE:
        signs |= HIDDEN
    return signs


@lru_cache(maxsize=65_536)
def _signs_of(name: str) -> int:
    """The signs of one name."""
    signs = 0
    for word in WORD.findall(name):
        signs |= _BY_WORD.get(word.lower(), 0)
    if not signs:
        return 0
    own = words_of(name)
    if signs & IS_HEADER and own & HEADERS:
        signs |= SITE_HEADER
    if signs & _PART and _is_no_part(name, own):
        signs &= ~_PART
    if signs & _UNSURE:
        signs |= _hiding(own)
    return signs


def _hiding(own: frozenset[str]) -> int:
    """Whether a name hides its element: always, on narrow screens, or not on wide ones."""
    signs = 0
    if "d" in own and "none" in own:
        signs = _NARROW
    elif "d" in own and own & WIDER:
        signs = _WIDE
    if any(phrase <= own for phrase in HIDDEN_PHRASES if phrase != _D_NONE):
        signs |= HIDDEN
    return signs


def _is_no_part(name: str, own: frozenset[str]) -> bool:
    return (
        name.lower().startswith(HAVING)
        or not own.isdisjoint(LAYOUT)
        or any(phrase <= own for phrase in NO_PART)
    )
