"""Vocabulary: what elements and the words of class and id names mean on a page.

A name is cut into whole words at spaces, hyphens, underscores and humps: `updated-info` has the
words updated and info, and nothing that looks for `date` meets it. Words stand here as data, so
that a rule of `rules.py` says what it does with them.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final, NamedTuple

from schemas.document import Role


def words(text: str) -> frozenset[str]:
    """A list of words, written as one reads it."""
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
_DISPLAY_NONE: Final = words("d none")
_WIDER: Final = words("sm md lg xl xxl")  # `d-none d-md-block` hides on narrower screens only
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

_WORD: Final = re.compile(r"[A-Z]*[a-z0-9]+|[A-Z]+")  # ends before a capital behind a small one
_LONGEST_NAME: Final = 512  # characters of class and id; utility frameworks write hundreds


@lru_cache(maxsize=65_536)
def words_of(name: str) -> frozenset[str]:
    """The words of class and id names, in lower case."""
    return frozenset(" ".join(_WORD.findall(name[:_LONGEST_NAME])).lower().split())


@lru_cache(maxsize=65_536)
def names_of(name: str) -> tuple[frozenset[str], ...]:
    """The words of each single name (`site-header wide` has two), for rules on phrases."""
    return tuple(words_of(part) for part in name[:_LONGEST_NAME].split())


_HAVING: Final = ("has-", "with-", "no-")
_NO_PART: Final = tuple(
    frozenset(phrase.split())
    for phrase in ("section footer", "follow up", "cmp promo", "form field")
)


@lru_cache(maxsize=65_536)
def parts_of(name: str) -> frozenset[str]:
    """The words of those names that call a part by what it is, not by what is beside or in it."""
    found: frozenset[str] = frozenset()
    for one in name[:_LONGEST_NAME].split():
        own = words_of(one)
        if one.lower().startswith(_HAVING) or own & LAYOUT or any(p <= own for p in _NO_PART):
            continue
        found |= own
    return found


class Traits(NamedTuple):
    """What class and id names say to the walk; all rules on names are in `marks.py`."""

    figure: bool = False
    caption: bool = False
    title: bool = False
    permalink: bool = False
    hidden: bool = False  # one of the names is one that style sheets hide by


NO_TRAITS: Final = Traits()


# letters without which no name has a trait: most names end at this search
_TRAITED: Final = re.compile(
    "figure|media|thumb|image|caption|gallery|title|link|anchor|hidden|none|reader|sr|tooltip",
    re.IGNORECASE,
)


@lru_cache(maxsize=65_536)
def traits_of(name: str) -> Traits:
    """The traits of class and id names."""
    if not _TRAITED.search(name[:_LONGEST_NAME]):
        return NO_TRAITS
    own = words_of(name)
    names = names_of(name)
    wide = any("d" in one and "none" not in one and one & _WIDER for one in names)
    return Traits(
        figure=bool(own & FIGURES),
        caption=bool(own & CAPTIONS),
        title="title" in own,
        permalink=bool(own & PERMALINKS),
        hidden=any(
            phrase <= own and any(phrase <= single for single in names)
            for phrase in HIDDEN_PHRASES
            if not (wide and phrase == _DISPLAY_NONE)
        ),
    )
