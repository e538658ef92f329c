"""Whether a training fits: what it needs, what there is, and how it is said."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from include.training.memory import Size, TooLargeError, available_bytes, require_memory

if TYPE_CHECKING:
    from pathlib import Path

LARGE = Size(interactions=10_000_000, users=100_000, items=20_000, factors=100, top_k=10)
GIGABYTE = 10**9


def machine(root: Path, free: int, groups: str = "", **files: str) -> Path:
    """A ``/proc`` and ``/sys``; a double underscore in a name stands for a slash."""
    written = {"proc/meminfo": f"MemTotal: 1 kB\nMemAvailable: {free // 1024} kB\n", "proc/self/cgroup": groups}
    written |= {f"sys/fs/cgroup/{name.replace('__', '/').replace('_dot_', '.')}": text for name, text in files.items()}
    for name, text in written.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def test_without_control_groups_the_machine_is_the_limit(tmp_path: Path) -> None:
    root = machine(tmp_path, 8 * GIGABYTE)
    (root / "proc/self/cgroup").unlink()
    free, by = available_bytes(root)
    assert free == pytest.approx(8 * GIGABYTE, abs=1024)
    assert by == "what the machine has free"


@pytest.mark.parametrize("limited", ["", "job__", "job__inner__"])
def test_each_group_above_the_process_limits_it(limited: str, tmp_path: Path) -> None:
    limits = {f"{group}memory_dot_max": "max\n" for group in ("", "job__", "job__inner__")}
    used = {f"{group}memory_dot_current": f"{2 * GIGABYTE}\n" for group in ("", "job__", "job__inner__")}
    limits[f"{limited}memory_dot_max"] = f"{3 * GIGABYTE}\n"
    root = machine(tmp_path, 8 * GIGABYTE, "0::/job/inner\n", **limits, **used)
    assert available_bytes(root) == (GIGABYTE, "the limit of the control group")


def test_what_the_kernel_gives_back_counts_as_free(tmp_path: Path) -> None:
    root = machine(
        tmp_path,
        8 * GIGABYTE,
        "0::/\n",
        memory_dot_max=str(3 * GIGABYTE),
        memory_dot_current=str(2 * GIGABYTE),
        memory_dot_stat=f"anon 1\ninactive_file {GIGABYTE}\nactive_file 7\n",
    )
    assert available_bytes(root)[0] == 2 * GIGABYTE


def test_groups_of_the_first_version_are_respected(tmp_path: Path) -> None:
    root = machine(
        tmp_path,
        8 * GIGABYTE,
        "5:cpu:/x\n4:memory:/docker/1f\n0::/\n",
        memory__docker__1f__memory_dot_limit_in_bytes=str(4 * GIGABYTE),
        memory__docker__1f__memory_dot_usage_in_bytes=str(3 * GIGABYTE),
        memory__docker__1f__memory_dot_stat="total_inactive_file 5\n",
    )
    assert available_bytes(root)[0] == GIGABYTE + 5


def test_too_large_a_training_is_refused_with_the_numbers_and_what_to_do(tmp_path: Path) -> None:
    root = machine(tmp_path, GIGABYTE)
    with pytest.raises(TooLargeError) as caught:
        require_memory(LARGE, "stock", root)
    message = str(caught.value)
    assert message.startswith(
        "Training would not fit: 10,000,000 interactions of 100,000 users with 20,000 items need about "
    )
    assert " GB of memory; 1.0 GB are available (what the machine has free). " in message
    assert "lower training.factors, or set training.engine to exact." in message
    with pytest.raises(TooLargeError, match=r"lower training\.factors\.$"):
        require_memory(LARGE, "exact", root)


def test_a_training_that_fits_says_what_it_needs(tmp_path: Path) -> None:
    line = require_memory(LARGE, "exact", machine(tmp_path, 24 * GIGABYTE))
    assert "need about" in line
    assert "24.0 GB are available" in line


def test_the_exact_engine_needs_at_most_half_of_what_stock_does() -> None:
    assert LARGE.needed_bytes("exact") < LARGE.needed_bytes("stock") / 2


def test_a_million_users_fit_into_24_gigabytes() -> None:
    huge = Size(interactions=50_000_000, users=1_000_000, items=100_000, factors=100, top_k=10)
    assert huge.needed_bytes("exact") < 24 * GIGABYTE
    assert huge.needed_bytes("stock") > 24 * GIGABYTE
