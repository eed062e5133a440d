"""Settings of alerts: the tick loop, who is told, and by which notifiers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import fields
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import (
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic.dataclasses import dataclass

from sentiment_monitor.detect.rules import CountRule, CusumRule, Rule, SilenceRule
from sentiment_monitor.domain.alerts import Telling
from sentiment_monitor.errors import meant
from sentiment_monitor.settings.notifiers import NAME, Language, NotifierSettings
from sentiment_monitor.settings.routing import WishesSettings
from sentiment_monitor.settings.section import Section
from sentiment_monitor.times import DAY_MINUTES


class DetectSettings(Section):
    """The tick loop."""

    tick_offset_seconds: int = Field(5, ge=0, le=59, description="Seconds after the full minute when a tick runs.")
    lease_seconds: int = Field(
        60, ge=5, le=86_400, description="A detector silent this long loses its lease to another replica."
    )
    delivery_seconds: float = Field(2.0, gt=0, le=3_600, description="Pause between looks into the outbox.")
    give_up_hours: int = Field(
        24, ge=1, le=8_784, description="A notification that fails this long, and ten times, is marked failed."
    )


class ReceiverSettings(WishesSettings):
    """Who is told, by which notifiers, and of what."""

    name: str = Field(pattern=NAME, description="What rules call it.")
    language: Language = Field(
        "en", description="English or Chinese, of the words around the headlines; a notifier may have another."
    )
    notifiers: list[NotifierSettings] = Field(min_length=1, description="Each one is told, on its own.")

    @field_validator("notifiers")
    @classmethod
    def _each_has_a_name(cls, notifiers: list[NotifierSettings]) -> list[NotifierSettings]:
        """Calls one without a name by its type. Refuses two of one name, and two of one type that are not both named.

        A name that depended on what else is in the list would send what is queued to somebody else after an edit.
        """
        types = Counter(notifier.type for notifier in notifiers)
        for notifier in notifiers:
            if not notifier.name and types[notifier.type] > 1:
                raise ValueError(
                    f"{types[notifier.type]} notifiers of type {notifier.type} must each have a name of their own, "
                    f'e.g. name = "{notifier.type}-a"'
                )
        named = [notifier.model_copy(update={"name": notifier.name or notifier.type}) for notifier in notifiers]
        names = Counter(notifier.name for notifier in named)
        if twice := sorted(name for name, count in names.items() if count > 1):
            raise ValueError(f"two notifiers are named {', '.join(twice)}")
        return named


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid", str_strip_whitespace=True))
class RuleExample:
    """A time in the stored history and whether the rule must fire in it: what ``monitor rules test`` holds it to."""

    series: Annotated[str, Field(min_length=1, description="The series, e.g. ticker:SIVB.")]
    begins: Annotated[datetime, Field(validation_alias="from", description="A time; UTC unless it names a zone.")]
    ends: Annotated[datetime, Field(validation_alias="to", description="A time; UTC unless it names a zone.")]
    fires: Annotated[bool, Field(description="Whether the rule fires between the two; false: it must not.")] = True

    @model_validator(mode="after")
    def _ends_after_it_begins(self) -> RuleExample:
        if self.minutes[1] <= self.minutes[0]:
            raise ValueError(f"an example of {self.series} must end after it begins")
        return self

    @property
    def minutes(self) -> tuple[int, int]:
        """The first and the last event-time minute."""
        return _minute(self.begins), _minute(self.ends)


def _minute(moment: datetime) -> int:
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()) // 60


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class RuleEntry(CountRule, CusumRule, SilenceRule):
    """One ``[[rules]]`` table: a rule, and who is told of its alerts."""

    kind: Annotated[Literal["count", "cusum", "silence"], Field(description="The detector.")] = "count"
    receivers: Annotated[
        tuple[str, ...] | None,
        Field(description="Names of the receivers that are told; unset: `[route]` decides, and without one `default`."),
    ] = None
    repeat_minutes: Annotated[
        int, Field(ge=0, description="A firing alert is told again after this, then after twice as long …; 0: never.")
    ] = DAY_MINUTES
    examples: Annotated[
        tuple[RuleExample, ...],
        Field(
            description="Tables [[rules.examples]] with series, from, to and fires: times of the stored history to"
            " which monitor rules test holds the rule."
        ),
    ] = ()

    @field_validator("receivers")
    @classmethod
    def _each_is_told_once(cls, receivers: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if receivers == ():
            raise ValueError("must name a receiver, or be left out")
        if receivers is not None and len(set(receivers)) < len(receivers):
            raise ValueError("must not name one twice")
        return receivers

    @model_validator(mode="wrap")
    @classmethod
    def _problems_name_the_rule(cls, values: Any, build: Callable[[Any], RuleEntry]) -> RuleEntry:
        """In a file the place of a rule says little."""
        try:
            return build(values)
        except ValidationError as error:
            name = values.get("name") if isinstance(values, dict) else None
            if not isinstance(name, str):
                raise
            problems = error.errors(include_url=False, include_input=False)
            said = [f"rule {name!r}: {_said({**problem})}" for problem in problems]
            raise ValidationError.from_exception_data(
                error.title,
                [
                    {"type": "value_error", "loc": problem["loc"], "input": None, "ctx": {"error": message}}
                    for problem, message in zip(problems, said, strict=True)
                ],
            ) from None

    @model_validator(mode="after")
    def _asks_only_what_its_detector_knows(self) -> RuleEntry:
        kinds_of: dict[str, list[str]] = {}
        for kind, rule in RULE_KINDS.items():
            for field in fields(rule):
                kinds_of.setdefault(field.name, []).append(kind)
        for field in fields(RuleEntry):
            kinds = kinds_of.get(field.name, [self.kind])
            if self.kind not in kinds and getattr(self, field.name) != field.default:
                named = " or ".join(kinds)
                raise ValueError(f"{field.name} is of kind {named}, and this rule is of kind {self.kind}")
        return self

    @property
    def rule(self) -> Rule:
        """What fires."""
        kind = RULE_KINDS[self.kind]
        return kind(**{field.name: getattr(self, field.name) for field in fields(kind)})

    @property
    def telling(self) -> Telling:
        """Who is told of it, and how often, where no routing tree decides."""
        return Telling(self.receivers or ("default",), self.repeat_minutes)


RULE_KINDS: dict[str, type[Rule]] = {"count": CountRule, "cusum": CusumRule, "silence": SilenceRule}


def _said(problem: Mapping[str, Any]) -> str:
    if problem["type"] != "unexpected_keyword_argument":
        return str(problem["msg"]).removeprefix("Value error, ")
    names = [field.name for field in fields(RuleEntry)]
    near = meant(str(problem["loc"][-1]), names)
    return "there is no such setting" + (f"; {near}" if near else "")
