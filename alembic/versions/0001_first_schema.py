"""First schema: stories, scores, buckets, offsets, dead letters, alerts, and the views people read.

Revision ID: 0001
Revises:
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# One instant as a timestamp: text in ISO 8601 on SQLite, timestamptz on PostgreSQL.
_INSTANT = {
    "sqlite": "strftime('%Y-%m-%dT%H:%M:%fZ', {ms} / 1000.0, 'unixepoch')",
    "postgresql": "to_timestamp({ms} / 1000.0)",
}
_FALSE = {"sqlite": "0", "postgresql": "false"}


def _views(dialect: str) -> dict[str, str]:
    def at(milliseconds: str) -> str:
        return _INSTANT[dialect].format(ms=f"({milliseconds})")

    return {
        "v1_stories": f"""
            SELECT s.id, s.source, s.story_id, s.revision, s.headline, s.body, s.url, s.language,
                   trim(s.tickers, ',') AS tickers, {at("s.published_ms")} AS published_at,
                   {at("s.received_ms")} AS received_at, s.copy_of, c.label AS sentiment, c.negative, c.neutral,
                   c.positive, c.score, c.confidence, c.topic, c.topic_confidence, c.classifier, c.calibration,
                   c.windows, c.truncated, c.degraded, c.uncertain
            FROM stories s JOIN scores c ON c.story_id = s.id
            WHERE s.deleted = {_FALSE[dialect]}""",
        "v1_trend_minute": f"""
            SELECT series, {at("minute * 60000")} AS minute_at, stories, negative, neutral, positive, copies,
                   negative_micro / 1000000.0 AS negative_mass,
                   CASE WHEN stories > 0 THEN score_micro / 1000000.0 / stories END AS mean_score
            FROM buckets""",
        "v1_alerts": f"""
            SELECT id, fingerprint, rule, series, severity, state, title, {at("pending_minute * 60000")} AS pending_at,
                   {at("fired_minute * 60000")} AS fired_at, {at("resolved_minute * 60000")} AS resolved_at
            FROM alerts WHERE fired_minute IS NOT NULL""",
        "v1_alert_events": f"""
            SELECT e.id, e.alert_id, {at("e.minute * 60000")} AS at, e.transition, e.reason, e.observed, e.volume,
                   e.expected, e.p_value, e.q_value, e.evidence, e.explanation
            FROM alert_events e""",
    }


def upgrade() -> None:
    op.create_table(
        "alerts",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("fingerprint", sa.String(length=64), nullable=False),
        sa.Column("rule", sa.String(length=64), nullable=False),
        sa.Column("series", sa.String(length=200), nullable=False),
        sa.Column("severity", sa.String(length=16), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("state_json", sa.Text(), nullable=False, comment="the state machine's own value"),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("pending_minute", sa.BigInteger(), nullable=False),
        sa.Column("fired_minute", sa.BigInteger(), nullable=True),
        sa.Column("resolved_minute", sa.BigInteger(), nullable=True),
        sa.Column("updated_minute", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_alerts")),
    )
    with op.batch_alter_table("alerts", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_alerts_fingerprint"), ["fingerprint"], unique=False)
        batch_op.create_index(batch_op.f("ix_alerts_state"), ["state"], unique=False)

    op.create_table(
        "buckets",
        sa.Column("series", sa.String(length=200), nullable=False),
        sa.Column("minute", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("stories", sa.Integer(), nullable=False, comment="without copies"),
        sa.Column("negative", sa.Integer(), nullable=False),
        sa.Column("neutral", sa.Integer(), nullable=False),
        sa.Column("positive", sa.Integer(), nullable=False),
        sa.Column("copies", sa.Integer(), nullable=False),
        sa.Column("negative_micro", sa.BigInteger(), nullable=False, comment="sum of P(negative) in millionths"),
        sa.Column("score_micro", sa.BigInteger(), nullable=False, comment="sum of signed scores in millionths"),
        sa.PrimaryKeyConstraint("series", "minute", name=op.f("pk_buckets")),
        sqlite_with_rowid=False,
    )
    with op.batch_alter_table("buckets", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_buckets_minute"), ["minute"], unique=False)

    op.create_table(
        "classifiers",
        sa.Column("id", sa.String(length=200), nullable=False, comment="name@hash, as scores name it"),
        sa.Column("first_used_ms", sa.BigInteger(), nullable=False),
        sa.Column("manifest", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_classifiers")),
    )
    op.create_table(
        "consumer_offsets",
        sa.Column("consumer_group", sa.String(length=249), nullable=False),
        sa.Column("topic", sa.String(length=249), nullable=False),
        sa.Column("partition", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("next_offset", sa.BigInteger(), nullable=False),
        sa.Column("updated_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("consumer_group", "topic", "partition", name=op.f("pk_consumer_offsets")),
    )
    op.create_table(
        "dead_letters",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("kafka_topic", sa.String(length=249), nullable=False),
        sa.Column("kafka_partition", sa.Integer(), nullable=False),
        sa.Column("kafka_offset", sa.BigInteger(), nullable=False),
        sa.Column("code", sa.String(length=64), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("raw_key", sa.LargeBinary(), nullable=True),
        sa.Column("raw_value", sa.LargeBinary(), nullable=True),
        sa.Column("received_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_dead_letters")),
    )
    with op.batch_alter_table("dead_letters", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_dead_letters_kafka_topic_kafka_partition_kafka_offset"),
            ["kafka_topic", "kafka_partition", "kafka_offset"],
            unique=False,
        )

    op.create_table(
        "leases",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("holder", sa.String(length=200), nullable=False),
        sa.Column("token", sa.BigInteger(), nullable=False, comment="grows with every change of holder"),
        sa.Column("expires_ms", sa.BigInteger(), nullable=False),
        sa.Column("progress_minute", sa.BigInteger(), nullable=True, comment="the last tick that was stored"),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_leases")),
    )
    op.create_table(
        "stories",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("source", sa.String(length=128), nullable=False),
        sa.Column("story_id", sa.String(length=512), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=True, comment="the feed's own number, null when it has none"),
        sa.Column("deleted", sa.Boolean(), nullable=False),
        sa.Column("headline", sa.Text(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False, comment="clean headline, as scored"),
        sa.Column("language", sa.String(length=8), nullable=False),
        sa.Column("tickers", sa.Text(), nullable=False, comment="sorted, comma-separated, with a comma at both ends"),
        sa.Column("published_ms", sa.BigInteger(), nullable=False),
        sa.Column("received_ms", sa.BigInteger(), nullable=False),
        sa.Column("minute", sa.BigInteger(), nullable=False, comment="event-time minute of its buckets"),
        sa.Column(
            "copy_of",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            nullable=True,
            comment="id of the story this is a copy of; null: an original",
        ),
        sa.Column("copy_keys", sa.LargeBinary(), nullable=False, comment="big-endian signed 64-bit integers"),
        sa.Column("kafka_topic", sa.String(length=249), nullable=False),
        sa.Column("kafka_partition", sa.Integer(), nullable=False),
        sa.Column("kafka_offset", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["copy_of"], ["stories.id"], name=op.f("fk_stories_copy_of_stories")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_stories")),
        sa.UniqueConstraint("story_id", "source", name=op.f("uq_stories_story_id_source")),
    )
    with op.batch_alter_table("stories", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_stories_copy_of"), ["copy_of"], unique=False)
        batch_op.create_index(batch_op.f("ix_stories_minute"), ["minute"], unique=False)

    op.create_table(
        "alert_events",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("alert_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("minute", sa.BigInteger(), nullable=False),
        sa.Column(
            "transition", sa.String(length=16), nullable=False, comment="pending, fired, repeated, resolved, dropped"
        ),
        sa.Column("reason", sa.String(length=64), nullable=False),
        sa.Column("observed", sa.Float(), nullable=False),
        sa.Column("volume", sa.Float(), nullable=False),
        sa.Column("expected", sa.Float(), nullable=False),
        sa.Column("p_value", sa.Float(), nullable=False),
        sa.Column("q_value", sa.Float(), nullable=False),
        sa.Column("evidence", sa.Text(), nullable=False, comment="JSON: statistics, top stories, sources, copies"),
        sa.Column("explanation", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["alert_id"], ["alerts.id"], name=op.f("fk_alert_events_alert_id_alerts"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_alert_events")),
        sa.UniqueConstraint(
            "alert_id", "minute", "transition", name=op.f("uq_alert_events_alert_id_minute_transition")
        ),
    )
    op.create_table(
        "copy_keys",
        sa.Column("key", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column(
            "story_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False
        ),
        sa.Column("minute", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["story_id"], ["stories.id"], name=op.f("fk_copy_keys_story_id_stories"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("key", "story_id", name=op.f("pk_copy_keys")),
        comment="how a copy finds its original; originals only",
        sqlite_with_rowid=False,
    )
    with op.batch_alter_table("copy_keys", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_copy_keys_story_id"), ["story_id"], unique=False)

    op.create_table(
        "scores",
        sa.Column(
            "story_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False
        ),
        sa.Column("classifier", sa.String(length=200), nullable=False),
        sa.Column("calibration", sa.String(length=100), nullable=False),
        sa.Column("label", sa.String(length=8), nullable=False),
        sa.Column("negative", sa.Float(), nullable=False),
        sa.Column("neutral", sa.Float(), nullable=False),
        sa.Column("positive", sa.Float(), nullable=False),
        sa.Column("score", sa.Float(), nullable=False, comment="positive - negative"),
        sa.Column("confidence", sa.Float(), nullable=False),
        sa.Column("topic", sa.String(length=64), nullable=True),
        sa.Column("topic_confidence", sa.Float(), nullable=False),
        sa.Column("windows", sa.Integer(), nullable=False),
        sa.Column("truncated", sa.Boolean(), nullable=False),
        sa.Column("degraded", sa.Boolean(), nullable=False),
        sa.Column("uncertain", sa.Boolean(), nullable=False),
        sa.Column("scored_ms", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("label in ('negative', 'neutral', 'positive')", name=op.f("ck_scores_label")),
        sa.ForeignKeyConstraint(
            ["story_id"], ["stories.id"], name=op.f("fk_scores_story_id_stories"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("story_id", name=op.f("pk_scores")),
    )
    op.create_table(
        "notifications",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("event_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("receiver", sa.String(length=64), nullable=False),
        sa.Column("notifier", sa.Integer(), nullable=False, comment="place in the receiver's list"),
        sa.Column("idempotency_key", sa.String(length=64), nullable=False),
        sa.Column("payload", sa.Text(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False, comment="queued, sent, failed"),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("next_attempt_ms", sa.BigInteger(), nullable=False),
        sa.Column("sent_ms", sa.BigInteger(), nullable=True),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["event_id"], ["alert_events.id"], name=op.f("fk_notifications_event_id_alert_events"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_notifications")),
        sa.UniqueConstraint("idempotency_key", name=op.f("uq_notifications_idempotency_key")),
    )
    with op.batch_alter_table("notifications", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_notifications_state_next_attempt_ms"), ["state", "next_attempt_ms"], unique=False
        )

    for name, query in _views(op.get_bind().dialect.name).items():
        op.execute(f"CREATE VIEW {name} AS {query}")


def downgrade() -> None:
    for name in _views(op.get_bind().dialect.name):
        op.execute(f"DROP VIEW {name}")
    with op.batch_alter_table("notifications", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_notifications_state_next_attempt_ms"))

    op.drop_table("notifications")
    op.drop_table("scores")
    with op.batch_alter_table("copy_keys", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_copy_keys_story_id"))

    op.drop_table("copy_keys")
    op.drop_table("alert_events")
    with op.batch_alter_table("stories", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_stories_minute"))
        batch_op.drop_index(batch_op.f("ix_stories_copy_of"))

    op.drop_table("stories")
    op.drop_table("leases")
    with op.batch_alter_table("dead_letters", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_dead_letters_kafka_topic_kafka_partition_kafka_offset"))

    op.drop_table("dead_letters")
    op.drop_table("consumer_offsets")
    op.drop_table("classifiers")
    with op.batch_alter_table("buckets", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_buckets_minute"))

    op.drop_table("buckets")
    with op.batch_alter_table("alerts", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_alerts_state"))
        batch_op.drop_index(batch_op.f("ix_alerts_fingerprint"))

    op.drop_table("alerts")
