"""Clock cycles of this process, by the kernel's performance counters."""

from __future__ import annotations

import ctypes
import os
import platform
import struct

# perf_event_open(2): type PERF_TYPE_HARDWARE, config PERF_COUNT_HW_CPU_CYCLES; the numbers are the system call's.
_SYSCALL = {"x86_64": 298, "aarch64": 241}
_INHERIT, _EXCLUDE_KERNEL, _EXCLUDE_HV = 1 << 1, 1 << 5, 1 << 6
_CLOSE_ON_EXEC = 8


class _Attributes(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_uint32),
        ("size", ctypes.c_uint32),
        ("config", ctypes.c_uint64),
        ("sample_period", ctypes.c_uint64),
        ("sample_type", ctypes.c_uint64),
        ("read_format", ctypes.c_uint64),
        ("flags", ctypes.c_uint64),
        ("rest", ctypes.c_uint8 * 64),
    )


class CycleCounter:
    """Counts cycles in user mode of the calling thread and of every thread started after it.

    ``reason`` says why nothing can be counted (virtual machines seldom have the counters); it is "" when it works.
    """

    def __init__(self) -> None:
        self._file = -1
        number = _SYSCALL.get(platform.machine())
        if number is None or platform.system() != "Linux":
            self.reason = f"no perf_event_open known for {platform.system()} on {platform.machine()}"
            return
        libc = ctypes.CDLL(None, use_errno=True)
        wanted = _Attributes(
            type=0, config=0, size=ctypes.sizeof(_Attributes), flags=_INHERIT | _EXCLUDE_KERNEL | _EXCLUDE_HV
        )
        self._file = libc.syscall(number, ctypes.byref(wanted), 0, -1, -1, _CLOSE_ON_EXEC)
        self.reason = ""
        if self._file < 0:
            self.reason = f"perf_event_open: {os.strerror(ctypes.get_errno())}; this machine counts no cycles for us"

    def read(self) -> int | None:
        """Return the cycles so far, None when they cannot be counted."""
        if self._file < 0:
            return None
        count: int = struct.unpack("Q", os.read(self._file, 8))[0]
        return count
