"""How a Kafka client gets a token: what it shows to whom."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class ClientCredentials:
    """OpenID Connect, grant ``client_credentials``. ``secret`` is asked at each request: its file may have changed."""

    token_url: str
    client_id: str
    secret: Callable[[], str] = field(repr=False)
    scope: str | None = None
    audience: str | None = None


@dataclass(frozen=True, slots=True)
class AwsIam:
    """Amazon MSK with IAM: a token signed by the credentials that AWS' own library finds."""

    region: str
    role_arn: str | None = None
    profile: str | None = None


TokenLogin = ClientCredentials | AwsIam
