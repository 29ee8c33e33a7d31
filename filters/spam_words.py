"""Spam words of English: what fills the frame of a page and is never its subject.

A paragraph of which 0.12 or more are such words is a banner, a button row or a sign-up box that an
extractor took for content ("Subscribe to our newsletter", "We use cookies ... accept all"). The
list is our own and small, one kind of frame a line. A word is here only if it names the frame: a
page about cookies uses the word too, but not as every eighth word. Left out for that: share, click,
email, search, copyright, password, advertising, FAQ, YouTube, JavaScript: they fill manuals,
captions and titles (of 81,000 clean paragraphs 40 fell with them, nearly all for no good reason).

See it: python -m pytest tests/filters/test_signals.py -k spam
"""

from __future__ import annotations

from typing import Final

_KINDS: Final = {
    "cookies and consent": "cookie cookies gdpr ccpa opt-out opt-in",
    "newsletters": "newsletter newsletters subscribe subscribed subscribing unsubscribe signup",
    "accounts": "login logout log-in captcha recaptcha",
    "shops": "checkout add-to-cart coupon coupons promo",
    "social buttons": "facebook instagram linkedin pinterest tweet tweets twitter whatsapp",
    "advertising": "advertise advertisement advertisements",
    "site frame": "sitemap disclaimer rss",
}

SPAM_WORDS: Final = frozenset(word for words in _KINDS.values() for word in words.split())
