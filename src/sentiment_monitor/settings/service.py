"""Settings of the service itself: classifier, database, dead letters, page, process, log."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, field_validator

from sentiment_monitor.settings.section import Section


class ClassifierSettings(Section):
    """The neural model, and how it runs."""

    name: str = Field("bundled", description="bundled, lexicon, a directory, or a hub name such as ProsusAI/finbert.")
    engine: Literal["auto", "openvino", "torch"] = Field("auto", description="auto picks by hardware.")
    cache_dir: Path | None = Field(None, description="Compiled engines. Default: the user's cache directory.")
    max_windows: int = Field(
        16, ge=1, le=1_000, description="Text windows read of one story before it is marked truncated."
    )


class DatabaseSettings(Section):
    """Where results live."""

    url: SecretStr = Field(
        SecretStr("sqlite:///monitor.sqlite"),
        description="SQLAlchemy URL: sqlite:///file or postgresql+psycopg://user:password@host/name.",
    )
    migrate: bool = Field(True, description="Bring the schema up to date at start.")


class DeadLettersSettings(Section):
    """When broken records stop being an accident. The daemon stops; the records stay in Kafka."""

    max_ratio: float = Field(0.5, gt=0, le=1, description="Share of broken records among the last `window`.")
    window: int = Field(
        1_000, ge=10, le=1_000_000, description="Records looked back on; the ratio counts once they are full."
    )
    max_consecutive: int = Field(200, ge=1, le=1_000_000, description="Broken records in a row.")


class WebSettings(Section):
    """The page, its JSON, metrics and health. Whoever reaches the port reads everything: see docs/operations.md."""

    host: str = Field("127.0.0.1", min_length=1, description="Address to listen on; 0.0.0.0 for every interface.")
    port: int = Field(8080, ge=0, le=65_535, description="Port to listen on; 0 takes any free one, see the log.")
    token: SecretStr | None = Field(
        None,
        min_length=16,
        description="Bearer token of programs that may change something over HTTP, in ASCII; without it none may.",
    )

    @field_validator("token")
    @classmethod
    def _fits_a_header(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not all("!" <= character <= "~" for character in value.get_secret_value()):
            raise ValueError("a bearer token is made of ASCII letters, digits and signs, without blanks")
        return value


class ServiceSettings(Section):
    """The process itself: when it gives itself up, and what it keeps beside the database."""

    stuck_seconds: int = Field(
        120,
        ge=1,
        le=86_400,
        description="A loop that has computed for so long, or stood five times as long, is stuck: the process ends.",
    )
    state_dir: Path | None = Field(
        None,
        description="Which record is in hand, for the next start. Default: systemd's, else the user's state directory.",
    )


class LogSettings(Section):
    """Logging."""

    level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least severe event written.")
    format: Literal["auto", "json", "console"] = Field("auto", description="auto is console on a terminal, else JSON.")
