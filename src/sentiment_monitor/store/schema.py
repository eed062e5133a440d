"""The tables. Migrations in ``alembic/`` make them; a test checks that both agree.

Instants are integers (see :mod:`sentiment_monitor.domain.news`); the ``v1_`` views show them as timestamps.
Sums of probabilities are kept in integer millionths, so that adding and taking away leaves exactly nothing.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    false,
    text,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# SQLite numbers rows by itself only in a column declared exactly INTEGER.
Key = BigInteger().with_variant(Integer(), "sqlite")

stories = Table(
    "stories",
    metadata,
    Column("id", Key, primary_key=True, autoincrement=True),
    Column("source", String(128), nullable=False),
    Column("story_id", String(512), nullable=False),
    Column("revision", BigInteger, comment="the feed's own number, null when it has none"),
    Column("deleted", Boolean, nullable=False, default=False),
    Column("headline", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("url", Text, nullable=False),
    Column("text", Text, nullable=False, comment="clean headline, as scored"),
    Column("language", String(8), nullable=False),
    Column("tickers", Text, nullable=False, comment="sorted, comma-separated, with a comma at both ends"),
    Column("published_ms", BigInteger, nullable=False),
    Column("received_ms", BigInteger, nullable=False),
    Column("minute", BigInteger, nullable=False, comment="event-time minute of its buckets"),
    Column("copy_of", Key, ForeignKey("stories.id"), comment="id of the story this is a copy of; null: an original"),
    Column("copy_keys", LargeBinary, nullable=False, comment="big-endian signed 64-bit integers"),
    Column("kafka_topic", String(249), nullable=False),
    Column("kafka_partition", Integer, nullable=False),
    Column("kafka_offset", BigInteger, nullable=False),
    Column("kafka_part", Integer, comment="place within its record, from 0; null: the record is the story"),
    Column(
        "counts_for",
        Text,
        nullable=False,
        server_default=text("''"),
        comment="tickers of a copy in whose series it counts as a story",
    ),
    UniqueConstraint("story_id", "source"),
    Index(None, "minute"),
    Index(None, "copy_of"),
)

copy_keys = Table(
    "copy_keys",
    metadata,
    Column("key", BigInteger, primary_key=True, autoincrement=False),
    # Neither a foreign key nor an index of its own: they cost a third of the server's time of a batch.
    Column("story_id", Key, primary_key=True, autoincrement=False),
    Column("minute", BigInteger, nullable=False),
    comment="how a copy finds its original; originals only",
    sqlite_with_rowid=False,
)

scores = Table(
    "scores",
    metadata,
    Column("story_id", Key, ForeignKey("stories.id", ondelete="CASCADE"), primary_key=True, autoincrement=False),
    Column("classifier", String(200), nullable=False),
    Column("calibration", String(100), nullable=False),
    Column("label", String(8), nullable=False),
    Column("negative", Float, nullable=False),
    Column("neutral", Float, nullable=False),
    Column("positive", Float, nullable=False),
    Column("score", Float, nullable=False, comment="positive - negative"),
    Column("confidence", Float, nullable=False),
    Column("topic", String(64)),
    Column("topic_confidence", Float, nullable=False),
    Column("windows", Integer, nullable=False),
    Column("truncated", Boolean, nullable=False),
    Column("degraded", Boolean, nullable=False),
    Column("uncertain", Boolean, nullable=False),
    Column("scored_ms", BigInteger, nullable=False),
    CheckConstraint("label in ('negative', 'neutral', 'positive')", name="label"),
)

buckets = Table(
    "buckets",
    metadata,
    Column("series", String(200), primary_key=True),
    Column("minute", BigInteger, primary_key=True, autoincrement=False),
    Column("stories", Integer, nullable=False, comment="without copies"),
    Column("negative", Integer, nullable=False),
    Column("neutral", Integer, nullable=False),
    Column("positive", Integer, nullable=False),
    Column("copies", Integer, nullable=False),
    Column("negative_micro", BigInteger, nullable=False, comment="sum of P(negative) in millionths"),
    Column("score_micro", BigInteger, nullable=False, comment="sum of signed scores in millionths"),
    Index(None, "minute"),
    sqlite_with_rowid=False,
)

consumer_offsets = Table(
    "consumer_offsets",
    metadata,
    Column("consumer_group", String(249), primary_key=True),
    Column("topic", String(249), primary_key=True),
    Column("partition", Integer, primary_key=True, autoincrement=False),
    Column("next_offset", BigInteger, nullable=False),
    Column("updated_ms", BigInteger, nullable=False),
)

dead_letters = Table(
    "dead_letters",
    metadata,
    Column("id", Key, primary_key=True, autoincrement=True),
    Column("kafka_topic", String(249), nullable=False),
    Column("kafka_partition", Integer, nullable=False),
    Column("kafka_offset", BigInteger, nullable=False),
    Column("code", String(64), nullable=False),
    Column("detail", Text, nullable=False),
    Column("raw_key", LargeBinary),
    Column("raw_value", LargeBinary),
    Column("received_ms", BigInteger, nullable=False),
    Column("timestamp_ms", BigInteger, comment="the record's own time; null where it is not known"),
    Column("replayed_ms", BigInteger, comment="read again and stored; null: not yet"),
    Column("requested_ms", BigInteger, comment="asked to be read again, and not yet; null: nobody waits"),
    Column("taken", Integer, nullable=False, server_default="0", comment="readings begun since it was asked for"),
    Column("attempts", Integer, nullable=False, server_default="0", comment="how often it was read again"),
    Column("kafka_part", Integer, comment="place of the story within the record, from 0; null: the record"),
    Index(None, "kafka_topic", "kafka_partition", "kafka_offset"),
    Index(None, "requested_ms"),
)

dropped_fields = Table(
    "dropped_fields",
    metadata,
    Column("day", BigInteger, primary_key=True, autoincrement=False, comment="days since 1970, UTC, of receipt"),
    Column("source", String(128), primary_key=True),
    Column("field", String(32), primary_key=True),
    Column("reason", String(32), primary_key=True),
    Column("stories", BigInteger, nullable=False, comment="stories read without the field, or with part of it"),
    Column("example", Text, nullable=False, comment="what the field held, of one of them"),
    Column("updated_ms", BigInteger, nullable=False),
    comment="fields of messages that could not be read; their stories are stored",
)

alerts = Table(
    "alerts",
    metadata,
    Column("id", Key, primary_key=True, autoincrement=True),
    Column("fingerprint", String(64), nullable=False),
    Column("rule", String(64), nullable=False),
    Column("series", String(200), nullable=False),
    Column("severity", String(16), nullable=False),
    Column("state", String(16), nullable=False, comment="pending, firing, resolved, dropped"),
    Column("title", Text, nullable=False),
    Column("pending_minute", BigInteger, nullable=False),
    Column("fired_minute", BigInteger),
    Column("quiet_minute", BigInteger, comment="firing, but nothing holds it since"),
    Column("silent_minute", BigInteger, comment="nothing can be said since"),
    Column("resolved_minute", BigInteger, comment="resolved or dropped"),
    Column("decided_minute", BigInteger, nullable=False, comment="of the last change"),
    Column("closed_negatives", Float, comment="somebody ended it at so many, and what raised it may not be over yet"),
    Column("reopened_minute", BigInteger, comment="it was resolved, and fires again since"),
    Column("reopenings", Integer, nullable=False, server_default="0", comment="how often that was so"),
    Column("stale", Boolean, nullable=False, server_default=false(), comment="of old news: nobody was told"),
    Index(None, "fingerprint"),
    Index(None, "state"),
    Index(None, "closed_negatives"),
    Index(None, "resolved_minute"),
)

alert_events = Table(
    "alert_events",
    metadata,
    Column("id", Key, primary_key=True, autoincrement=True),
    Column("alert_id", Key, ForeignKey("alerts.id", ondelete="CASCADE"), nullable=False),
    Column("minute", BigInteger, nullable=False),
    Column("transition", String(16), nullable=False, comment="pending, fired, repeated, resolved, dropped"),
    Column("reason", String(64), nullable=False),
    Column("observed", Float, nullable=False),
    Column("volume", Float, nullable=False),
    Column("expected", Float, nullable=False),
    Column("p_value", Float),
    Column("q_value", Float),
    Column("evidence", Text, nullable=False, comment="JSON: sentence, top stories, sources, copies, statistics"),
    Column("explanation", Text, nullable=False),
    UniqueConstraint("alert_id", "minute", "transition"),
)

alert_vectors = Table(
    "alert_vectors",
    metadata,
    Column("alert_id", Key, ForeignKey("alerts.id", ondelete="CASCADE"), primary_key=True, autoincrement=False),
    Column("classifier", String(200), primary_key=True, comment="whose vector it is: only those of one are compared"),
    Column("at_ms", BigInteger, nullable=False),
    Column(
        "vector", LargeBinary, nullable=False, comment="little-endian 16-bit floats; empty: the classifier has none"
    ),
    Column("traits", Text, nullable=False, comment="JSON: companies, groups and topics of its most telling stories"),
    comment="what similar alerts are recognised by",
)

notifications = Table(
    "notifications",
    metadata,
    Column("id", Key, primary_key=True, autoincrement=True),
    Column("event_id", Key, ForeignKey("alert_events.id", ondelete="CASCADE"), comment="null: a briefing"),
    Column("receiver", String(64), nullable=False),
    Column("notifier", String(64), nullable=False, comment="its name; #0, #1: its place, from before there were names"),
    Column("idempotency_key", String(64), nullable=False),
    Column("payload", Text, nullable=False),
    Column("title", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("state", String(16), nullable=False, comment="queued, sent, failed"),
    Column("attempts", Integer, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("next_attempt_ms", BigInteger, nullable=False),
    Column("sent_ms", BigInteger),
    Column("last_error", Text),
    UniqueConstraint("idempotency_key"),
    Index(None, "event_id"),
    Index(None, "state", "receiver", "notifier", "next_attempt_ms", "id"),
)

silences = Table(
    "silences",
    metadata,
    Column("id", Key, primary_key=True, autoincrement=True),
    Column("at_ms", BigInteger, nullable=False),
    Column("author", String(200), nullable=False),
    Column("comment", Text, nullable=False),
    Column("matchers", Text, nullable=False, comment="JSON: matchers as people write them, all of which must fit"),
    Column("starts_minute", BigInteger, nullable=False),
    Column("ends_minute", BigInteger, nullable=False, comment="exclusive; earlier once somebody has expired it"),
    Index(None, "ends_minute"),
)

acknowledgements = Table(
    "acknowledgements",
    metadata,
    Column("id", Key, primary_key=True, autoincrement=True),
    Column("alert_id", Key, ForeignKey("alerts.id", ondelete="CASCADE"), nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("minute", BigInteger, nullable=False, comment="the first that was decided with it"),
    Column("actor", String(200), nullable=False),
    Column("owner", String(200), comment="null: given up again, nobody has it"),
    Column("note", Text, nullable=False),
    Index(None, "alert_id"),
    comment="who has taken an alert on; the newest row of an alert counts",
)

comments = Table(
    "comments",
    metadata,
    Column("id", Key, primary_key=True, autoincrement=True),
    Column("alert_id", Key, ForeignKey("alerts.id", ondelete="CASCADE"), nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("author", String(200), nullable=False),
    Column("text", Text, nullable=False),
    Index(None, "alert_id"),
)

closings = Table(
    "closings",
    metadata,
    Column("id", Key, primary_key=True, autoincrement=True),
    Column("alert_id", Key, ForeignKey("alerts.id", ondelete="CASCADE"), nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("minute", BigInteger, nullable=False, comment="the first that was decided with it"),
    Column("actor", String(200), nullable=False),
    Column("verdict", String(16), nullable=False, comment="resolved, dismissed"),
    Column("reason", Text, nullable=False),
    UniqueConstraint("alert_id"),
    comment="who ended an alert before its own time; the next tick does it",
)

stopped_notifiers = Table(
    "stopped_notifiers",
    metadata,
    Column("receiver", String(64), primary_key=True),
    Column("notifier", String(64), primary_key=True),
    Column("since_ms", BigInteger, nullable=False),
    Column("error", Text, nullable=False, comment="what the receiver said when it did not let us in"),
    Column("access", String(160), nullable=False, comment="salted hash of the settings that it refused"),
    comment="nothing is delivered by these until their settings change or somebody resumes them",
)

notification_alerts = Table(
    "notification_alerts",
    metadata,
    Column("notification_id", Key, ForeignKey("notifications.id", ondelete="CASCADE"), primary_key=True),
    Column("alert_id", Key, ForeignKey("alerts.id", ondelete="CASCADE"), primary_key=True),
    Column("minute", BigInteger, nullable=False, comment="of the decision"),
    Column("cause", String(16), nullable=False, comment="why it is told; named: beside the others of a group"),
    Column("severity", String(16), nullable=False, comment="the gravest that was told of its series"),
    Index(None, "alert_id", "notification_id"),
    Index(None, "minute"),
    comment="the alerts of which a notification tells",
)

held_back = Table(
    "held_back",
    metadata,
    Column("id", Key, primary_key=True, autoincrement=True),
    Column("alert_id", Key, ForeignKey("alerts.id", ondelete="CASCADE"), nullable=False),
    Column("receiver", String(64), nullable=False),
    Column("reason", String(32), nullable=False),
    Column("detail", Text, nullable=False, comment="whose silence, which other alert, until when"),
    Column("since_minute", BigInteger, nullable=False),
    Column("until_minute", BigInteger, comment="exclusive; null: it still is"),
    Index(None, "alert_id"),
    comment="why a receiver was not told of an alert, and for how long",
)

briefings = Table(
    "briefings",
    metadata,
    Column("receiver", String(64), primary_key=True),
    Column("minute", BigInteger, primary_key=True, autoincrement=False, comment="for which it was due"),
)

classifiers = Table(
    "classifiers",
    metadata,
    Column("id", String(200), primary_key=True, comment="name@hash, as scores name it"),
    Column("first_used_ms", BigInteger, nullable=False),
    Column("manifest", Text, nullable=False),
)

audit = Table(
    "audit",
    metadata,
    Column("id", Key, primary_key=True, autoincrement=True),
    Column("at_ms", BigInteger, nullable=False),
    Column("actor", String(200), nullable=False, comment="a user of the command line's machine, or api"),
    Column("action", String(64), nullable=False),
    Column("subject", String(200), nullable=False),
    Column("detail", Text, nullable=False, comment="JSON"),
    comment="who changed what, in the transaction of the change",
)

leases = Table(
    "leases",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("holder", String(200), nullable=False),
    Column("token", BigInteger, nullable=False, comment="grows with every change of holder"),
    Column("expires_ms", BigInteger, nullable=False),
    Column("progress_minute", BigInteger, comment="the last tick that was stored"),
)
