"""afield._cgroups: which groups a worker may make, and who removes them."""

from pathlib import Path

import pytest

from afield import _cgroups
from afield._cgroups import Base, Claim, find_mounts, sweep

V1 = "30 29 0:26 / {top}/memory rw,nosuid - cgroup cgroup rw,memory\n31 29 0:27 / {top}/cpu rw - cgroup cgroup rw,cpu,cpuacct\n"
V2 = "30 29 0:26 {root} {top} rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    """A folder in place of /proc/self."""
    folder = tmp_path / "proc"
    folder.mkdir()
    return folder


def version_1(proc: Path, top: Path) -> Path:
    """Describe a host with version 1; returns this process's group for memory."""
    (proc / "mountinfo").write_text("1 0 8:1 / / rw - ext4 /dev/sda rw\n" + V1.format(top=top))
    (proc / "cgroup").write_text("5:memory:/jobs/7\n3:cpu,cpuacct:/\n")
    own = top / "memory/jobs/7"
    own.mkdir(parents=True)
    (top / "cpu").mkdir()
    return own


def version_2(proc: Path, top: Path, *, own: str, root: str = "/", enabled: str = "cpu memory") -> Path:
    """Describe a host with version 2; returns this process's group, whose parent lets groups have controllers."""
    (proc / "mountinfo").write_text(V2.format(top=top, root=root))
    (proc / "cgroup").write_text(f"0::{own}\n")
    group = top / Path(own).relative_to(root)
    group.mkdir(parents=True, exist_ok=True)
    # Of plain files, writing replaces all: as if the kernel had said no to our wish, or yes to the last.
    (group / "cgroup.subtree_control").mkdir()
    if group != top:
        control = group.parent / "cgroup.subtree_control"
        control.write_text(enabled)
        control.chmod(0o444)
    return group


def test_version_1(proc: Path, tmp_path: Path) -> None:
    """A group below our own for each controller."""
    own = version_1(proc, tmp_path / "top")

    claim = Claim("w", proc)

    assert claim.bases == {
        "memory": Base(1, own / "afield-w"),
        "cpu": Base(1, tmp_path / "top/cpu/afield-w"),
    }
    claim.close()
    assert list(own.iterdir()) == []


def test_version_2_beside_our_own(proc: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Our own group has processes and so may not be divided; the one above may, where it is delegated."""
    own = version_2(proc, tmp_path / "top", own="/slice/scope")
    monkeypatch.setattr(_cgroups, "_enable", lambda *_: None)  # it is so already

    claim = Claim("w", proc)

    base = Base(2, own.parent / "afield-w")
    assert claim.bases == {"memory": base, "cpu": base}


def test_nothing_to_write_to_is_no_error(proc: Path, tmp_path: Path) -> None:
    """No hierarchy, or none with controllers for us: limits are watched then."""
    assert Claim("w", proc).bases == {}
    version_2(proc, tmp_path / "top", own="/")
    assert Claim("w", proc).bases == {}
    assert sweep(proc) == 0


def test_a_mount_may_show_a_part(proc: Path, tmp_path: Path) -> None:
    """As in containers: what lies below its root, and nothing else."""
    version_2(proc, tmp_path / "top", own="/docker/c1/inner", root="/docker/c1")
    (mount,) = find_mounts(proc)
    assert (mount.top, mount.own) == (tmp_path / "top", tmp_path / "top/inner")
    for hidden in ("/elsewhere", "/../elsewhere"):
        (proc / "cgroup").write_text(f"0::{hidden}\n")
        assert find_mounts(proc) == []


def test_a_folder_with_blanks(proc: Path, tmp_path: Path) -> None:
    """The kernel writes them as octal numbers."""
    (proc / "mountinfo").write_text(V2.format(top=f"{tmp_path}/a\\040b", root="/"))
    (proc / "cgroup").write_text("0::/\n")
    assert find_mounts(proc)[0].top == tmp_path / "a b"


def test_groups_of_the_dead_are_removed_and_those_of_the_living_stay(proc: Path, tmp_path: Path) -> None:
    """Whoever lives holds a lock on its group."""
    own = version_1(proc, tmp_path / "top")
    (own / "afield-dead/container").mkdir(parents=True)
    (own / "other").mkdir()
    claim = Claim("alive", proc)

    assert sweep(proc) == 1

    assert sorted(each.name for each in own.iterdir()) == ["afield-alive", "other"]
    claim.close()
    assert sweep(proc) == 0
    assert [each.name for each in own.iterdir()] == ["other"]
