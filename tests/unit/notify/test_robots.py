"""Chats' robots: what each is sent, how it is signed, and what its answers mean."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from receiver import Answer, Seen, notification, receiver
from sentiment_monitor.errors import SettingsError
from sentiment_monitor.notify.contract import DeliveryLater, NotifierRefused, NotifyRejected
from sentiment_monitor.notify.phrasing import Phrasing
from sentiment_monitor.notify.robots import ROBOTS, RobotNotifier

NOW_MS = 1_678_468_900_123
TAKEN = {
    "dingtalk": b'{"errcode":0,"errmsg":"ok"}',
    "wecom": b'{"errcode":0,"errmsg":"ok"}',
    "feishu": b'{"StatusCode":0,"StatusMessage":"success","code":0,"data":{},"msg":"success"}',
    "slack": b"ok",
}


def _send(name: str, answer: Answer, *, secret: str = "", resolved: bool = False) -> Seen:
    with receiver(answer) as there:
        robot = RobotNotifier(
            ROBOTS[name],
            f"{there.url}/send?access_token=TOKENSECRET",
            secret=secret,
            phrasing=Phrasing("zh"),
        )
        try:
            robot.send(notification(resolved=resolved), NOW_MS)
        finally:
            robot.close()
    (seen,) = there.seen
    return seen


def _body(seen: Seen) -> Any:
    assert seen.headers["Content-Type"] == "application/json; charset=utf-8"
    return json.loads(seen.body)


def test_dingtalk_is_sent_a_card_signed_by_the_time_and_the_secret() -> None:
    seen = _send("dingtalk", Answer(body=TAKEN["dingtalk"]), secret="SEC123")
    query = parse_qs(urlsplit(seen.path).query)
    assert query["access_token"] == ["TOKENSECRET"]
    assert query["timestamp"] == [str(NOW_MS)]
    expected = hmac.new(b"SEC123", f"{NOW_MS}\nSEC123".encode(), hashlib.sha256).digest()
    assert base64.b64decode(query["sign"][0]) == expected
    body = _body(seen)
    assert body["msgtype"] == "actionCard"
    card = body["actionCard"]
    assert (card["singleTitle"], card["singleURL"]) == ("查看预警", "http://monitor.example/alerts/1")
    assert card["title"] == "ACME：24 小时内 14 条负面新闻（通常 0.9 条）"
    assert card["text"].startswith("**ACME：24 小时内 14 条负面新闻")
    assert "[Acme halts withdrawals – 银行](https://news.example/1)" in card["text"]


def test_feishu_is_sent_a_card_that_shows_whether_it_is_over_signed_in_the_body() -> None:
    body = _body(_send("feishu", Answer(body=TAKEN["feishu"]), secret="s3cret"))
    seconds = str(NOW_MS // 1000)
    assert body["timestamp"] == seconds
    assert base64.b64decode(body["sign"]) == hmac.new(f"{seconds}\ns3cret".encode(), b"", hashlib.sha256).digest()
    assert body["msg_type"] == "interactive"
    card = body["card"]
    assert card["header"]["template"] == "red"
    assert card["header"]["title"]["tag"] == "plain_text"
    text, action = card["elements"]
    assert text["text"]["tag"] == "lark_md"
    assert action["actions"][0]["url"] == "http://monitor.example/alerts/1"
    over = _body(_send("feishu", Answer(body=TAKEN["feishu"]), resolved=True))
    assert over["card"]["header"]["template"] == "green"
    assert "sign" not in over


def test_wecom_and_slack_are_sent_their_own_markdown() -> None:
    wecom = _body(_send("wecom", Answer(body=TAKEN["wecom"])))
    assert wecom["msgtype"] == "markdown"
    assert wecom["markdown"]["content"].startswith("**ACME")
    assert len(wecom["markdown"]["content"].encode()) <= 4096
    slack = _body(_send("slack", Answer(body=TAKEN["slack"])))
    assert slack["text"].startswith("*ACME")
    assert "<https://news.example/1|Acme halts withdrawals – 银行>" in slack["text"]
    assert (slack["unfurl_links"], slack["unfurl_media"]) == (False, False)


LATER, REJECTED, REFUSED = DeliveryLater, NotifyRejected, NotifierRefused


@pytest.mark.parametrize(
    ("name", "status", "answer", "failure"),
    [
        ("dingtalk", 200, {"errcode": 310000, "errmsg": "sign not match"}, REFUSED),
        ("dingtalk", 200, {"errcode": 300005, "errmsg": "token is not exist"}, REFUSED),
        ("dingtalk", 200, {"errcode": 130101, "errmsg": "send too fast"}, LATER),
        ("dingtalk", 200, {"errcode": -1, "errmsg": "system busy"}, LATER),
        ("dingtalk", 200, {"errcode": 40035, "errmsg": "param error"}, REJECTED),
        ("wecom", 200, {"errcode": 93000, "errmsg": "invalid webhook url"}, REFUSED),
        ("wecom", 200, {"errcode": 45009, "errmsg": "api freq out of limit"}, LATER),
        ("wecom", 200, {"errcode": 40058, "errmsg": "content exceed max length"}, REJECTED),
        ("feishu", 200, {"code": 19021, "msg": "sign match fail"}, REFUSED),
        ("feishu", 400, {"code": 19001, "msg": "param invalid: incoming webhook access token invalid"}, REFUSED),
        ("feishu", 200, {"code": 11232, "msg": "frequency limited"}, LATER),
        ("feishu", 400, {"code": 9499, "msg": "too many request"}, LATER),
        ("feishu", 200, {"code": 19002, "msg": "params error"}, REJECTED),
        ("slack", 403, "invalid_token", REFUSED),
        ("slack", 404, "no_service", REFUSED),
        ("slack", 410, "channel_is_archived", REFUSED),
        ("slack", 400, "invalid_payload", REJECTED),
        ("slack", 429, "", LATER),
        ("slack", 500, "", LATER),
        ("dingtalk", 502, "<html>", LATER),
        ("dingtalk", 200, "<html>a proxy</html>", LATER),
        ("wecom", 200, "[]", LATER),
        ("feishu", 200, {"errcode": "0"}, LATER),
    ],
)
def test_what_a_robot_answers_is_understood(name: str, status: int, answer: Any, failure: type[Exception]) -> None:
    body = answer.encode() if isinstance(answer, str) else json.dumps(answer).encode()
    with pytest.raises(failure) as raised:
        _send(name, Answer(status, body=body), secret="SIGNSECRET")
    assert "SECRET" not in str(raised.value)
    if isinstance(answer, dict) and (words := answer.get("errmsg", answer.get("msg"))):
        assert words.split(":")[0] in str(raised.value)


def test_an_address_that_is_replaced_is_used_at_the_next_delivery() -> None:
    with receiver() as old, receiver() as new:
        addresses = [f"{old.url}/a"]
        robot = RobotNotifier(ROBOTS["slack"], lambda: addresses[0], phrasing=Phrasing())
        before = robot.access()
        addresses[0] = f"{new.url}/b"
        robot.send(notification(), NOW_MS)
        assert robot.access() != before
        addresses[0] = "no address"
        with pytest.raises(NotifierRefused):
            robot.send(notification(), NOW_MS)
        robot.close()
    assert (old.seen, [seen.path for seen in new.seen]) == ([], ["/b"])


def test_what_is_no_address_is_refused_at_the_start_and_not_repeated() -> None:
    with pytest.raises(SettingsError) as raised:
        RobotNotifier(ROBOTS["wecom"], "qyapi.example/SECRET", phrasing=Phrasing())
    assert "SECRET" not in str(raised.value)
