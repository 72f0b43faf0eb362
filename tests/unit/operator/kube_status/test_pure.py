"""What replicas say to one another, what follows from it, and what is kept of objects."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final

import pytest

from mizzen.api.mesh_status import MeshStatusStatus
from mizzen.conditions import Liveness
from mizzen.diagnostics import INVALID_FIELD, UNKNOWN_FIELD, UNKNOWN_HOST, Code, Diagnostic
from mizzen.model.kube import EndpointSlice, Namespace, Pod, SliceEndpoint
from mizzen.model.meta import NO_LABELS, Labels, Meta, labels
from mizzen.model.routing import VirtualService
from mizzen.model.world import Batch
from mizzen.names import DEFAULT_REGISTRY, ObjectKey
from mizzen_operator.kube_status import tally, words
from mizzen_operator.kube_status.mesh import Certificates, Mesh, document
from mizzen_operator.kube_status.records import Linted, Record, Records
from mizzen_operator.kube_status.replicas import Replicas
from mizzen_operator.kube_status.uninjected import Uninjected
from mizzen_operator.kube_status.words import Answer, NotUnderstoodError, Report

NOW: Final = datetime(2026, 1, 1, tzinfo=UTC)


def _key(name: str, kind: str = "VirtualService", namespace: str = "shop") -> ObjectKey:
    return ObjectKey(DEFAULT_REGISTRY, kind, namespace, name)


REVIEWS: Final = _key("reviews")


def _meta(key: ObjectKey, annotations: Labels = NO_LABELS, of: Labels = NO_LABELS) -> Meta:
    return Meta(
        kind=key.kind, namespace=key.namespace, name=key.name, annotations=annotations, labels=of
    )


def _error(key: ObjectKey, *, code: Code = INVALID_FIELD) -> Diagnostic:
    return Diagnostic(code=code, object=key, path="spec", message="is wrong")


# What is said


FULL: Final = Report(
    replica="mizzen-1",
    complete=False,
    version="0.1.0",
    revision=7,
    proxies=3,
    up_to_date=2,
    rejecting=1,
    envoys=(("1.40.0", 3),),
    slowest="cart.shop",
    slowest_s=1.5,
    convergence_p99_s=0.024,
    snapshot_bytes=9,
    rejected=((REVIEWS, ("bad regex",)),),
    objects=(Answer(version="u/3", in_force=False, live=1, of=2, rejected=("bad regex",)), None),
)


def test_what_is_said_is_what_is_understood() -> None:
    """A question and a report come through JSON as they were."""
    keys = (REVIEWS, _key("x", "PeerAuthentication"))
    assert words.asked(json.loads(json.dumps(words.question(keys)))) == keys
    assert words.reported(json.loads(json.dumps(words.report(FULL)))) == FULL


def test_a_report_of_another_version_is_understood() -> None:
    """What is missing has its default, what is new is passed over."""
    assert words.reported({"replica": "mizzen-2", "mood": "fine"}) == Report(replica="mizzen-2")


@pytest.mark.parametrize(
    "said",
    [None, [], {"objects": 3}, {"replica": "x", "objects": [[1]]}, {"objects": [["a"]]}, {}],
)
def test_what_is_not_understood_is_said_to_be_so(said: object) -> None:
    """Neither a question nor a report is made of it."""
    with pytest.raises(NotUnderstoodError):
        words.reported(said)
    with pytest.raises(NotUnderstoodError):
        words.asked({"objects": [["a"]]} if said == {} else said)


def test_a_question_and_its_answer_have_a_bound() -> None:
    """However many objects and complaints there are."""
    keys = tuple(_key(f"vs{number}") for number in range(2_000))
    assert len(words.asked(words.question(keys))) == 500
    many = Report(replica="x", rejected=tuple((key, ("a",) * 90) for key in keys))
    said = words.report(many)
    assert len(said["rejected"]) == 100
    assert len(said["rejected"][0][3]) == 5


# What follows


def _answer(version: str = "u/2", live: int = 3, *, rejected: tuple[str, ...] = ()) -> Answer:
    return Answer(version=version, live=live, of=3, rejected=rejected)


RECORD: Final = Record(version="u/2", in_force=True)


@pytest.mark.parametrize(
    ("answers", "silent", "told"),
    [
        ([_answer(), _answer(live=1)], 0, Liveness(live=4, of=6)),
        ([_answer(), _answer("u/1")], 0, Liveness(live=3, of=6, behind=1)),
        ([_answer(), None], 0, Liveness(live=3, of=3, behind=1)),
        ([_answer()], 2, Liveness(live=3, of=3, silent=2)),
        (
            [
                _answer(rejected=("a", "b")),
                _answer(rejected=("b",)),
                _answer("u/1", rejected=("c",)),
            ],
            0,
            Liveness(live=6, of=9, rejected=("a", "b"), behind=1),
        ),
    ],
)
def test_counts_are_sums_over_replicas_that_speak_of_the_same_version(
    answers: list[Answer | None], silent: int, told: Liveness
) -> None:
    """What another version's proxies acknowledged is not what is asked for."""
    assert tally.liveness(RECORD, answers, silent=silent) == told


