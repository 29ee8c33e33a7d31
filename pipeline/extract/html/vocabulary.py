"""Vocabulary: what elements and the words of class and id names mean on a page.

A name is cut into whole words at spaces, hyphens, underscores and humps: `updated-info` has the
words updated and info, and nothing that looks for `date` meets it. Words stand here as data, so
that a rule of `marks.py` says what it does with them.
"""

from __future__ import annotations

import re
from typing import Final

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
    "-text": "",  # one that holds nothing
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

HAVING: Final = ("has-", "with-", "no-")  # beginnings of names that tell what is in or beside
NO_PART: Final = tuple(
    frozenset(phrase.split())
    for phrase in ("section footer", "follow up", "cmp promo", "form field")
)

WORD: Final = re.compile(r"[A-Z]*[a-z0-9]+|[A-Z]+")  # ends before a capital behind a small one
LONGEST_NAME: Final = 512  # characters of class and id; utility frameworks write hundreds


def words_of(name: str) -> frozenset[str]:
    """The words of class and id names, in lower case."""
    return frozenset(" ".join(WORD.findall(name[:LONGEST_NAME])).lower().split())
