"""What is wrong in itself is refused, what conflicts or does not resolve is warned of, naming the winner."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import pytest

from mizzen.api.parse import parse_object
from mizzen.compile import Compiler
from mizzen.diagnostics import NOT_TRANSLATED, Diagnostic
from mizzen.model.world import Batch, Parsed
from mizzen_operator.admission.review import admitted
from mizzen_operator.admission.webhook import validation_handler

if TYPE_CHECKING:
    from mizzen.model.world import Object
    from mizzen.names import ObjectKey

pytestmark = pytest.mark.unit

Json = dict[str, Any]

_NOW: Final = datetime(2026, 7, 1, tzinfo=UTC)
_SERVICE: Final[Json] = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "reviews", "namespace": "shop"},
    "spec": {"clusterIP": "10.0.0.1", "ports": [{"name": "http", "port": 80}]},
}


def routes(name: str = "reviews", **spec: Any) -> Json:  # noqa: ANN401  a spec is JSON
    """A VirtualService of host reviews."""
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "metadata": {"name": name},
        "spec": {
            "hosts": ["reviews"],
            "http": [{"route": [{"destination": {"host": "reviews"}}]}],
            **spec,
        },
    }


def review(manifest: Json, operation: str = "CREATE", old: Json | None = None) -> Json:
    """What an API server asks."""
    request = {
        "uid": "u-1",
        "operation": operation,
        "namespace": "shop",
        "name": manifest["metadata"].get("name", ""),
        "object": manifest,
        "oldObject": old,
    }
    return {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}


class Mesh:
    """A compiler with some objects, asked without a thread."""

    def __init__(self, *manifests: Json) -> None:
        parsed = [parse_object(manifest) for manifest in manifests]
        changes = {one.key: one.object for one in parsed if isinstance(one, Parsed)}
        self.compiler = Compiler()
        self.compiler.commit(Batch(changes=changes))

    async def consider(self, key: ObjectKey, item: Object) -> tuple[Diagnostic, ...]:
        """What the compiler thread answers."""
        return self.compiler.consider(key, item)

    async def answer(self, asked: Json) -> Json:
        """The response to a review."""
        handle = validation_handler(self.consider, lambda: _NOW)
        given = await handle(asked)
        assert (given["kind"], given["apiVersion"]) == ("AdmissionReview", "admission.k8s.io/v1")
        response: Json = given["response"]
        assert response.pop("uid") == "u-1"
        return response


async def test_what_is_right_is_admitted_without_a_word() -> None:
    """Nothing is said of an object that there is nothing to say of."""
    assert await Mesh(_SERVICE).answer(review(routes())) == {"allowed": True}


async def test_what_is_wrong_in_itself_is_refused_with_every_reason() -> None:
    """The code, the field, what is wrong and what to do stand in the message and in the causes."""
    wrong = routes(hosts=["-"], http=[{"timeout": "5"}])
    response = await Mesh(_SERVICE).answer(review(wrong))
    status = response["status"]
    assert (response["allowed"], status["code"], status["reason"]) == (False, 422, "Invalid")
    assert "spec.http[0].timeout: must be a duration" in status["message"]
    assert "(MZ0103)" in status["message"]
    assert [cause["field"] for cause in status["details"]["causes"]] == ["spec.http[0].timeout"]


async def test_what_does_not_resolve_is_admitted_with_a_warning() -> None:
    """The Service may come a moment later: manifests are applied in any order."""
    response = await Mesh().answer(review(routes()))
    assert response["allowed"] is True
    (warning,) = response["warnings"]
    assert "spec.http[0].route[0].destination" in warning
    assert "(MZ0301)" in warning


async def test_secrets_that_nobody_has_fetched_yet_are_not_said_to_be_missing() -> None:
    """They are fetched once a Gateway is there that names them; its status says the rest."""
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "gate", "namespace": "ingress", "labels": {"istio": "gate"}},
    }
    server = {
        "port": {"number": 443, "name": "https", "protocol": "HTTPS"},
        "hosts": ["shop.example.com"],
        "tls": {"mode": "SIMPLE", "credentialName": "shop"},
    }
    gateway = {
        "apiVersion": "networking.istio.io/v1",
        "kind": "Gateway",
        "metadata": {"name": "edge"},
        "spec": {"selector": {"istio": "gate"}, "servers": [server]},
    }
    assert await Mesh(pod).answer(review(gateway)) == {"allowed": True}


async def test_a_conflict_is_warned_of_with_the_winner() -> None:
    """Who applies the second VirtualService of a host learns which one is in force: the older one."""
    first = routes("first")
    first["metadata"] |= {"namespace": "shop", "creationTimestamp": "2026-01-01T00:00:00Z"}
    response = await Mesh(_SERVICE, first).answer(review(routes("second")))
    assert response["allowed"] is True
    (warning,) = response["warnings"]
    assert "VirtualService shop/first" in warning
    assert "(MZ0401)" in warning


async def test_what_is_asked_about_leaves_no_trace() -> None:
    """An object that was only considered is not in the World, nor is anything that follows from it."""
    mesh = Mesh(_SERVICE)
    before = mesh.compiler.analyze(), dict(mesh.compiler.objects), mesh.compiler.revision
    await mesh.answer(review(routes("reviews", http=[{"route": [{"destination": {"host": "x"}}]}])))
    after = mesh.compiler.analyze(), dict(mesh.compiler.objects), mesh.compiler.revision
    assert after == before


async def test_a_replacement_is_not_in_conflict_with_what_it_replaces() -> None:
    """An update is considered in the place of the object that is there, which then is as before."""
    old = routes()
    old["metadata"] |= {"namespace": "shop", "creationTimestamp": "2026-01-01T00:00:00Z"}
    mesh = Mesh(_SERVICE, old)
    before = dict(mesh.compiler.objects)
    new = {**routes(http=[{"redirect": {"uri": "/"}}]), "metadata": old["metadata"]}
    assert await mesh.answer(review(new, "UPDATE", old)) == {"allowed": True}
    assert dict(mesh.compiler.objects) == before


@pytest.mark.parametrize(
    ("operation", "change"),
    [
        ("UPDATE", {"labels": {"seen": "yes"}}),
        ("UPDATE", {"deletionTimestamp": "2026-07-01T00:00:00Z"}),
        ("DELETE", {}),
    ],
)
async def test_what_has_become_invalid_can_be_labelled_and_deleted(
    operation: str, change: Json
) -> None:
    """An object that is older than a rule is no trap."""
    old = routes(http=[{"timeout": "5"}])
    new = {**old, "metadata": {**old["metadata"], **change}}
    assert (await Mesh().answer(review(new, operation, old)))["allowed"] is True


async def test_a_kind_that_is_not_handled_is_admitted() -> None:
    """A rule of the webhook that is wider than what we read stops nobody."""
    strange = {"apiVersion": "v1", "kind": "Strange", "metadata": {"name": "it"}, "spec": {}}
    assert await Mesh().answer(review(strange)) == {"allowed": True}


async def test_an_object_that_is_yet_to_be_named_is_read() -> None:
    """``generateName`` leaves the name to the API server, after admission."""
    nameless = routes()
    nameless["metadata"] = {"generateName": "reviews-"}
    assert await Mesh(_SERVICE).answer(review(nameless)) == {"allowed": True}


async def test_a_compiler_that_is_busy_holds_nobody_up() -> None:
    """Without its answer the object is admitted with what is known of it alone."""

    async def never(_key: ObjectKey, _item: Object) -> tuple[Diagnostic, ...]:
        await asyncio.Event().wait()
        return ()

    asked = review(routes(unknown=1))
    handle = validation_handler(never, lambda: _NOW, patience_s=0.01)
    response = (await handle(asked))["response"]
    assert response["allowed"] is True
    assert ["unknown" in warning for warning in response["warnings"]] == [True]


def test_warnings_are_few_and_short() -> None:
    """A terminal shows a dozen of at most 256 characters, and says where the others are."""
    many = [
        Diagnostic(code=NOT_TRANSLATED, object=None, path=f"spec.a[{n}]", message="x" * 300)
        for n in range(20)
    ]
    warnings = admitted(review(routes()), many)["response"]["warnings"]
    assert len(warnings) == 13
    assert max(map(len, warnings)) == 256
    assert warnings[-1].startswith("and 8 more")
