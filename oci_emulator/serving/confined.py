"""Confine a model server, then run `child.py` in it: deployed code is not the emulator's, and can be anyone's.

This file is run by path, isolated (`python -I confined.py`), and imports only the standard library. Each process gets
limits of memory, open files and the size of a file. On Linux the server gets namespaces of its own: it has no network
but the Unix socket on which it serves, sees no other process, and all that it starts ends with it. Docker does not
allow them by default.
"""

import contextlib
import ctypes
import importlib.util
import os
import resource
import signal
from pathlib import Path

MEMORY_BYTES, FILE_BYTES, OPEN_FILES, PROCESSES = 4 << 30, 64 << 20, 512, 4096
# New namespaces of users, processes, networks, IPC and mounts.
NAMESPACES = 0x10000000 | 0x20000000 | 0x40000000 | 0x08000000 | 0x00020000
MS_NOSUID_NODEV_NOEXEC, MS_PRIVATE_ALL, PR_SET_PDEATHSIG = 0b1110, 0x4000 | 0x40000, 1
NETWORK, OTHERS, DESCENDANTS = "the network", "the sight of other processes", "processes of its own that outlive it"
CHILD = Path(__file__).with_name("child.py")


def main() -> None:
    """Confine this process and serve."""
    for limit, value in (
        (resource.RLIMIT_AS, MEMORY_BYTES),
        (resource.RLIMIT_FSIZE, FILE_BYTES),
        (resource.RLIMIT_NOFILE, OPEN_FILES),
        (resource.RLIMIT_CORE, 0),
    ):
        lower(limit, value)
    confined: set[str] = set()
    with contextlib.suppress(OSError, AttributeError):  # another platform, or its administrator refuses it
        confined = enter_namespaces()
    if DESCENDANTS in confined:
        lower(resource.RLIMIT_NPROC, PROCESSES)  # counts the processes of this namespace; does not hold for root
    spec = importlib.util.spec_from_file_location("model_server", CHILD)
    if spec is None or spec.loader is None:
        raise ImportError(str(CHILD))
    child = importlib.util.module_from_spec(spec)  # not in sys.modules: score.py cannot import it
    spec.loader.exec_module(child)
    child.main([what for what in (NETWORK, OTHERS, DESCENDANTS) if what not in confined])


def lower(limit: int, value: int) -> None:
    """Set a limit, unless a lower one holds or the platform has none."""
    hard = resource.getrlimit(limit)[1]
    lowered = value if hard == resource.RLIM_INFINITY else min(value, hard)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(limit, (lowered, lowered))


def enter_namespaces() -> set[str]:
    """Enter new namespaces as the same user; return in their first process, which the present one waits for."""
    user, group = os.getuid(), os.getgid()
    call("unshare", NAMESPACES)
    for name, content in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
        Path("/proc/self", name).write_text(content, encoding="ascii")
    child = os.fork()
    if child:
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        os._exit(status if status >= 0 else 128 - status)
    call("prctl", PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    confined = {NETWORK, DESCENDANTS}
    with contextlib.suppress(OSError):  # refused where parts of /proc are hidden, as in Docker
        call("mount", None, b"/", None, MS_PRIVATE_ALL, None)
        call("mount", b"proc", b"/proc", b"proc", MS_NOSUID_NODEV_NOEXEC, None)
        confined.add(OTHERS)
    return confined


def call(name: str, *arguments: object) -> None:
    """Call a function of the C library; raises OSError if it fails, AttributeError if this platform has none."""
    if getattr(ctypes.CDLL(None, use_errno=True), name)(*arguments) < 0:
        raise OSError(ctypes.get_errno(), f"{name}: {os.strerror(ctypes.get_errno())}")


if __name__ == "__main__":
    main()