def test_a_replica_that_has_not_read_everything_has_no_say() -> None:
    """It serves nobody yet."""
    early = Report(replica="b", complete=False, objects=(None,))
    whole = Report(replica="a", objects=(_answer(),))
    assert tally.by_object((REVIEWS,), [whole, early]) == {REVIEWS: (_answer(),)}


# What is kept


def _spoken(
    version: str | None, item: VirtualService | None = None, *found: Diagnostic, same: bool = False
) -> Batch:
    return Batch(
        changes={} if same else {REVIEWS: item},
        diagnostics={REVIEWS: found},
        versions={} if version is None else {REVIEWS: version},
    )


GOOD: Final = VirtualService(meta=_meta(REVIEWS), hosts=())


def test_an_object_that_cannot_be_read_is_not_in_force_in_that_version() -> None:
    """The last good version stays; the next good one is in force again."""
    records = Records()
    assert records.take_batch(_spoken("u/1", GOOD)) == {REVIEWS}
    assert records.get(REVIEWS) == Record(version="u/1", in_force=True)
    records.take_batch(_spoken("u/2", None, _error(REVIEWS), same=True))
    assert records.get(REVIEWS) == Record(version="u/2", in_force=False)
    records.take_batch(_spoken("u/3", None, same=True))
    assert records.get(REVIEWS) == Record(version="u/3", in_force=True)
    assert records.get(REVIEWS).generation == 3  # type: ignore[union-attr]


def test_an_object_that_went_is_forgotten_and_one_that_came_back_broken_is_not() -> None:
    """Several things told in one batch end in the last of them."""
    records = Records()
    records.take_batch(_spoken("u/1", GOOD))
    assert records.take_batch(_spoken("", None)) == frozenset()
    assert records.get(REVIEWS) is None
    records.take_batch(_spoken("v/1", None, _error(REVIEWS)))
    assert records.get(REVIEWS) == Record(version="v/1", in_force=False)


def test_only_what_changed_of_the_findings_is_looked_at() -> None:
    """A finding that stays is no news of its object, and a warning is less urgent than an error."""
    records = Records()
    other = _key("other")
    for key in (REVIEWS, other):
        records.take_batch(Batch(changes={key: GOOD}, versions={key: "u/1"}))
    missing, spelled = _error(REVIEWS, code=UNKNOWN_HOST), _error(other, code=UNKNOWN_FIELD)
    linted = records.take_lint({REVIEWS: (missing,), other: (spelled,)})
    assert linted == Linted(errors=frozenset((REVIEWS,)), others=frozenset((other,)))
    linted = records.take_lint({REVIEWS: (missing,)})
    assert linted == Linted(errors=frozenset(), others=frozenset((other,)))
    assert records.take_lint({}).errors == {REVIEWS}
    assert records.wrong() == {}


