"""Stop words of English: its closed classes, listed by hand from the grammar, one class a line.

The limits for stop words (0.3 of a paragraph, 0.35 of a document) were tuned on about 300 words.
Longer lists of packages hold verbs and adverbs of the open classes (1,298 words in stopwords-iso)
and let anything pass; shorter ones refuse prose. So this list has the classes that a text cannot
do without, and no word only for being frequent.

See it: python -m pytest tests/filters/test_stop_words.py   (how often it agrees with another list)
"""

from __future__ import annotations

from typing import Final

_CLASSES: Final = {
    "articles and determiners": """
        a an the this that these those each every either neither some any no all both half such
        another other others many much more most few fewer less least enough own same
        what which whose whatever whichever""",
    "one and next": "one ones once next",
    "pronouns": """
        i me my mine myself you your yours yourself yourselves he him his himself she her hers
        herself it its itself we us our ours ourselves they them their theirs themselves thou thee
        thy who whom whoever whomever someone somebody something anyone anybody anything everyone
        everybody everything no-one nobody nothing none oneself""",
    "prepositions": """
        about above across after against along alongside amid amidst among amongst around as at
        before behind below beneath beside besides between beyond by circa despite down during
        except for from in including inside into like minus near of off on onto opposite out outside
        over past per plus regarding round since than through throughout till to toward towards
        under underneath unlike until unto up upon versus via vs with within without according due
        ahead apart aside away back based instead prior together depending given""",
    "conjunctions": """
        and but or nor so yet if unless because although though whereas while whilst whether lest
        when whenever where wherever once provided albeit""",
    "auxiliaries": """
        am is are was were be been being do does did doing done have has had having can could may
        might must shall should will would ought get gets getting got""",
    "contractions": """
        i'm you're he's she's it's we're they're i've you've we've they've i'd you'd he'd she'd
        we'd they'd it'd i'll you'll he'll she'll we'll they'll it'll that's that'll there's here's
        what's who's where's how's when's let's isn't aren't wasn't weren't don't doesn't didn't
        haven't hasn't hadn't can't cannot couldn't mustn't needn't shan't shouldn't won't wouldn't
        ain't y'all""",
    "particles": """
        not never ever here there then thus hence how however why even too very quite rather only
        else forth""",
}

STOP_WORDS: Final = frozenset(word for words in _CLASSES.values() for word in words.split())
