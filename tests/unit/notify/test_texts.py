"""What messages say: in English and Chinese, in every channel, and by templates of the user's own."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest
import structlog
from msgspec import structs

import receiver as receivers
from receiver import notification
from sentiment_monitor.dispatch.briefing import Move, News, compose_briefing
from sentiment_monitor.domain import payload
from sentiment_monitor.domain.alert_states import State
from sentiment_monitor.domain.alerts import Notification
from sentiment_monitor.errors import SettingsError
from sentiment_monitor.notify.channels import CHANNELS, DINGTALK, HTML, MAIL, PLAIN, SLACK, Channel
from sentiment_monitor.notify.phrasing import Phrasing
from sentiment_monitor.notify.texts import Language, Rendered, message_of, render
from writing import alert

EVIL = "Acme <!here> @all [x](https://evil.example) *b*\n# h <script>"


def _headline(text: str, url: str = "https://news.example/1") -> Notification:
    """The usual notification with another headline, source and address of its story."""
    usual = payload.decode(notification().body)
    (alert,) = usual.alerts
    (story,) = alert.sentiment.top_stories
    said = payload.Payload(
        **{name: getattr(usual, name) for name in usual.__struct_fields__ if name not in ("alerts", "version")},
        alerts=(
            payload.PayloadAlert(
                **{name: getattr(alert, name) for name in alert.__struct_fields__ if name != "sentiment"},
                sentiment=payload.PayloadSentiment(
                    **{
                        name: getattr(alert.sentiment, name)
                        for name in alert.sentiment.__struct_fields__
                        if name not in ("top_stories", "sources")
                    },
                    top_stories=(replace(story, headline=text, source=text, url=url),),
                    sources=(text,),
                ),
            ),
        ),
    )
    return replace(notification(), body=payload.encode(said), title=text, text=text)


def test_the_english_message_has_the_facts_and_the_stories_with_their_links() -> None:
    rendered = Phrasing().of(notification(), DINGTALK)
    assert rendered.title == "Acme: 14 negative stories in 24 h"
    assert rendered.lines[-2:] == (
        "- [Acme halts withdrawals – 银行](https://news.example/1) (newswire, 2023-03-10 17:21 UTC, "
        "P(negative) 0.93, 2 copies)",
        "[Show this alert](http://monitor.example/alerts/1)",
    )


def test_the_chinese_message_says_the_same_in_chinese() -> None:
    fired = Phrasing("zh").of(notification(), MAIL)
    assert fired == Rendered(
        "ACME：24 小时内 14 条负面新闻（通常 0.9 条）",
        (
            "情况：24 小时内 20 条新闻中有 14 条负面，预期 0.9 条（占比 70%，通常 22%）。",
            "异常程度：p = 2e-09，q = 3e-08。",
            "开始：2023-03-10 17:21 UTC。",
            "来源：2 个（newswire、ledger）。",
            "转载：2 条转载未计入。",
            "规则 company-day，ticker:ACME，级别 警告。",
            "- Acme halts withdrawals – 银行 https://news.example/1"
            "（newswire，2023-03-10 17:21 UTC，负面概率 0.93，2 条转载）",
            "查看预警 http://monitor.example/alerts/1",
        ),
    )
    over = Phrasing("zh").of(notification(resolved=True), MAIL)
    assert over.title == "已解除：ACME的负面新闻"
    assert over.lines[0].startswith("现在：")
    assert "结束：2023-03-10 18:21 UTC" in over.lines[1]
    assert not [line for line in over.lines if line.startswith("- ")]


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("channel", CHANNELS.values(), ids=CHANNELS)
def test_a_hostile_headline_is_only_read(channel: Channel, language: Language) -> None:
    rendered = Phrasing(language).of(_headline(EVIL, "javascript:alert(1)"), channel)
    text = "\n".join([rendered.title, *rendered.lines])
    for mark in ("<!here>", "@all", "](https://evil", "<script", "*b*", "https://evil", "javascript:"):
        if mark == "*b*" and channel.name in ("plain", "mail", "html"):
            continue  # nobody makes it bold there
        if mark == "@all" and channel.name in ("mail", "html"):
            continue  # nobody is called there
        if mark in ("<!here>", "<script") and channel.name in ("plain", "mail"):
            continue  # text is text there
        assert mark not in text, (mark, text)
    assert channel.name in ("plain", "mail", "html", "slack") or not [x for x in rendered.lines if x.startswith("#")]


def test_no_value_of_an_alert_runs_as_a_template() -> None:
    rendered = Phrasing().of(_headline("{{ 7 * 7 }}{% for x in y %}"), MAIL)
    assert rendered.title == "{{ 7 * 7 }}{% for x in y %}"


def _own(folder: Path, text: str) -> Phrasing:
    path = folder / "own.j2"
    path.write_text(text, encoding="utf-8")
    return Phrasing("en", path)


def test_a_template_of_ones_own_words_the_message_and_its_values_are_escaped(tmp_path: Path) -> None:
    own = _own(
        tmp_path,
        "*Bad news* on {{ alerts[0].value }}\n\n{% for story in alerts[0].stories %}\n"
        "> {{ bold(story.headline) }} {{ alerts[0].share|percent }} {{ link('more', story.url) }}\n{% endfor %}\n",
    )
    assert own.of(_headline(EVIL), SLACK) == Rendered(
        "*Bad news* on ACME",
        (
            "> *Acme &lt;!here&gt; ＠all [x](https:\u200b//evil.\u200bexample) ∗b∗ # h &lt;script&gt;* 70% "
            "<https://news.example/1|more>",
        ),
    )


@pytest.mark.parametrize(
    ("template", "error"),
    [
        ("{{ title }}\n{{ alerts[0].nope }}", "has no attribute 'nope'"),
        ("{{ title.__class__.__mro__ }}", "SecurityError"),
        ("{{ ().__class__ }}", "SecurityError"),
        ("{{ alerts.append(1) }}", "SecurityError"),
        ("{{ lipsum() }}", "'lipsum' is undefined"),
        ("{% include 'x' %}", "no loader"),
        ("{{ 'x' * 2000000000 }}", "MemoryError"),
        ("{% for i in title %}{{ 1 // 0 }}{% endfor %}", "ZeroDivisionError"),
        ("{{ title|safe }}", "No filter named 'safe'"),
        ("   \n\n", "it says nothing"),
    ],
)
def test_a_template_that_fails_is_said_and_the_shipped_one_serves(tmp_path: Path, template: str, error: str) -> None:
    own = _own(tmp_path, template)
    with structlog.testing.capture_logs() as logs:
        rendered = own.of(notification(), PLAIN)
    assert rendered == Phrasing().of(notification(), PLAIN)
    (said,) = logs
    assert (said["event"], said["log_level"]) == ("template.failed", "error")
    assert error in said["error"]


def test_a_template_without_end_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sentiment_monitor.notify.phrasing.CHILD_SECONDS", 2.0)
    letters = "{% for a in 'xxxxxxxxxxxxxxxxxxxx' %}"
    own = _own(tmp_path, "t\n" + letters * 12 + "{% endfor %}" * 12)
    began = time.monotonic()
    with structlog.testing.capture_logs() as logs:
        assert own.of(notification(), PLAIN).title == "Acme: 14 negative stories in 24 h"
    assert time.monotonic() - began < 6
    assert logs[0]["error"] == "it took too long or too much memory"


def test_a_template_that_cannot_be_read_is_refused_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="line 2"):
        _own(tmp_path, "{{ title }}\n{% for %}\n")
    with pytest.raises(SettingsError, match="at most 65,536 bytes"):
        _own(tmp_path, "x" * 70_000)
    with pytest.raises(SettingsError, match="cannot be read"):
        Phrasing("en", tmp_path / "absent.j2")


def test_several_alerts_are_each_named_and_too_many_are_counted() -> None:
    usual = payload.decode(notification().body)
    many = payload.group("desk", usual.alerts * 25, external_url="http://monitor.example")
    crowd = replace(notification(), body=payload.encode(many))
    english, chinese = Phrasing().of(crowd, PLAIN), Phrasing("zh").of(crowd, PLAIN)
    assert english.lines[-1] == "And 5 more alerts: show all http://monitor.example"
    assert chinese.title == "25 个预警：ACME、ACME、ACME、ACME、ACME等"
    assert chinese.lines[-1] == "另有 5 个预警：查看全部 http://monitor.example"


def _group(*alerts: payload.PayloadAlert) -> Notification:
    """A notification of these alerts, its text as the service words it for them."""
    body = payload.encode(payload.group("desk", alerts, external_url="http://monitor.example"))
    return replace(notification(), title="Title", text="What: 14 of 20.", body=body)


def _alert(series: str = "ticker:ACME", *, severity: str = "critical", **detail: object) -> payload.PayloadAlert:
    usual = receivers.alert(series=series, severity=severity)
    summed = {"summary": f"{series} in short", "description": "What: as it was.\nSince: then."}
    said = structs.replace(usual.sentiment, **detail)
    return structs.replace(usual, annotations=summed, sentiment=said)


@pytest.mark.parametrize(
    ("cause", "english", "chinese"),
    [
        ("fired", None, None),
        (
            "late",
            "It has been firing since 2023-03-10 17:21 UTC; until now it was held back from you.",
            "该预警此前已经触发，暂缓至今才通知您。",
        ),
        (
            "worsened",
            "Graver than what you have been told: now critical.",
            "级别上升，高于此前通知您的级别：现为“严重”。",
        ),
        (
            "escalated",
            "It has been firing since 2023-03-10 17:21 UTC, and nobody has acknowledged it.",
            "该预警至今无人确认，因此通知您。",
        ),
        (
            "named",
            "Nothing new; listed because it belongs to the same group.",
            "没有新情况，因属于同一组而一并列出。",
        ),
    ],
)
def test_why_an_alert_is_told_now_stands_under_its_name(cause: str, english: str | None, chinese: str | None) -> None:
    group = _group(_alert("ticker:OTHER", reason="fired: spike_mood"), _alert(reason=f"{cause}: spike_mood"))
    lines = Phrasing().of(group, PLAIN).lines
    said = [*lines[lines.index("ticker:ACME in short") + 1 :]]
    assert said[:2] == ([english, "What: as it was."] if english else ["What: as it was.", "Since: then."])
    lines = Phrasing("zh").of(group, PLAIN).lines
    said = [*lines[lines.index("ACME") + 1 :]]
    assert said[0].startswith("情况：") if chinese is None else said[0] == chinese
    if chinese:  # also where it is the only one
        assert Phrasing("zh").of(_group(_alert(reason=f"{cause}: x")), PLAIN).lines[0] == chinese


def test_an_alert_that_is_told_again_says_so_in_a_list_too() -> None:
    group = _group(_alert(reason="repeated: x"), _alert("topic:credit", reason="repeated: x"))
    assert "主题 credit（仍在持续）" in Phrasing("zh").of(group, PLAIN).lines


@pytest.mark.parametrize("channel", CHANNELS.values(), ids=CHANNELS)
def test_a_day_that_is_used_up_is_said_of_several_alerts_and_in_chinese(channel: Channel) -> None:
    several = _group(*[_alert(f"ticker:T{n}", most_a_day_reached=7) for n in range(19)])
    said = "With this message 7 alerts have been told within 24 h"
    assert Phrasing().of(several, channel).text(channel).count(said) == 1  # also where the channel cuts the message
    single = _group(_alert(most_a_day_reached=7))
    for group in (several, single):
        assert Phrasing("zh").of(group, channel).text(channel).count("至此，24 小时内已通知 7 个预警") == 1
    for language in ("en", "zh"):
        usual = "".join(Phrasing(language).of(_group(_alert(), _alert("all")), channel).lines)
        assert "24 小时内已" not in usual
        assert "have been told" not in usual


@pytest.mark.parametrize(
    ("series", "name", "english", "chinese"),
    [
        ("ticker:KSTR", "Kestrel Bank", "Kestrel Bank (KSTR)", "Kestrel Bank（KSTR）"),
        ("ticker:ACME", "ACME", "ACME", "ACME"),
        ("ticker:ACME", "", "ACME", "ACME"),
        ("group:banks", "", "group banks", "分组 banks"),
        ("all", "", "the whole feed", "全部新闻"),
    ],
)
def test_a_company_is_called_by_its_name(series: str, name: str, english: str, chinese: str) -> None:
    message = message_of(_group(_alert(series, name=name)))
    assert render("{{ alerts[0]|subject }}", message, PLAIN, "en").title == english
    assert Phrasing("zh").of(_group(_alert(series, name=name)), PLAIN).title.startswith(f"{chinese}：")


def test_an_alert_whose_rule_is_gone_says_that_in_chinese() -> None:
    gone = structs.replace(receivers.alert(resolved=True), sentiment=_alert(window_minutes=None).sentiment)
    rendered = Phrasing("zh").of(_group(gone), PLAIN)
    assert rendered.lines[0] == "已没有规则 company-day 监测 ACME，预警就此结束，不作结论。"
    assert "?" not in "".join([rendered.title, *rendered.lines])


def test_a_briefing_in_chinese_is_chinese_throughout() -> None:
    over = alert(series="topic:credit", severity="warning", state=State.RESOLVED, resolved_minute=250)
    news = News([alert()] * 12, [over], [Move("ticker:C", 9, 14, 1), Move("group:banks", 5, 8, 0)])
    names = {"A": "Alder Bank", "C": "Cormorant"}
    (briefing,) = compose_briefing("desk", ("log",), 90, 300, news, "https://monitor.example", names)
    rendered = Phrasing("zh").of(briefing, PLAIN)
    assert rendered == Rendered(
        "简报：自 1970-01-01 01:30 UTC 起，进行中 12，已解除 1，负面增多 2",
        (
            "进行中的预警",
            *["- 严重，自 1970-01-01 01:40 UTC：Alder Bank（A）（规则 rule）"] * 10,
            "- 另有 2 个",
            "已解除的预警",
            "- 警告，1970-01-01 01:40 至 1970-01-01 04:10 UTC：主题 credit（规则 rule）",
            "负面新闻增多",
            "- Cormorant（C）：14 条新闻中有 9 条负面，此前同样长的时间内为 1 条",
            "- 分组 banks：8 条新闻中有 5 条负面，此前同样长的时间内为 0 条",
            "查看预警 https://monitor.example",
        ),
    )
    (quiet,) = compose_briefing("desk", ("log",), 90, 300, News(), "https://monitor.example", {})
    assert Phrasing("zh").of(quiet, PLAIN).lines[:3] == ("进行中的预警：无", "已解除的预警：无", "负面新闻增多：无")


def test_a_message_of_plain_values_is_what_a_template_reads() -> None:
    message = message_of(notification())
    assert render("{{ receiver }} {{ alerts[0].severity }}", message, HTML, "en") == Rendered("desk warning", ())
