"""Documents and objects become values and diagnostics."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from textwrap import dedent

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mizzen.api.documents import Document
from mizzen.api.parse import parse_document, parse_object
from mizzen.diagnostics import UNKNOWN_KIND, Diagnostic
from mizzen.model.kube import Namespace, Pod, Service
from mizzen.model.world import Parsed
from mizzen.names import ObjectKey, Registry
from tests.unit.api.reading import read_one, read_text, told, value

pytestmark = pytest.mark.unit

_SERVICE = """
apiVersion: v1
kind: Service
metadata: {name: a}
spec: {ports: [{port: 80}]}
"""


def _only(text: str) -> Diagnostic:
    (found,) = read_text(text)
    assert isinstance(found, Diagnostic)
    return found


def test_an_object_without_namespace_is_of_the_default_one() -> None:
    """Unless its kind has no namespaces."""
    assert read_one(_SERVICE).key == ObjectKey(Registry("Kubernetes"), "Service", "default", "a")
    namespace = read_one("{apiVersion: v1, kind: Namespace, metadata: {name: shop, namespace: x}}")
    assert namespace.key.namespace == ""
    assert isinstance(value(namespace), Namespace)


def test_broken_yaml_is_told_with_its_line_and_hurts_no_other_document() -> None:
    """The diagnostic has no object, because nobody can say which it would be."""
    first, broken, last = read_text(_SERVICE + "---\na: [\n---" + _SERVICE)
    assert isinstance(first, Parsed)
    assert isinstance(last, Parsed)
    assert isinstance(broken, Diagnostic)
    assert broken.code.id == "MZ0101"
    assert broken.object is None
    assert str(broken.location) == "mesh.yaml:8"
    assert broken.advice


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("just text", ""),
        ("[1, 2]", ""),
        ("a: 1", "apiVersion"),
        ("{apiVersion: 1, kind: Service}", "apiVersion"),
        ("apiVersion: v1", "kind"),
        ("{apiVersion: v1, kind: Service}", "metadata.name"),
        ("{apiVersion: v1, kind: Service, metadata: {generateName: a-}}", "metadata.name"),
        ("{apiVersion: v1, kind: Service, metadata: {name: 7}}", "metadata.name"),
        ("{apiVersion: v1, kind: Service, metadata: [a]}", "metadata.name"),
    ],
)
def test_what_is_no_object_is_told_of(text: str, path: str) -> None:
    """With the field that would make it one."""
    found = _only(text)
    assert (found.code.id, found.path, found.object) == ("MZ0102", path, None)
    assert str(found.location) == "mesh.yaml:1"


def test_a_kind_that_is_not_handled_is_a_warning() -> None:
    """On the object, where it has a name; so is a kind of the same name and another group."""
    found = _only("{apiVersion: apps/v1, kind: Deployment, metadata: {name: a, namespace: b}}")
    assert found.code.id == "MZ0106"
    assert str(found.object) == "Deployment b/a"
    for version in ("gateway.networking.k8s.io/v1", "serving.knative.dev/v1"):
        other = _only(f"{{apiVersion: {version}, kind: Gateway, metadata: {{name: a}}}}")
        assert other.code.id == "MZ0106"
    assert _only("{apiVersion: apps/v1, kind: Deployment}").object is None


@pytest.mark.parametrize(
    ("version", "kind", "advice"),
    [
        ("networking.istio.io/v1", "VirtualServices", "Write VirtualService instead."),
        ("security.istio.io/v1", "authorizationpolicy", "Write AuthorizationPolicy instead."),
        ("networking.istio.io/v1", "Cucumber", UNKNOWN_KIND.remedy),
        ("v1", "ServiceBinding", UNKNOWN_KIND.remedy),
    ],
)
def test_a_misspelt_kind_is_told_of(version: str, kind: str, advice: str) -> None:
    """Where all kinds of a group are known, and one of them is near."""
    found = _only(f"{{apiVersion: {version}, kind: {kind}, metadata: {{name: a}}}}")
    assert (found.code, found.advice) == (UNKNOWN_KIND, advice)


@pytest.mark.parametrize(
    ("version", "kind", "advice"),
    [
        ("networking.istio.io/v2", "Gateway", "Write apiVersion: networking.istio.io/v1."),
        ("security.istio.io/v1", "Gateway", "Write apiVersion: networking.istio.io/v1."),
        (
            "security.istio.io/v1alpha3",
            "PeerAuthentication",
            "Write apiVersion: security.istio.io/v1.",
        ),
        ("v1", "EndpointSlice", "Write apiVersion: discovery.k8s.io/v1."),
        ("discovery.k8s.io/v1beta1", "EndpointSlice", "Write apiVersion: discovery.k8s.io/v1."),
        ("v2", "Service", "Write apiVersion: v1."),
    ],
)
def test_a_version_that_is_not_served_is_an_error(version: str, kind: str, advice: str) -> None:
    """That names the version to use, and keeps the last good one in force."""
    parsed = read_one(f"kind: {kind}\napiVersion: {version}\nmetadata: {{name: a}}\n")
    assert parsed.object is None
    assert told(parsed) == [("MZ0108", "apiVersion", 2)]
    assert parsed.diagnostics[0].advice == advice


@pytest.mark.parametrize("version", ["v1", "v1beta1", "v1alpha3"])
def test_every_version_that_istio_serves_means_the_same(version: str) -> None:
    """The value does not know the version."""
    text = f"""
        apiVersion: networking.istio.io/{version}
        kind: DestinationRule
        metadata: {{name: a}}
        spec: {{host: reviews}}
    """
    assert value(read_one(text)) == value(read_one(text.replace(version, "v1")))


@pytest.mark.parametrize("kind", ["List", "ServiceList"])
def test_a_list_is_its_items(kind: str) -> None:
    """With lines and paths of each item; a broken one hurts no other."""
    good, bad, odd = read_text(
        f"""\
        apiVersion: v1
        kind: {kind}
        items:
        - apiVersion: v1
          kind: Service
          metadata: {{name: a}}
        - apiVersion: v1
          kind: Service
          metadata: {{name: b}}
          spec: {{ports: [{{port: 0}}]}}
        - 7
        """
    )
    assert isinstance(good, Parsed)
    assert isinstance(bad, Parsed)
    assert isinstance(odd, Diagnostic)
    assert good.object is not None
    assert told(bad) == [("MZ0103", "spec.ports[0].port", 10)]
    assert odd.location is not None
    assert odd.location.line == 11


def test_a_key_that_stands_twice_is_an_error_on_the_second_line() -> None:
    """Kubernetes would silently take the last one."""
    parsed = read_one(
        """\
        apiVersion: v1
        kind: Service
        metadata: {name: a}
        spec:
          selector: {app: a}
          selector: {app: b}
        """
    )
    assert parsed.object is None
    assert told(parsed) == [("MZ0109", "spec.selector", 6)]


def test_an_unknown_field_is_a_warning_that_knows_the_nearest_one() -> None:
    """The object stays in force, without the field."""
    parsed = read_one(
        """\
        apiVersion: networking.istio.io/v1
        kind: VirtualService
        metadata: {name: a, lables: {x: y}}
        sepc: {}
        spec:
          hosts: [a]
          http:
          - timeOut: 5s
            retry_on: 5xx
            route:
            - {destination: {host: a, zzz: 1}}
        """
    )
    assert parsed.object is not None
    assert told(parsed) == [
        ("MZ0105", "metadata.lables", 3),
        ("MZ0105", "sepc", 4),
        ("MZ0105", "spec.http[0].timeOut", 8),
        ("MZ0105", "spec.http[0].retry_on", 9),
        ("MZ0105", "spec.http[0].route[0].destination.zzz", 11),
    ]
    messages = [each.message for each in parsed.diagnostics]
    assert messages[0] == "lables is not a field of ObjectMeta; did you mean labels?"
    assert messages[2] == "timeOut is not a field of HttpRule; did you mean timeout?"
    assert messages[4] == "zzz is not a field of Destination"
    assert parsed.diagnostics[1].advice == "Write spec instead."


def test_kubernetes_own_kinds_may_have_fields_that_do_not_matter() -> None:
    """A Pod has hundreds; only the metadata's are all known."""
    parsed = read_one(
        """
        apiVersion: v1
        kind: Pod
        metadata: {name: a}
        spec: {tolerations: [], containers: [{name: a, image: b, resources: {}}]}
        """
    )
    assert isinstance(value(parsed), Pod)


