"""Many stories at a time: everything that reading adds short of the classifier."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sentiment_monitor.domain.news import MAX_BODY_CHARACTERS, MAX_HEADLINE_CHARACTERS, EnrichedStory, Story
from sentiment_monitor.enrich.copies import copy_keys_of
from sentiment_monitor.enrich.language import LanguageDetector
from sentiment_monitor.enrich.names import Watchlist, cashtags
from sentiment_monitor.enrich.publishers import parted
from sentiment_monitor.times import MINUTE_MS


class Enricher:
    """Makes an :class:`EnrichedStory` of a :class:`Story`.

    ``clean`` is the classifier's own text cleaning, so that copies, names and scores read the same text.
    ``future_tolerance_ms``: a story dated further ahead than this counts at the time it was received.
    """

    def __init__(
        self,
        clean: Callable[[str], str],
        *,
        watchlist: Watchlist | None = None,
        future_tolerance_ms: int = 10 * MINUTE_MS,
    ) -> None:
        self._clean = clean
        self._watchlist = watchlist or Watchlist([])
        self._future_tolerance_ms = future_tolerance_ms
        self._languages = LanguageDetector()

    def enrich(self, story: Story, received_ms: int) -> EnrichedStory:
        """Reads one story; ``received_ms`` is when this process got it."""
        return self.enrich_all([story], received_ms)[0]

    def enrich_all(self, stories: Sequence[Story], received_ms: int) -> list[EnrichedStory]:
        """:meth:`enrich` for each story, in their order; hundreds together cost less."""
        # One kind of work after the other: each finds its tables still in the processor's cache.
        # Some letters become eighteen when they are cleaned: what is read stays as long as what was sent may be.
        headlines = [parted(self._clean(story.headline)[:MAX_HEADLINE_CHARACTERS], story.source) for story in stories]
        texts = [text for text, _ in headlines]
        bodies = [self._clean(story.body)[:MAX_BODY_CHARACTERS] for story in stories]
        keys = copy_keys_of([text or story.headline for text, story in zip(texts, stories, strict=True)])
        languages = [story.language or self._languages.detect(text) for text, story in zip(texts, stories, strict=True)]
        tickers = [self._tickers(*fields) for fields in zip(stories, headlines, bodies, strict=True)]
        return [
            EnrichedStory(
                story=story,
                text=text,
                body_text=body,
                language=language,
                tickers=named,
                minute=self._instant(story, received_ms) // MINUTE_MS,
                copy_keys=key,
            )
            for story, text, body, language, named, key in zip(
                stories, texts, bodies, languages, tickers, keys, strict=True
            )
        ]

    def _tickers(self, story: Story, headline: tuple[str, tuple[str, ...]], body: str) -> tuple[str, ...]:
        text, ends = headline
        # One after the other: a headline in capitals is one, whatever its body looks like.
        named = self._watchlist.find(text) | self._watchlist.find(body)
        for end in ends:
            named |= self._watchlist.called(end)
        return tuple(sorted(self._watchlist.meant_by({*story.tickers, *cashtags(f"{text}\n{body}")}) | named))

    def _instant(self, story: Story, received_ms: int) -> int:
        ahead = story.published_ms > received_ms + self._future_tolerance_ms
        return received_ms if ahead else story.published_ms
