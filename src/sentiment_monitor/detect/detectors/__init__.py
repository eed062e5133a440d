"""The detectors, one file each, found by the kind of their rule."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from sentiment_monitor.detect.baseline import Baseline
from sentiment_monitor.detect.detectors.contract import Detector
from sentiment_monitor.detect.detectors.count import Count
from sentiment_monitor.detect.detectors.cusum import Cusum
from sentiment_monitor.detect.detectors.silence import GoneQuiet
from sentiment_monitor.detect.rules import CountRule, CusumRule, Rule, SilenceRule

SILENCE = GoneQuiet()

_DETECTORS: dict[type[Rule], Detector[Any]] = {CountRule: Count(), CusumRule: Cusum(), SilenceRule: SILENCE}


def detector_of(rule: Rule) -> Detector[Any]:
    """The detector that answers this rule. KeyError when there is none for its class."""
    return _DETECTORS[type(rule)]


def awaited(rule: Rule, usual: Mapping[str, Baseline], exposure: float) -> Collection[str]:
    """The series that can answer a rule although its window holds nothing of them."""
    return SILENCE.awaited(rule, usual, exposure) if isinstance(rule, SilenceRule) else ()
