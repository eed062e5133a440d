"""One batch's changes: rows are loaded once, changed in memory, and written at the end."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields

from sentiment_monitor.domain.news import Action, ScoredStory
from sentiment_monitor.store.schema import copy_keys, scores, stories
from sentiment_monitor.store.stories.bulk import Bulk, Row
from sentiment_monitor.store.stories.originals import Copying, Originals
from sentiment_monitor.store.stories.row import BucketKey, StoryRow, join_tickers, split_tickers


@dataclass(slots=True)
class Written:
    """What a transaction did, or several together: counts, for people."""

    created: int = 0
    updated: int = 0
    deleted: int = 0
    copies: int = 0
    duplicates: int = 0
    dead: int = 0

    def __iadd__(self, more: Written) -> Written:
        for counter in fields(self):
            setattr(self, counter.name, getattr(self, counter.name) + getattr(more, counter.name))
        return self


class Changes:
    """Applies the stories of one batch in order and writes what changed."""

    def __init__(self, bulk: Bulk, copying: Copying) -> None:
        self._bulk = bulk
        self._window_minutes = copying.window_minutes
        self._originals = Originals(copying)
        self._by_key: dict[tuple[str, str], StoryRow] = {}
        self._by_id: dict[int, StoryRow] = {}
        self._created: list[StoryRow] = []
        self._touched: dict[int, StoryRow] = {}
        self._left_keys: set[int] = set()  # under which touched originals stand in copy_keys
        self._copies: dict[StoryRow | int, list[StoryRow]] = {}  # original, or its id -> rows that were its copies
        self._with_copies: set[int] = set()  # ids of originals whose copies are loaded
        # Originals whose copies may count for other tickers than before; true: any copy may, not only new ones.
        self._unsettled: dict[StoryRow | int, bool] = {}
        self._deltas: dict[BucketKey, list[int]] = {}
        self._repeats: list[tuple[StoryRow, ScoredStory]] = []  # a message that says nothing new of its story
        self.written = Written()

    def apply(self, scored: Sequence[ScoredStory]) -> None:
        """Loads what the stories may meet, then takes them in order."""
        if not scored:
            return
        self._load_stories(scored)
        self._load_originals(scored)
        for item in scored:
            story = item.enriched.story
            row = self._by_key.get((story.source, story.story_id))
            if row is None:
                self._create(item)
            else:
                self._change(row, item)

    # -- applying one message ---------------------------------------------------------------------

    def _create(self, item: ScoredStory) -> None:
        row = StoryRow.from_scored(item)
        self._by_key[row.source, row.story_id] = row
        self._created.append(row)
        if row.deleted:
            self.written.deleted += 1
            return
        self.written.created += 1
        self._cluster(row)

    def _change(self, row: StoryRow, item: ScoredStory) -> None:
        story = item.enriched.story
        newer = story.revision is not None and (row.revision is None or story.revision > row.revision)
        unnumbered = story.revision is None
        if row.deleted and row.revision is None:
            # Nothing is known to be newer than a deletion without a number.
            self.written.duplicates += 1
            return
        if story.action is Action.DELETED:
            if not (newer or unnumbered or (story.revision == row.revision and not row.deleted)):
                self.written.duplicates += 1
                return
            self._touch(row)
            if row.deleted:
                self.written.duplicates += 1
            else:
                self._leave_cluster(row)
                self.written.deleted += 1
            row.deleted, row.revision = True, story.revision
            return
        # Without a number only a live story can change: a repeated message must not raise the dead.
        repeated = not newer and (not unnumbered or row.deleted or row.says(item))
        created_again = story.action is Action.CREATED and story.revision == row.revision and not row.deleted
        if created_again and row.is_retold_by(item):
            # A feed with a message a symbol tells a story again for each: it is one story, about all of them.
            item = row.united_with(item)
            repeated = row.says(item) or (not unnumbered and row.tickers == join_tickers(item.enriched.tickers))
        if repeated:
            self.written.duplicates += 1
            if unnumbered:
                self._repeats.append((row, item))
            return
        self._touch(row)
        self._leave_cluster(row)
        row.rewrite(item)
        row.revision = story.revision if newer else row.revision
        self.written.updated += 1
        self._cluster(row)

    # -- copies -----------------------------------------------------------------------------------

    def _cluster(self, row: StoryRow) -> None:
        """Makes ``row`` a copy of the original it repeats, or an original itself."""
        original = self._originals.repeated_by(row)
        if original is None:
            self._originals.add(row, row.copy_keys)
            return
        self.written.copies += 1
        if original.order < row.order:
            self._follow(row, original)
            return
        # The later arrival was published first: it takes over.
        self._touch(original)
        self._originals.drop(original)
        self._move_copies(original, row)
        self._follow(original, row)
        self._originals.add(row, row.copy_keys)

    def _leave_cluster(self, row: StoryRow) -> None:
        """Takes ``row`` out of its cluster; if it was the original, its earliest living copy becomes it."""
        if row.is_copy:
            if row.counts_for:
                self._unsettle(row.copy_of or row.copy_of_id, whole=True)
            row.become_original()
            return
        self._originals.drop(row)
        heirs = sorted(self._copies_of(row), key=lambda copy: copy.order)
        if not heirs:
            return
        heir = heirs[0]
        self._touch(heir)
        heir.become_original()
        self._move_copies(row, heir)
        self._originals.add(heir, heir.copy_keys)

    def _move_copies(self, old: StoryRow, new: StoryRow) -> None:
        for copy in self._copies_of(old):
            if copy is not new:
                self._touch(copy)
                self._follow(copy, new)
                self._unsettle(new, whole=True)

    def _follow(self, copy: StoryRow, original: StoryRow) -> None:
        copy.copy_of, copy.copy_of_id = original, None
        self._copies.setdefault(original, []).append(copy)
        if copy.counts_for or (copy.tickers and copy.tickers != original.tickers):
            self._unsettle(original)

    def _unsettle(self, original: StoryRow | int | None, *, whole: bool = False) -> None:
        assert original is not None
        self._unsettled[original] = whole or self._unsettled.get(original, False)

    def _copies_of(self, original: StoryRow) -> list[StoryRow]:
        if original.id is not None:
            self._load_copies([original.id])
        return self._known_copies(original)

    def _known_copies(self, original: StoryRow) -> list[StoryRow]:
        """Those that are loaded."""
        known = [*self._copies.get(original, ()), *self._copies.get(original.id or 0, ())]
        return [
            row
            for row in dict.fromkeys(known)
            if not row.deleted
            and (row.copy_of is original or (original.id is not None and row.copy_of_id == original.id))
        ]

    # -- copies that name companies which their originals do not ----------------------------------

    def _settle(self) -> None:
        """Decides for which tickers copies count as stories: for those that no earlier story of their cluster names."""
        if not self._unsettled:
            return
        if unknown := [key for key in self._unsettled if isinstance(key, int) and key not in self._by_id]:
            self._load(self._bulk.stories_numbered(unknown))
        originals: dict[StoryRow, bool] = {}
        for key, whole in self._unsettled.items():
            original = self._by_id.get(key) if isinstance(key, int) else key
            if original is not None and not (original.is_copy or original.deleted):
                originals[original] = whole or originals.get(original, False)
        self._load_copies(row.id for row, whole in originals.items() if whole and row.id is not None)
        if stored := [row.id for row, whole in originals.items() if not whole and row.id is not None]:
            self._load(self._bulk.counting_copies_of(stored))
        for original in originals:
            named = set(split_tickers(original.tickers))
            for copy in sorted(self._known_copies(original), key=lambda copy: copy.order):
                counts_for = tuple(ticker for ticker in split_tickers(copy.tickers) if ticker not in named)
                named.update(counts_for)
                if copy.counts_for != (joined := join_tickers(counts_for)):
                    self._touch(copy)
                    copy.counts_for = joined

    # -- loading ----------------------------------------------------------------------------------

    def _load_stories(self, scored: Sequence[ScoredStory]) -> None:
        loaded = self._load(self._bulk.stories_named({item.enriched.story.story_id for item in scored}))
        keys = {(item.enriched.story.source, item.enriched.story.story_id) for item in scored}
        # All at once: a batch of updates would otherwise ask for the copies of each.
        self._load_copies(
            [
                row.id
                for row in loaded
                if row.id is not None and not row.is_copy and not row.deleted and (row.source, row.story_id) in keys
            ]
        )

    def _load_originals(self, scored: Sequence[ScoredStory]) -> None:
        living = [item.enriched for item in scored if item.score is not None]
        if not living:
            return
        window = self._window_minutes
        minutes = [enriched.minute for enriched in living]
        keyed = self._bulk.originals_with(
            {enriched.copy_keys[0] for enriched in living},
            {key for enriched in living for key in enriched.copy_keys[1:]},
            min(minutes) - window,
            max(minutes) + window,
        )
        if missing := {identity for _, identity in keyed} - self._by_id.keys():
            self._load(self._bulk.stories_numbered(missing))
        for key, identity in keyed:
            row = self._by_id.get(identity)  # None: somebody has deleted the story by hand and left its keys
            if row is not None and not row.is_copy and not row.deleted:
                self._originals.add(row, (key,))

    def _load_copies(self, ids: Iterable[int]) -> None:
        if missing := set(ids) - self._with_copies:
            self._with_copies |= missing
            self._load(self._bulk.copies_of(missing))

    def _load(self, rows: Sequence[Row]) -> list[StoryRow]:
        loaded = []
        for columns in rows:
            row = self._by_id.get(columns[0])
            if row is None:
                row = self._by_id[columns[0]] = StoryRow(*columns)
                self._by_key[row.source, row.story_id] = row
                if row.copy_of_id is not None:
                    self._copies.setdefault(row.copy_of_id, []).append(row)
            loaded.append(row)
        return loaded

    # -- writing ----------------------------------------------------------------------------------

    def _touch(self, row: StoryRow) -> None:
        """Before the first change of a stored row: what it added to buckets and copy keys is taken back."""
        if row.id is not None and row.id not in self._touched:
            self._touched[row.id] = row
            row.count_into(self._deltas, -1)
            if not (row.deleted or row.is_copy):
                self._left_keys.update(row.copy_keys)

    def write(self, now_ms: int) -> None:
        """Writes what :meth:`apply` changed."""
        self._settle()
        # Originals first: a copy's row names its original's id.
        created = [row for row in self._created if row.copy_of is None or row.copy_of.id is not None]
        created += [row for row in self._created if row.copy_of is not None and row.copy_of.id is None]
        touched = list(self._touched.values())
        if created:
            for row, identity in zip(created, self._bulk.reserve(len(created)), strict=True):
                row.id = identity
            self._bulk.insert(stories, [row.story_values(now_ms) for row in created])
        if touched:
            self._bulk.rewrite_stories([row.story_values(now_ms) for row in touched if row.message])
            self._bulk.move_stories(
                [(id_, row.revision, row.deleted, row.original_id, row.counts_for)
                 for id_, row in self._touched.items() if not row.message]
            )  # fmt: skip
            if self._left_keys:
                self._bulk.drop_copy_keys(self._left_keys, list(self._touched))
            if stale := [id_ for id_, row in self._touched.items() if row.score]:
                self._bulk.drop_scores(stale)
        rows = [*created, *touched]
        if scored := [row.score_values(now_ms) for row in rows if row.score]:
            self._bulk.insert(scores, scored)
        keys = [
            (key, row.id, row.minute)
            for row in rows
            if not row.deleted and not row.is_copy
            for key in dict.fromkeys(row.copy_keys)
        ]
        if keys:
            self._bulk.insert(copy_keys, keys)
        for row in rows:
            row.count_into(self._deltas, 1)
        self._write_buckets()
        # What was put aside before them is older than they are, and must not replace what they say once it is read.
        places = ((row.id, item.enriched.story) for row, item in self._repeats)
        self._bulk.move_over_dead_letters(
            [(id_, story.position.topic, story.position.partition, story.position.offset, story.part)
             for id_, story in places if id_ is not None]
        )  # fmt: skip

    def _write_buckets(self) -> None:
        changed = {key: delta for key, delta in sorted(self._deltas.items()) if any(delta)}
        if changed:
            self._bulk.add_to_buckets(changed)
            # A bucket that nothing is left of must not differ from one that never was.
            self._bulk.drop_empty_buckets([key for key, delta in changed.items() if min(delta[:5]) < 0])