def test_findings_on_what_people_do_not_steer_by_are_kept_and_looked_at_nowhere() -> None:
    """A Service has no status of ours; what is wrong with it stands in the row of the mesh."""
    records = Records()
    cart = _key("cart", "Service")
    linted = records.take_lint({cart: (_error(cart),)})
    assert linted == Linted(errors=frozenset(), others=frozenset())
    assert list(records.wrong()) == [cart]


# Who has no sidecar, and where the others are


def _pod(name: str, namespace: str = "shop", **annotations: str) -> Pod:
    return Pod(meta=_meta(_key(name, "Pod", namespace), annotations=labels(annotations)))


def _namespace(name: str, **more: str) -> Namespace:
    return Namespace(meta=_meta(_key(name, "Namespace", ""), of=labels(more)))


def _batch(*items: Pod | Namespace | EndpointSlice, gone: tuple[ObjectKey, ...] = ()) -> Batch:
    return Batch(changes={**{one.meta.key: one for one in items}, **dict.fromkeys(gone)})


def test_pods_without_their_sidecar_are_named_whichever_comes_first() -> None:
    """The label may come before the pod or after it, and either may go."""
    found = Uninjected(
        lambda pod, of: of.get("mesh") == "on" and not pod["metadata"]["annotations"]
    )
    found.take_batch(_batch(_pod("a"), _pod("b", injected="yes"), _pod("c", "else")))
    assert found.names() == ()
    found.take_batch(_batch(_namespace("shop", mesh="on")))
    assert found.names() == ("shop/a",)
    found.take_batch(_batch(_namespace("else", mesh="on"), _pod("d", "else")))
    assert found.names() == ("else/c", "else/d", "shop/a")
    found.take_batch(_batch(_namespace("else"), gone=(_key("a", "Pod"),)))
    assert found.names() == ()


def _slice(name: str, *endpoints: SliceEndpoint, service: str = "mizzen") -> EndpointSlice:
    key = _key(name, "EndpointSlice", "mizzen-system")
    return EndpointSlice(meta=_meta(key), service=service, endpoints=endpoints)


def test_the_others_are_the_ready_endpoints_of_the_service() -> None:
    """Each once, though its addresses of both families stand in slices of their own."""
    replicas = Replicas("mizzen-system", "mizzen", "me", 15016)
    replicas.take_batch(
        _batch(
            _slice(
                "v4",
                SliceEndpoint(addresses=("10.0.0.1",), pod="me"),
                SliceEndpoint(addresses=("10.0.0.2",), pod="b"),
                SliceEndpoint(addresses=("10.0.0.3",), pod="c", ready=False),
            ),
            _slice("v6", SliceEndpoint(addresses=("fd00::2",), pod="b")),
            _slice("v6only", SliceEndpoint(addresses=("fd00::4",), pod="d")),
            _slice("other", SliceEndpoint(addresses=("10.0.0.9",), pod="e"), service="web"),
        )
    )
    assert replicas.addresses() == ("10.0.0.2:15016", "[fd00::4]:15016")
    replicas.take_batch(_batch(gone=(_key("v6only", "EndpointSlice", "mizzen-system"),)))
    assert replicas.addresses() == ("10.0.0.2:15016",)


# The row


def _ends(days: int) -> Certificates:
    end = NOW + timedelta(days=days)
    return Certificates(expire=end, next_rotation=end - timedelta(days=1))


def _mesh(*reports: Report, days: int = 3_000) -> Mesh:
    return Mesh(reports=reports, certificates=_ends(days), now=NOW)


FINE: Final = Report(
    replica="a",
    proxies=2,
    up_to_date=2,
    envoys=(("1.40.0", 2),),
    slowest="cart.shop",
    slowest_s=0.0412,
    convergence_p99_s=0.0237,
    snapshot_bytes=1_234_567,
)


