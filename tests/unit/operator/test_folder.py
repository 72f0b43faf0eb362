"""An edit takes effect at once, a mistake keeps the last good version, what vanishes vanishes late."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from mizzen.diagnostics import DUPLICATE_OBJECT, NOT_YAML
from mizzen_operator.sources.base import Unreadable
from mizzen_operator.sources.folder import Folder, file_key
from tests.unit.operator.manifests import (
    BROKEN,
    documents,
    invalid_service,
    port_of,
    service,
    service_key,
)

if TYPE_CHECKING:
    from mizzen.model.world import Batch

CART = service_key("cart")
STOCK = service_key("stock")


@pytest.fixture
def folder() -> Folder:
    """A folder with one file of two services."""
    folder = Folder()
    folder.update({"a.yaml": documents(service("cart"), service("stock"))}, settled=True)
    return folder


def ports(batch: Batch) -> dict[str, int | None]:
    """What a batch changes, by name of Service."""
    return {key.name: port_of(item) for key, item in batch.changes.items()}


def codes(batch: Batch, name: str) -> list[str]:
    """The codes that a batch puts on a Service."""
    return [found.code.id for found in batch.diagnostics[service_key(name)]]


def test_the_first_reading_tells_everything() -> None:
    batch = Folder().update({"a.yaml": service("cart"), "b/c.yaml": service("stock")}, settled=True)
    assert ports(batch) == {"cart": 80, "stock": 80}
    assert batch.complete
    assert not batch.diagnostics


def test_an_edit_changes_its_object_alone(folder: Folder) -> None:
    batch = folder.update(
        {"a.yaml": documents(service("cart"), service("stock", 81))}, settled=False
    )
    assert ports(batch) == {"stock": 81}


def test_saving_without_a_change_changes_nothing(folder: Folder) -> None:
    text = documents(service("cart"), "# only a comment\n", service("stock"))
    batch = folder.update({"a.yaml": text}, settled=False)
    assert not batch.changes
    assert not batch.diagnostics


def test_an_invalid_object_keeps_its_last_good_version_and_says_why(folder: Folder) -> None:
    text = documents(service("cart", 81), invalid_service("stock"))
    batch = folder.update({"a.yaml": text}, settled=False)
    assert ports(batch) == {"cart": 81}
    (found,) = batch.diagnostics[STOCK]
    assert found.location is not None
    assert (found.location.file, found.location.line) == ("a.yaml", 9)
    mended = folder.update(
        {"a.yaml": documents(service("cart", 81), service("stock", 82))}, settled=False
    )
    assert ports(mended) == {"stock": 82}
    assert codes(mended, "stock") == []


def test_a_document_that_is_not_yaml_keeps_the_files_objects(folder: Folder) -> None:
    text = documents(service("cart", 81), BROKEN)
    batch = folder.update({"a.yaml": text}, settled=True)
    assert ports(batch) == {"cart": 81}
    assert codes(batch, "stock") == [NOT_YAML.id]
    assert [f.code for f in batch.diagnostics[file_key("a.yaml")]] == [NOT_YAML]
    mended = folder.update(
        {"a.yaml": documents(service("cart", 81), service("stock"))}, settled=False
    )
    assert not mended.changes
    assert codes(mended, "stock") == []
    assert mended.diagnostics[file_key("a.yaml")] == ()


def test_an_object_that_was_never_good_is_not_in_force() -> None:
    batch = Folder().update({"a.yaml": invalid_service("cart")}, settled=True)
    assert not batch.changes
    assert codes(batch, "cart")


def test_a_removed_object_goes_only_when_the_file_has_settled(folder: Folder) -> None:
    batch = folder.update({"a.yaml": service("cart")}, settled=False)
    assert not batch.changes
    assert folder.unsettled == {"a.yaml"}
    batch = folder.update({"a.yaml": service("cart")}, settled=True)
    assert ports(batch) == {"stock": None}
    assert not folder.unsettled


def test_a_file_that_is_emptied_and_filled_again_loses_nothing(folder: Folder) -> None:
    assert not folder.update({"a.yaml": ""}, settled=False).changes
    text = documents(service("cart"), service("stock", 81))
    assert ports(folder.update({"a.yaml": text}, settled=False)) == {"stock": 81}
    assert not folder.unsettled


def test_a_deleted_file_goes_with_its_objects(folder: Folder) -> None:
    assert not folder.update({"a.yaml": None}, settled=False).changes
    assert ports(folder.update({"a.yaml": None}, settled=True)) == {"cart": None, "stock": None}
    assert not folder.files


def test_a_renamed_file_is_neither_gap_nor_duplicate(folder: Folder) -> None:
    text = documents(service("cart"), service("stock", 81))
    batch = folder.update({"a.yaml": None, "b.yaml": text}, settled=False)
    assert ports(batch) == {"stock": 81}
    assert not batch.diagnostics
    batch = folder.update({"a.yaml": None}, settled=True)
    assert not batch.changes
    assert not batch.diagnostics


def test_a_file_that_is_renamed_while_an_object_is_broken_keeps_its_last_good_version(
    folder: Folder,
) -> None:
    text = documents(service("cart"), invalid_service("stock"))
    folder.update({"a.yaml": None, "b.yaml": text}, settled=False)
    assert not folder.update({"a.yaml": None}, settled=True).changes
    assert ports(folder.update({"b.yaml": service("cart")}, settled=True)) == {"stock": None}


def test_of_the_same_object_in_two_files_the_first_path_wins(folder: Folder) -> None:
    batch = folder.update({"b.yaml": service("cart", 99)}, settled=False)
    assert not batch.changes
    (found,) = batch.diagnostics[CART]
    assert found.code is DUPLICATE_OBJECT
    assert str(found.location) == "b.yaml:1"
    assert "a.yaml:1" in found.message
    batch = folder.update({"A.yaml": service("cart", 70)}, settled=False)
    assert ports(batch) == {"cart": 70}
    assert [str(f.location) for f in batch.diagnostics[CART]] == ["a.yaml:1", "b.yaml:1"]


def test_the_second_takes_over_when_the_first_is_removed(folder: Folder) -> None:
    folder.update({"b.yaml": service("cart", 99)}, settled=False)
    batch = folder.update({"a.yaml": service("stock")}, settled=False)
    assert ports(batch) == {"cart": 99}
    assert codes(batch, "cart") == []
    assert not folder.update({"a.yaml": service("stock")}, settled=True).changes


def test_of_two_files_the_one_that_was_ever_good_wins() -> None:
    folder = Folder()
    batch = folder.update(
        {"a.yaml": invalid_service("cart"), "b.yaml": service("cart", 99)}, settled=True
    )
    assert ports(batch) == {"cart": 99}
    assert DUPLICATE_OBJECT.id in codes(batch, "cart")


def test_the_same_object_twice_in_one_file(folder: Folder) -> None:
    text = documents(service("cart"), service("cart", 81), service("stock"))
    batch = folder.update({"a.yaml": text}, settled=False)
    assert not batch.changes
    (found,) = batch.diagnostics[CART]
    assert str(found.location) == "a.yaml:6"
    batch = folder.update(
        {"a.yaml": documents(service("cart", 81), service("stock"))}, settled=False
    )
    assert ports(batch) == {"cart": 81}
    assert codes(batch, "cart") == []


def test_a_file_that_cannot_be_read_keeps_its_objects_and_says_so(folder: Folder) -> None:
    batch = folder.update({"a.yaml": Unreadable("Permission denied")}, settled=True)
    assert not batch.changes
    (found,) = batch.diagnostics[file_key("a.yaml")]
    assert "Permission denied" in found.message
    assert ports(folder.update({"a.yaml": service("cart", 81)}, settled=True)) == {
        "cart": 81,
        "stock": None,
    }


def test_findings_follow_their_document_down_the_file_and_into_another(folder: Folder) -> None:
    text = invalid_service("extra")
    folder.update({"c.yaml": text}, settled=False)
    batch = folder.update({"c.yaml": documents(service("first"), text)}, settled=False)
    assert [str(f.location) for f in batch.diagnostics[service_key("extra")]] == ["c.yaml:9"]
    batch = folder.update({"c.yaml": None, "d.yaml": text}, settled=False)
    assert [str(f.location) for f in batch.diagnostics[service_key("extra")]] == ["d.yaml:4"]


def test_a_finding_of_the_lint_is_given_its_fields_line(folder: Folder) -> None:
    batch = folder.update({"b.yaml": service("cart", 99)}, settled=False)
    (found,) = batch.diagnostics[CART]
    bare = replace(found, path="spec.ports[0].port", location=None)
    assert str(folder.located(bare).location) == "a.yaml:4"
    assert folder.located(replace(bare, object=service_key("nobody"))).location is None