def test_a_status_and_the_marks_of_the_api_server_have_no_meaning() -> None:
    """Objects that differ in them only are equal."""
    plain = json.loads(
        json.dumps({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a"}})
    )
    marked = {
        **plain,
        "status": {"loadBalancer": {}},
        "metadata": {
            "name": "a",
            "uid": "1",
            "resourceVersion": "7",
            "generation": 3,
            "managedFields": [{"manager": "kubectl"}],
            "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}"},
        },
    }
    first, second = parse_object(plain), parse_object(marked)
    assert isinstance(first, Parsed)
    assert first == second


def test_an_object_from_the_api_server_has_no_lines() -> None:
    """Unless it is known which file it is from; nulls are as absent."""
    manifest = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": "a", "creationTimestamp": None},
        "addressType": "IPv4",
        "endpoints": None,
        "ports": [{"port": 0}],
    }
    parsed = parse_object(manifest, registry=Registry("east"))
    assert isinstance(parsed, Parsed)
    assert parsed.key.registry == "east"
    assert told(parsed) == [("MZ0103", "ports[0].port", 0)]
    named = parse_object(manifest, "mesh.yaml")
    assert isinstance(named, Parsed)
    assert told(named) == [("MZ0103", "ports[0].port", 1)]


def test_creation_decides_age() -> None:
    """As seconds since the epoch; a time without zone is refused."""
    text = "{apiVersion: v1, kind: Service, metadata: {name: a, creationTimestamp: %s}}"
    service = value(read_one(text % "2026-01-31T12:00:00Z"))
    assert isinstance(service, Service)
    assert service.meta.created_s == 1_769_860_800.0
    for wrong in ("yesterday", "2026-01-31T12:00:00", "7"):
        assert told(read_one(text % wrong)) == [("MZ0103", "metadata.creationTimestamp", 1)]


