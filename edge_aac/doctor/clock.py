"""The clock: whether its time can be right, and whether something keeps it right."""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Iterator, Sequence
from datetime import datetime, timezone

from edge_aac.doctor.contract import Context, Finding, Part

EARLIEST_YEAR, LATEST_YEAR = 2025, 2100
"""A board without a battery begins in 1970, or in the year in which its system was built."""

_STA_UNSYNC = 0x0040
_TIMEX_BYTES = 208


class _Timex(ctypes.Structure):
    """The beginning of the kernel's ``struct timex`` (adjtimex(2)), and room for the rest of it."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_char * _TIMEX_BYTES),
    )


def check(context: Context) -> Sequence[Part]:
    """See :data:`edge_aac.doctor.contract.Check`."""
    return [Part(lambda: _clock(context))]


def _clock(context: Context) -> Iterator[Finding]:
    now = datetime.now(timezone.utc)
    shown = now.isoformat(timespec="seconds").replace("+00:00", "Z")
    if not EARLIEST_YEAR <= now.year < LATEST_YEAR:
        yield Finding(
            "failed", f"it says {shown}, which cannot be", "set it, or let NTP set it: `timedatectl set-ntp true`"
        )
        return
    battery = "" if context.there("dev/rtc*") else "; no clock with a battery, so that it is wrong after a power cut"
    synchronised = is_synchronised()
    if synchronised is None:
        yield Finding("warning", f"{shown}; whether it is synchronised cannot be told here{battery}")
    elif synchronised:
        yield Finding("ok", f"{shown}, synchronised{battery}")
    else:
        yield Finding(
            "warning",
            f"{shown}, not synchronised: the times of records drift{battery}",
            "switch NTP on: `timedatectl set-ntp true`, or install chrony",
        )


def is_synchronised() -> bool | None:
    """Whether the kernel holds its clock for synchronised; None where it does not tell."""
    timex = _Timex()
    result = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(timex))
    if result < 0:
        if ctypes.get_errno() in {errno.EPERM, errno.ENOSYS, errno.EACCES}:
            return None
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return not timex.status & _STA_UNSYNC
