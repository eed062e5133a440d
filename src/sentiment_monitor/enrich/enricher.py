"""Many stories at a time: everything that reading adds short of the classifier."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sentiment_monitor.domain import MINUTE_MS, EnrichedStory, Story
from sentiment_monitor.enrich.copies import copy_keys_of
from sentiment_monitor.enrich.language import LanguageDetector
from sentiment_monitor.enrich.names import Watchlist, cashtags


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
        """:meth:`enrich` for each story, in their order; of hundreds together it costs a third."""
        texts = [self._clean(story.headline) for story in stories]
        keys = copy_keys_of([text or story.headline for text, story in zip(texts, stories, strict=True)])
        return [
            self._enrich(story, text, key, received_ms) for story, text, key in zip(stories, texts, keys, strict=True)
        ]

    def _enrich(self, story: Story, text: str, keys: tuple[int, ...], received_ms: int) -> EnrichedStory:
        body = self._clean(story.body)
        # One after the other: a headline in capitals is one, whatever its body looks like.
        named = self._watchlist.find(text) | self._watchlist.find(body)
        tickers = {*story.tickers, *cashtags(f"{text}\n{body}"), *named}
        ahead = story.published_ms > received_ms + self._future_tolerance_ms
        return EnrichedStory(
            story=story,
            text=text,
            body_text=body,
            language=story.language or self._languages.detect(text),
            tickers=tuple(sorted(tickers)),
            minute=(received_ms if ahead else story.published_ms) // MINUTE_MS,
            copy_keys=keys,
        )
