"""Every way in which files change is seen, and no write is read half-way."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from inotify_simple import Event, flags

from mizzen_operator.sources.watch import (
    Changes,
    InotifyWatcher,
    PollingWatcher,
    Watcher,
    open_watcher,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SECONDS = 10.0
"""How long a test waits for what must come; what must not come is not waited for."""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder with one manifest in it and one below."""
    (tmp_path / "mesh" / "sub").mkdir(parents=True)
    (tmp_path / "mesh" / "a.yaml").write_text("a")
    (tmp_path / "mesh" / "sub" / "b.yaml").write_text("b")
    return tmp_path / "mesh"


@pytest.fixture
def inotify(root: Path) -> Iterator[Watcher]:
    """A watcher on Linux."""
    watcher = InotifyWatcher(root)
    yield watcher
    watcher.close()


@pytest.fixture(params=[InotifyWatcher, PollingWatcher])
def any_watcher(root: Path, request: pytest.FixtureRequest) -> Iterator[Watcher]:
    """Both kinds of watcher."""
    watcher: Watcher = (
        PollingWatcher(root, seconds=0.001)
        if request.param is PollingWatcher
        else InotifyWatcher(root)
    )
    yield watcher
    watcher.close()


def next_changes(watcher: Watcher) -> Changes:
    """The next change, however often the watcher looks."""
    for _ in range(10_000):
        if changes := watcher.wait(SECONDS):
            return changes
    raise AssertionError("no change was seen")


def test_a_save_is_seen_by_every_watcher(any_watcher: Watcher, root: Path) -> None:
    (root / "sub" / "b.yaml").write_text("changed")
    assert next_changes(any_watcher).files == {root / "sub" / "b.yaml"}


def test_a_removal_is_seen_by_every_watcher(any_watcher: Watcher, root: Path) -> None:
    (root / "a.yaml").unlink()
    assert next_changes(any_watcher).files == {root / "a.yaml"}


def test_a_wait_ends_when_it_is_woken(any_watcher: Watcher) -> None:
    any_watcher.wake()
    assert not any_watcher.wait(None)


def test_a_wait_ends_when_its_time_is_over(any_watcher: Watcher) -> None:
    assert not any_watcher.wait(0)


def test_the_watcher_of_linux_is_chosen_on_linux(root: Path) -> None:
    watcher = open_watcher(root)
    assert isinstance(watcher, InotifyWatcher)
    watcher.close()


def test_a_file_counts_only_when_its_writer_has_closed_it(inotify: Watcher, root: Path) -> None:
    with (root / "new.yaml").open("w") as file:
        file.write("half")
        file.flush()
        assert not inotify.wait(0)
    assert inotify.wait(SECONDS).files == {root / "new.yaml"}


def test_an_editors_rename_is_one_change(inotify: Watcher, root: Path) -> None:
    (root / ".a.yaml.swp").write_text("new")
    (root / "a.yaml").rename(root / "a.yaml~")
    (root / ".a.yaml.swp").rename(root / "a.yaml")
    assert inotify.wait(SECONDS) == Changes(files=frozenset({root / "a.yaml"}))


def test_hidden_and_foreign_files_are_passed_over(inotify: Watcher, root: Path) -> None:
    (root / ".git").mkdir()
    (root / ".git" / "x.yaml").write_text("x")
    (root / ".hidden.yaml").write_text("x")
    (root / "notes.txt").write_text("x")
    (root / "#a.yaml#").write_text("x")
    assert not inotify.wait(0)


def test_links_count_when_they_are_made(inotify: Watcher, root: Path) -> None:
    (root / "soft.yaml").symlink_to(root / "a.yaml")
    (root / "hard.yaml").hardlink_to(root / "a.yaml")
    assert inotify.wait(SECONDS).files == {root / "soft.yaml", root / "hard.yaml"}


def test_a_new_folder_is_looked_through_and_watched(inotify: Watcher, root: Path) -> None:
    (root / "fresh" / "deep").mkdir(parents=True)
    (root / "fresh" / "deep" / "c.yaml").write_text("c")
    assert root / "fresh" in inotify.wait(SECONDS).folders
    (root / "fresh" / "deep" / "c.yaml").write_text("changed")
    assert root / "fresh" / "deep" / "c.yaml" in inotify.wait(SECONDS).files


def test_a_folder_that_moves_is_told_under_both_names(inotify: Watcher, root: Path) -> None:
    (root / "sub").rename(root / "moved")
    assert inotify.wait(SECONDS).folders == {root / "sub", root / "moved"}
    inotify.wait(0)
    (root / "moved" / "b.yaml").write_text("changed")
    assert inotify.wait(SECONDS).files == {root / "moved" / "b.yaml"}


def test_a_folder_that_is_removed_is_told(inotify: Watcher, root: Path) -> None:
    (root / "sub" / "b.yaml").unlink()
    (root / "sub").rmdir()
    changes = inotify.wait(SECONDS)
    assert changes.folders == {root / "sub"}


def test_a_mounted_configmap_changes_by_its_link(inotify: Watcher, root: Path) -> None:
    (root / "..data").symlink_to(root / "sub")
    assert inotify.wait(SECONDS).folders == {root}


def test_the_folder_itself_may_vanish_and_come_back(inotify: Watcher, root: Path) -> None:
    away = root.with_name("away")
    root.rename(away)
    assert not inotify.wait(SECONDS)
    assert not inotify.wait(0)
    away.rename(root)
    assert next_changes(inotify).folders == {root}
    (root / "a.yaml").write_text("changed")
    assert inotify.wait(SECONDS).files == {root / "a.yaml"}


def test_when_the_kernel_lost_events_everything_is_looked_at(
    inotify: InotifyWatcher, root: Path
) -> None:
    files: set[Path] = set()
    folders: set[Path] = set()
    inotify._sort(Event(-1, int(flags.Q_OVERFLOW), 0, ""), files, folders)
    assert folders == {root}
