"""Delivery to chats by their robots: DingTalk, Feishu, WeCom and Slack, each with its own card, signature and refusals.

A robot is an address that a group makes for us. Most of them answer 200 whatever they think of a message, and say it
in the body: only that tells whether it was taken.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from sentiment_monitor.domain import payload
from sentiment_monitor.domain.alerts import Notification
from sentiment_monitor.errors import SettingsError
from sentiment_monitor.notify.channels import DINGTALK, FEISHU, SLACK, WECOM, Channel, fitting, flat, web_address
from sentiment_monitor.notify.contract import DeliveryLater, NotifierRefused, NotifyRejected, Secret, value_of
from sentiment_monitor.notify.exchange import Answer, Exchange, address, judge, place
from sentiment_monitor.notify.phrasing import Phrasing

_TOO_MANY_S = 60.0  # their limits are by the minute
_SHOWN = 200  # characters of what a robot says
_BUTTON = {"en": "Show this alert", "zh": "查看预警"}


@dataclass(frozen=True, slots=True)
class Card:
    """What a robot is to show."""

    title: str
    text: str  # in the channel's markup
    whole: str  # title and text as one, in the channel's markup
    resolved: bool
    url: str | None  # of the alert's page
    button: str


@dataclass(frozen=True, slots=True)
class Robot:
    """How one service's robots are spoken to, and what their answers mean."""

    name: str
    channel: Channel
    body: Callable[[Card], dict[str, Any]]
    sign: Callable[[str, int], tuple[dict[str, str], dict[str, Any]]]  # secret, now: parameters, more of the body
    busy: frozenset[int] = frozenset()  # codes that say: later
    refused: frozenset[int] = frozenset()  # codes that say that we are not let in
    gone: frozenset[int] = frozenset()  # statuses that say that there is no such robot any more


class RobotNotifier:
    """Posts a card to a chat. The address is a secret: errors and ``repr`` show scheme and host only.

    These services know no idempotency key: where an answer is lost, the card is there twice.
    """

    def __init__(
        self, robot: Robot, url: Secret, *, secret: Secret = "", phrasing: Phrasing, timeout_s: float = 10.0
    ) -> None:
        """Raises SettingsError for what is no address."""
        self._robot = robot
        self._url = url
        self._secret = secret
        self._phrasing = phrasing
        self._exchange = Exchange(timeout_s)
        self._where = place(address(value_of(url), f"the address of a {robot.name} robot"))

    def __repr__(self) -> str:
        return f"RobotNotifier({self._robot.name}, {self._where})"

    def send(self, notification: Notification, now_ms: int) -> None:
        """See ``Notifier.send``."""
        try:
            url = address(value_of(self._url), f"the address of a {self._robot.name} robot")
        except SettingsError as error:  # its file holds something else by now
            raise NotifierRefused(str(error)) from None
        content = self._robot.body(self._card(notification))
        if secret := value_of(self._secret):
            parameters, fields = self._robot.sign(secret, now_ms)
            url = url.copy_merge_params(parameters)
            content = fields | content
        headers = {"Content-Type": "application/json; charset=utf-8", "User-Agent": "sentiment-monitor"}
        answer = self._exchange.post(url, msgspec.json.encode(content), headers, now_ms)
        _judge(self._robot, answer, self._where)

    def access(self) -> str:
        """See ``Notifier.access``."""
        return "\n".join((self._robot.name, value_of(self._url), value_of(self._secret)))

    def close(self) -> None:
        """Cut the connection, if there is one."""
        self._phrasing.close()
        self._exchange.close()

    def _card(self, notification: Notification) -> Card:
        channel = self._robot.channel
        rendered = self._phrasing.of(notification, channel)
        group = payload.decode(notification.body)
        return Card(
            title=rendered.title,
            text=rendered.text(channel),
            whole=fitting([channel.bold(rendered.title), *rendered.lines], channel.most_bytes, channel.break_line),
            resolved=group.status == "resolved",
            url=web_address(group.alerts[0].generatorURL if len(group.alerts) == 1 else group.externalURL),
            button=_BUTTON[self._phrasing.language],
        )


