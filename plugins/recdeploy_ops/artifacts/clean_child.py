"""Run calls in a module whose code or files are not trusted; started by `clean_process`, as a script.

It runs as ``python -I -S -B clean_child.py`` and imports only the standard library. Standard input is one JSON object:

- ``source`` and ``path``: the module's source, which is run and never read from the file.
- ``calls``: pairs of a function's name and its arguments.
- ``limits``: ``memory`` and ``output`` in bytes, ``seconds`` of CPU time for each process, open ``files``.

Standard output is one line of JSON for each answer, or for each element that a generator yields. The line before them
is a list of what this platform could not confine. After an exception the exit code is 1 and standard error has the
traceback.

Confinement has layers, because no platform offers all of them. Limits bound each process. Namespaces hide the network
and all other processes, and end every process with the first one. Landlock forbids writing files and reading the memory
of other processes. Seccomp forbids new processes, sockets and signals. Docker allows no namespaces by default.
"""

import contextlib
import ctypes
import errno
import json
import os
import platform
import resource
import signal
import sys
import types
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

CLONE_NEWNS, CLONE_NEWIPC = 0x00020000, 0x08000000
CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = 0x10000000, 0x20000000, 0x40000000
NAMESPACES = CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWNS
MS_NOSUID_NODEV_NOEXEC, MS_PRIVATE_ALL = 0b1110, 0x4000 | 0x40000
PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS = 1, 4, 22, 38
SIGNALLED = 128  # an exit code above is this and the number of a signal, as in a shell
CAPABILITY_VERSION = 0x20080522
LANDLOCK_CREATE, LANDLOCK_RESTRICT = 444, 446  # the same numbers on every architecture
LANDLOCK_VERSION = 1  # a flag of `LANDLOCK_CREATE`
# Rights to files that are taken away: to execute (bit 0), write (1), remove and make (4 to 12), and to truncate (14).
LANDLOCK_RIGHTS, LANDLOCK_TRUNCATE, TRUNCATE_SINCE = 0b1_1111_1111_0011, 1 << 14, 3
SECCOMP_FILTER, SECCOMP_ALLOW, SECCOMP_REFUSE = 2, 0x7FFF0000, 0x00050000 | errno.EPERM
FOREIGN_CALLS = 0x40000000  # on x86: from here on, the numbers of another calling convention
# By the machine: its number in a filter, and the system calls that are refused: clone, fork, vfork, execve, execveat,
# clone3; socket, io_uring_setup; ptrace, process_vm_readv and -writev; kill, tkill, tgkill, rt_sigqueueinfo,
# rt_tgsigqueueinfo, pidfd_send_signal; unshare, setns, mount.
REFUSED_CALLS = {
    "x86_64": (
        0xC000003E,
        (56, 57, 58, 59, 322, 435, 41, 425, 101, 310, 311, 62, 200, 234, 129, 297, 424, 272, 308, 165),
    ),
    "aarch64": (0xC00000B7, (220, 221, 281, 435, 198, 425, 117, 270, 271, 129, 130, 131, 138, 240, 424, 97, 268, 40)),
}
# What is not confined, in the words of the log.
NETWORK, PROCESSES, OTHERS, MEMORY_OF_OTHERS, FILES = (
    "the network",
    "new processes",
    "the sight of other processes",
    "the environment and memory of other processes",
    "writing files",
)
EVERYTHING = (NETWORK, PROCESSES, OTHERS, MEMORY_OF_OTHERS, FILES)


def main() -> None:
    """Read standard input, confine this process, and run the calls."""
    given = json.load(sys.stdin)
    answers, errors = os.dup(1), 2
    os.dup2(errors, 1)  # what the module prints is not an answer
    _set_limits(given["limits"])
    confined: set[str] = set()
    for confine in LAYERS:
        with contextlib.suppress(OSError, AttributeError):
            confined |= confine()
    with os.fdopen(answers, "w", encoding="ascii") as sink:
        _write(sink, [what for what in EVERYTHING if what not in confined])
        sink.flush()
        run(given, lambda answer: _write(sink, answer))


def run(given: dict[str, Any], report: Callable[[Any], None]) -> None:
    """Run the module and the calls in it; report each answer, and each element of a generator."""
    module = types.ModuleType("score")
    module.__file__ = given["path"]
    exec(compile(given["source"], given["path"], "exec"), module.__dict__)  # noqa: S102 - the purpose of this process
    for name, arguments in given["calls"]:
        answer = getattr(module, name)(*arguments)
        for element in answer if isinstance(answer, types.GeneratorType) else (answer,):
            report(element)


def _set_limits(limits: dict[str, int]) -> None:
    """Limit each process: address space, size of a file (and so the output), CPU time, open files; no core file."""
    wanted = {
        resource.RLIMIT_AS: limits["memory"],
        resource.RLIMIT_FSIZE: limits["output"],
        resource.RLIMIT_CPU: limits["seconds"],
        resource.RLIMIT_NOFILE: limits["files"],
        resource.RLIMIT_CORE: 0,
    }
    for what, value in wanted.items():
        hard = resource.getrlimit(what)[1]
        lowered = value if hard == resource.RLIM_INFINITY else min(value, hard)
        with contextlib.suppress(ValueError, OSError):  # macOS does not limit the address space
            resource.setrlimit(what, (lowered, lowered))