def test_the_row_is_the_sum_of_all_replicas() -> None:
    """Numbers that people read, to as many digits as they mean something."""
    other = Report(replica="b", proxies=3, up_to_date=1, envoys=(("1.39.0", 1), ("1.40.0", 2)))
    row = document(replace(_mesh(FINE, other), objects=4))
    assert (row["ready"], row["proxies"], row["upToDate"], row["rejecting"]) == ("True", 5, 3, 0)
    assert row["versions"] == "1.39.0 (1), 1.40.0 (4)"
    assert (row["convergenceP99"], row["slowestProxy"]) == ("24 ms", "cart.shop 41 ms")
    assert (row["snapshotSize"], row["objects"]) == ("1.2 MB", 4)
    assert [one["isLeader"] for one in row["replicas"]] == [True, False]


def test_the_row_has_the_fields_that_the_definition_has() -> None:
    """Neither would an API server drop one, nor does one stay from before."""
    known = {info.alias or name for name, info in MeshStatusStatus.model_fields.items()}
    assert set(document(_mesh(FINE))) - {"conditions"} == known


@pytest.mark.parametrize(
    ("mesh", "reason"),
    [
        (_mesh(FINE), "AllIsWell"),
        (_mesh(FINE, Report(replica="b", rejecting=1)), "Rejecting"),
        (replace(_mesh(FINE), silent=("10.0.0.2:15016",)), "ReplicaSilent"),
        (_mesh(FINE, days=6), "CertificateEnds"),
        (_mesh(Report(replica="a", proxies=1, slowest="x.y", slowest_s=31.0)), "ProxyBehind"),
        (_mesh(Report(replica="a", proxies=1, slowest="x.y", slowest_s=2.0)), "AllIsWell"),
    ],
)
def test_the_mesh_is_ready_unless_somebody_has_to_do_something(mesh: Mesh, reason: str) -> None:
    """Why it is not stands in the condition."""
    row = document(mesh)
    assert row["conditions"][0]["reason"] == reason
    assert row["ready"] == row["conditions"][0]["status"] == str(reason == "AllIsWell")


@pytest.mark.parametrize(
    ("lifetime", "left", "ending", "urgent"),
    [
        (timedelta(days=3650), timedelta(days=31), False, False),
        (timedelta(days=3650), timedelta(days=29), True, False),
        (timedelta(days=3650), timedelta(days=6), True, True),
        (timedelta(days=90), timedelta(days=25), False, False),
        (timedelta(days=90), timedelta(days=20), True, False),
        (timedelta(hours=24), timedelta(hours=7), False, False),
        (timedelta(hours=24), timedelta(hours=5), True, False),
        (timedelta(hours=24), timedelta(hours=2), True, True),
    ],
)
def test_a_certificate_ends_soon_by_its_own_measure(
    lifetime: timedelta, left: timedelta, *, ending: bool, urgent: bool
) -> None:
    """One that lives for a day and is replaced in time is nobody's business."""
    ends = Certificates(expire=NOW + left, next_rotation=NOW, lifetime=lifetime)
    assert (ends.is_ending(NOW), ends.is_urgent(NOW)) == (ending, urgent)


def test_what_is_wrong_is_listed_with_the_worst_first_and_what_to_do() -> None:
    """Refusals, findings, pods without sidecars, silence and certificates, each once."""
    refused = Report(replica="a", rejected=((REVIEWS, ("bad regex",)),))
    row = document(
        replace(
            _mesh(refused, days=20),
            silent=("10.0.0.2:15016",),
            uninjected=("shop/a",),
            wrong={REVIEWS: (_error(REVIEWS),)},
        )
    )
    codes = [one["code"] for one in row["problems"]]
    assert codes == ["MZ0501", "MZ0103", "MZ0602", "MZ0601", "MZ0603"]
    assert (row["issues"], row["errors"], row["warnings"]) == (5, 2, 3)
    assert all(one["remedy"] for one in row["problems"])
    assert row["uninjected"] == ["shop/a"]
