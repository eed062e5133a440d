"""Picks the engine that runs a checkpoint here; torch and OpenVINO are only imported when chosen."""

from __future__ import annotations

import ctypes
import logging
from pathlib import Path
from typing import Literal

from sentiment_monitor.errors import ClassifierError
from sentiment_monitor.score.checkpoint import Checkpoint
from sentiment_monitor.score.contract import Engine, EngineUnavailable

EngineName = Literal["auto", "openvino", "torch"]

_LOG = logging.getLogger(__name__)


def start(checkpoint: Checkpoint, engine: EngineName, cache_dir: Path, threads: int) -> Engine:
    """Start an engine for ``checkpoint``.

    ``auto`` takes torch on a CUDA device, else OpenVINO, else, with one warning that names the cause, torch on
    the CPU. A named engine that cannot serve raises ClassifierError.
    """
    from sentiment_monitor.score import openvino_engine

    if engine == "torch" or (engine == "auto" and has_cuda()):
        return _torch(checkpoint, threads)
    try:
        return openvino_engine.start(checkpoint, cache_dir, threads)
    except EngineUnavailable as error:
        if engine == "openvino":
            raise ClassifierError(f"engine openvino cannot serve {checkpoint.directory}: {error}") from error
        _LOG.warning("classifier.engine_fallback: openvino cannot serve (%s); using torch, several times slower", error)
    return _torch(checkpoint, threads)


def has_cuda() -> bool:
    """Say whether the NVIDIA driver lists a device, without importing torch (seconds, hundreds of megabytes)."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    count = ctypes.c_int(0)
    return driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0 and count.value > 0


def _torch(checkpoint: Checkpoint, threads: int) -> Engine:
    try:
        from sentiment_monitor.score.torch_engine import TorchEngine
    except ImportError as error:
        raise ClassifierError(f"no engine can run: {error}") from error
    return TorchEngine(checkpoint, threads)
