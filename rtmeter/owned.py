"""Child processes that end when their owner does, however it ends."""

import os
import sys
from typing import Final

# Run between fork and exec of the real program, in place of it: the process id stays the same. The
# kernel then kills it when the thread that started it ends. A program of its own rather than
# `preexec_fn`, which can deadlock when the owner has threads (librdkafka always has).
_END_WITH_OWNER: Final = """
import ctypes, os, signal, sys
PR_SET_PDEATHSIG = ctypes.c_ulong(1)
zero = ctypes.c_ulong(0)
if ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGKILL), zero, zero, zero) != 0:
    sys.exit("prctl(PR_SET_PDEATHSIG) failed")
if os.getppid() != int(sys.argv[1]):
    sys.exit("the owner ended before its child began")
os.execv(sys.argv[2], sys.argv[2:])
"""


def owned_command(command: list[str]) -> list[str]:
    """`command`, such that it is killed when the calling thread ends."""
    return [sys.executable, "-I", "-S", "-c", _END_WITH_OWNER, str(os.getpid()), *command]