def _judge(robot: Robot, answer: Answer, where: str) -> None:
    """Returns when the message was taken; raises what any other answer means."""
    code, said = _code(answer.body)
    if code is None or answer.status >= 500 or answer.status == 429:
        if answer.status in robot.gone:
            raise NotifierRefused(f"{where} answered {answer.status}: there is no such robot any more")
        judge(answer, where)
        if code is None and robot is not SLACK_ROBOT:
            raise DeliveryLater(f"{where} did not answer as a {robot.name} robot does")
        return
    if code == 0:
        judge(answer, where)
        return
    text = f"{where}: {code} {flat(said)[:_SHOWN]}"
    if code in robot.busy or code == -1:
        raise DeliveryLater(text, answer.retry_after_s or _TOO_MANY_S)
    if code in robot.refused:
        raise NotifierRefused(text)
    raise NotifyRejected(f"{robot.name}_{code}", text)


def _code(body: bytes) -> tuple[int | None, str]:
    """The code of an answer, whatever the service calls it, and the words with it; None: there is none."""
    try:
        answer = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None, ""
    if not isinstance(answer, Mapping):
        return None, ""
    code = next((answer[name] for name in ("errcode", "code", "StatusCode") if isinstance(answer.get(name), int)), None)
    words = next((answer[name] for name in ("errmsg", "msg", "StatusMessage") if isinstance(answer.get(name), str)), "")
    return code, words


def _digest(key: bytes, material: bytes) -> str:
    return base64.b64encode(hmac.new(key, material, hashlib.sha256).digest()).decode()


def _dingtalk_sign(secret: str, now_ms: int) -> tuple[dict[str, str], dict[str, Any]]:
    return {"timestamp": str(now_ms), "sign": _digest(secret.encode(), f"{now_ms}\n{secret}".encode())}, {}


def _feishu_sign(secret: str, now_ms: int) -> tuple[dict[str, str], dict[str, Any]]:
    seconds = str(now_ms // 1000)
    return {}, {"timestamp": seconds, "sign": _digest(f"{seconds}\n{secret}".encode(), b"")}


def _unsigned(secret: str, now_ms: int) -> tuple[dict[str, str], dict[str, Any]]:
    return {}, {}


def _dingtalk(card: Card) -> dict[str, Any]:
    if card.url is None:
        return {"msgtype": "markdown", "markdown": {"title": card.title, "text": card.whole}}
    shown = {"title": card.title, "text": card.whole, "singleTitle": card.button, "singleURL": card.url}
    return {"msgtype": "actionCard", "actionCard": shown}


def _feishu(card: Card) -> dict[str, Any]:
    elements: list[dict[str, Any]] = [{"tag": "div", "text": {"tag": "lark_md", "content": card.text}}]
    if card.url is not None:
        label = {"tag": "plain_text", "content": card.button}
        elements.append({"tag": "action", "actions": [{"tag": "button", "text": label, "url": card.url}]})
    header = {"title": {"tag": "plain_text", "content": card.title}, "template": "green" if card.resolved else "red"}
    return {"msg_type": "interactive", "card": {"header": header, "elements": elements}}


def _wecom(card: Card) -> dict[str, Any]:
    return {"msgtype": "markdown", "markdown": {"content": card.whole}}


def _slack(card: Card) -> dict[str, Any]:
    return {"text": card.whole, "mrkdwn": True, "unfurl_links": False, "unfurl_media": False}


# Codes as the services document them for robots.
DINGTALK_ROBOT = Robot(
    "dingtalk",
    DINGTALK,
    _dingtalk,
    _dingtalk_sign,
    busy=frozenset({130101, 410100}),
    # Signature, keyword or address not allowed; token unknown; group dissolved; robot off.
    refused=frozenset({310000, 300001, 300005, 400013, 400101, 400102}),
)
FEISHU_ROBOT = Robot(
    "feishu",
    FEISHU,
    _feishu,
    _feishu_sign,
    busy=frozenset({9499, 11232, 99991400}),
    refused=frozenset({19001, 19021, 19022, 19024}),  # address unknown; signature; address not allowed; keyword
)
WECOM_ROBOT = Robot(
    "wecom",
    WECOM,
    _wecom,
    _unsigned,
    busy=frozenset({45009, 45033}),
    refused=frozenset({40014, 93000, 93004, 93008}),  # key; address unknown; robot off; not in the group
)
SLACK_ROBOT = Robot("slack", SLACK, _slack, _unsigned, gone=frozenset({404, 410}))

ROBOTS = {robot.name: robot for robot in (DINGTALK_ROBOT, FEISHU_ROBOT, WECOM_ROBOT, SLACK_ROBOT)}