def _write(sink: Any, answer: Any) -> None:
    sink.write(json.dumps(answer, allow_nan=False) + "\n")


def _call(name: str, *arguments: Any) -> int:
    """Call a function of the C library; raises OSError if it fails, AttributeError if this platform has none."""
    result: int = getattr(_C, name)(*arguments)
    if result < 0:
        raise OSError(ctypes.get_errno(), f"{name}: {os.strerror(ctypes.get_errno())}")
    return result


_C = ctypes.CDLL(None, use_errno=True)


def _end_with_parent() -> set[str]:
    """Let the kernel end this process when the thread that has started it ends."""
    _call("prctl", PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    return set()


def _enter_namespaces() -> set[str]:
    """Enter new namespaces as the same user, and return in a process that sees no process outside them.

    The calling process waits for it and ends with its exit code, and so does the first process of the namespaces. When
    that one ends, the kernel ends every other, also one in a session of its own.
    """
    user, group = os.getuid(), os.getgid()
    _call("unshare", NAMESPACES)
    for name, content in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
        Path("/proc/self", name).write_text(content, encoding="ascii")
    _wait_unless_child()
    _end_with_parent()
    _call("prctl", PR_SET_DUMPABLE, 0, 0, 0, 0)  # nobody may trace it
    confined = {NETWORK, MEMORY_OF_OTHERS}
    with contextlib.suppress(OSError):  # refused where parts of /proc are hidden, as in Docker
        _call("mount", None, b"/", None, MS_PRIVATE_ALL, None)
        _call("mount", b"proc", b"/proc", b"proc", MS_NOSUID_NODEV_NOEXEC, None)
        confined.add(OTHERS)
    _wait_unless_child()
    _call("prctl", PR_SET_DUMPABLE, 1, 0, 0, 0)
    return confined


def _wait_unless_child() -> None:
    """Fork, and return in the child only; the parent waits for it and ends with its exit code."""
    child = os.fork()
    while child:
        ended, status = os.waitpid(-1, 0)
        if ended == child:
            code = os.waitstatus_to_exitcode(status)
            os._exit(code if code >= 0 else SIGNALLED - code)


def _forbid_processes() -> set[str]:
    """Forbid new processes by a limit, which does not bind root."""
    resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
    return {PROCESSES} if os.getuid() else set()


def _forbid_files() -> set[str]:
    """Forbid writing, making and executing files, and reading the memory of other processes (Landlock)."""
    version = _call("syscall", LANDLOCK_CREATE, None, ctypes.c_size_t(0), LANDLOCK_VERSION)
    handled = ctypes.c_uint64(LANDLOCK_RIGHTS | (LANDLOCK_TRUNCATE if version >= TRUNCATE_SINCE else 0))
    rules = _call("syscall", LANDLOCK_CREATE, ctypes.byref(handled), ctypes.c_size_t(8), 0)
    _call("prctl", PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    _call("syscall", LANDLOCK_RESTRICT, rules, 0)
    os.close(rules)
    return {FILES, MEMORY_OF_OTHERS}


class _Instruction(ctypes.Structure):
    _fields_ = (("code", ctypes.c_uint16), ("yes", ctypes.c_uint8), ("no", ctypes.c_uint8), ("value", ctypes.c_uint32))


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_uint16), ("instructions", ctypes.POINTER(_Instruction)))


def _forbid_calls() -> set[str]:
    """Refuse new processes, sockets, signals and the memory of other processes (seccomp); drop all capabilities."""
    _call("capset", (ctypes.c_uint32 * 2)(CAPABILITY_VERSION, 0), (ctypes.c_uint32 * 6)())
    if platform.machine() not in REFUSED_CALLS:
        return set()
    refuse_calls(*REFUSED_CALLS[platform.machine()])
    return {NETWORK, PROCESSES, MEMORY_OF_OTHERS}


def refuse_calls(machine: int, numbers: Sequence[int]) -> None:
    """Let system calls fail with EPERM, in this process and all that it starts.

    Raises:
        OSError: this platform has no seccomp.
    """
    load, equal, at_least, end = 0x20, 0x15, 0x35, 0x06
    program = [(load, 0, 0, 4), (equal, 0, len(numbers) + 3, machine), (load, 0, 0, 0)]
    program.append((at_least, len(numbers) + 1, 0, FOREIGN_CALLS))
    program += [(equal, len(numbers) - index, 0, number) for index, number in enumerate(numbers)]
    program += [(end, 0, 0, SECCOMP_ALLOW), (end, 0, 0, SECCOMP_REFUSE)]
    instructions = (_Instruction * len(program))(*(_Instruction(*fields) for fields in program))
    _call("prctl", PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    _call("prctl", PR_SET_SECCOMP, SECCOMP_FILTER, ctypes.byref(_Program(len(program), instructions)), 0, 0)


# A layer that this platform or its administrator refuses is left out; the log says what that means.
LAYERS = (_end_with_parent, _enter_namespaces, _forbid_processes, _forbid_files, _forbid_calls)

if __name__ == "__main__":
    main()