def test_a_time_may_come_as_one() -> None:
    """From a client that has parsed it already."""
    moment = datetime(2026, 1, 31, 12, tzinfo=UTC)
    metadata = {"name": "a", "creationTimestamp": moment}
    parsed = parse_object({"apiVersion": "v1", "kind": "Service", "metadata": metadata})
    assert isinstance(parsed, Parsed)
    assert parsed.object is not None
    assert parsed.object.meta.created_s == moment.timestamp()


@pytest.mark.parametrize(
    ("field", "message"),
    [
        ("selector: {app: 1.10}", "must be a string, not 1.1"),
        ("selector: {app: true}", "must be a string, not true"),
        ("selector: [app]", "must be a mapping, not a list"),
        ("ports: {port: 80}", "must be a list, not a mapping"),
        ("ports: [{port: '80'}]", "must be a whole number, not '80'"),
        ("ports: [{port: 80.5}]", "must be a whole number, not 80.5"),
        ("ports: [{port: true}]", "must be a whole number, not true"),
        ("ports: [{port: 65536}]", "must be at most 65535, not 65536"),
        ("ports: [http]", "must be a mapping, not 'http'"),
        ("ports: [{port: 80, protocol: tcp}]", "must be one of TCP, UDP, SCTP, not 'tcp'"),
        ("ports: [{}]", "port is required"),
        ("publishNotReadyAddresses: 'yes'", "must be true or false, not 'yes'"),
    ],
)
def test_messages_say_what_was_expected_and_what_was_found(field: str, message: str) -> None:
    """In words of YAML, not of Python."""
    parsed = read_one(
        f"{{apiVersion: v1, kind: Service, metadata: {{name: a}}, spec: {{{field}}}}}"
    )
    assert [each.message for each in parsed.diagnostics] == [message]


def test_a_secret_is_never_shown() -> None:
    """Not in values, and not in messages about them."""
    text = dedent(
        """
        apiVersion: v1
        kind: Secret
        metadata: {name: a}
        data: {key: "%%hunter2%%", other: 31337}
        stringData: {plain: 31337}
        """
    )
    parsed = read_one(text)
    assert told(parsed) == [
        ("MZ0103", "data.key", 5),
        ("MZ0103", "data.other", 5),
        ("MZ0103", "stringData.plain", 6),
    ]
    good = read_one(text.replace("%%hunter2%%", "aHVudGVyMg==").replace("31337", '"MzEz"'))
    for said in (repr(parsed), repr(good), str(good)):
        assert "hunter2" not in said
        assert "31337" not in said


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "hosts",
                    "http",
                    "route",
                    "match",
                    "uri",
                    "exact",
                    "destination",
                    "host",
                    "port",
                    "number",
                    "servers",
                    "tls",
                    "mode",
                    "rules",
                    "from",
                    "source",
                    "principals",
                    "when",
                    "key",
                    "values",
                    "trafficPolicy",
                    "loadBalancer",
                    "simple",
                    "endpoints",
                    "address",
                    "addresses",
                    "resolution",
                    "ports",
                    "name",
                    "protocol",
                    "selector",
                    "matchLabels",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
_KINDS = [
    ("networking.istio.io/v1", "VirtualService"),
    ("networking.istio.io/v1", "DestinationRule"),
    ("networking.istio.io/v1", "Gateway"),
    ("networking.istio.io/v1", "ServiceEntry"),
    ("networking.istio.io/v1", "WorkloadEntry"),
    ("security.istio.io/v1", "PeerAuthentication"),
    ("security.istio.io/v1", "AuthorizationPolicy"),
    ("v1", "Service"),
    ("v1", "Pod"),
    ("v1", "Secret"),
]


@given(st.sampled_from(_KINDS), _JSON)
def test_nothing_that_a_spec_may_hold_makes_reading_fail(
    kind: tuple[str, str], spec: object
) -> None:
    """It is an object, or it is told why not: silence without a value does not exist."""
    manifest = {"apiVersion": kind[0], "kind": kind[1], "metadata": {"name": "a"}, "spec": spec}
    parsed = parse_object(manifest)
    assert isinstance(parsed, Parsed)
    assert parsed.object is not None or parsed.diagnostics


@given(st.text(max_size=60))
def test_nothing_that_a_file_may_hold_makes_reading_fail(text: str) -> None:
    """Every answer is a value or a diagnostic."""
    for found in parse_document(Document(text, 1), "mesh.yaml"):
        assert isinstance(found, Parsed | Diagnostic)
