"""The detectors, one file each, found by the kind of their rule."""

from __future__ import annotations

from typing import Any

from sentiment_monitor.detect.detectors.contract import Detector
from sentiment_monitor.detect.detectors.count import Count
from sentiment_monitor.detect.rules import CountRule, Rule

_DETECTORS: dict[type[Rule], Detector[Any]] = {CountRule: Count()}


def detector_of(rule: Rule) -> Detector[Any]:
    """The detector that answers this rule. KeyError when there is none for its class."""
    return _DETECTORS[type(rule)]
