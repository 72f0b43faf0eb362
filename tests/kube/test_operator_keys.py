"""Where the authority's keys are, and which replica may write, as the API server keeps both."""

from __future__ import annotations

import asyncio
import io
from base64 import b64encode
from typing import TYPE_CHECKING

import pytest

from mizzen.identity import DEFAULT_TRUST_DOMAIN, SpiffeId
from mizzen_certs import (
    Authority,
    CaPolicy,
    MemoryStore,
    PluggedAuthority,
    SecretBytes,
    StoreConflict,
    StoreCorrupt,
    StoreError,
)
from mizzen_certs.sign import private_pem
from mizzen_operator.kube.authority import PLUGGED, open_authority
from mizzen_operator.kube.client import ApiClient, ApiError
from mizzen_operator.kube.connection import from_kubeconfig
from mizzen_operator.kube.keys import SecretStore
from mizzen_operator.kube.lease import LEASE_NAME, Lease
from mizzen_operator.kube.paths import SECRETS, path
from mizzen_operator.kube.reviews import TokenReviews
from mizzen_operator.logs import Log
from mizzen_xds.authn import PodIdentity
from mizzen_xds.errors import UnauthenticatedError
from tests.support.cluster_objects import ensure_namespace
from tests.support.operated import eventually, token_for

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from mizzen_certs import Issuing
    from mizzen_operator.kube.connection import Connection
    from tests.support.clock import ManualClock
    from tests.support.kube_api import ApiServer

pytestmark = pytest.mark.kube

_CART = SpiffeId(trust_domain=DEFAULT_TRUST_DOMAIN, namespace="shop", service_account="cart")


@pytest.fixture
def connection(api_server: ApiServer) -> Connection:
    """A way to the API server."""
    return from_kubeconfig(api_server.kubeconfig)


async def test_of_two_that_found_at_once_one_wins(api: ApiClient, connection: Connection) -> None:
    """And the other takes over what the first has made."""
    home = await _namespace(api, "keys-found")
    first, second = SecretStore(connection, home), SecretStore(connection, home)
    assert await asyncio.to_thread(first.load) is None
    document = SecretBytes(b"first")
    await asyncio.to_thread(lambda: first.save(document, replacing=None))
    with pytest.raises(StoreConflict):
        await asyncio.to_thread(lambda: second.save(SecretBytes(b"second"), replacing=None))
    assert await asyncio.to_thread(second.load) == document


async def test_of_two_that_rotate_at_once_one_is_told_to_look_again(
    api: ApiClient, connection: Connection
) -> None:
    """Neither overwrites the other's root."""
    home = await _namespace(api, "keys-rotate")
    first, second = SecretStore(connection, home), SecretStore(connection, home)
    founded = SecretBytes(b"founded")
    await asyncio.to_thread(lambda: first.save(founded, replacing=None))
    await asyncio.to_thread(second.load)
    await asyncio.to_thread(lambda: first.save(SecretBytes(b"rotated"), replacing=founded))
    with pytest.raises(StoreConflict):
        await asyncio.to_thread(lambda: second.save(SecretBytes(b"other"), replacing=founded))
    with pytest.raises(StoreConflict):
        await asyncio.to_thread(lambda: first.save(SecretBytes(b"x"), replacing=founded))


async def test_a_replica_follows_what_another_has_rotated(
    api: ApiClient, connection: Connection, clock: ManualClock
) -> None:
    """Without doing anything of its own."""
    home = await _namespace(api, "keys-follow")

    def opened() -> Authority:
        return Authority.open(SecretStore(connection, home), DEFAULT_TRUST_DOMAIN, clock)

    leader = await asyncio.to_thread(opened)
    follower = await asyncio.to_thread(opened)
    assert leader.bundle() == follower.bundle()
    await asyncio.to_thread(leader.rotate_root)
    events = await asyncio.to_thread(follower.follow)
    assert events.bundle_changed
    assert not events.steps
    assert leader.bundle() == follower.bundle()
    assert not await asyncio.to_thread(follower.follow)


async def test_a_store_that_cannot_be_reached_says_so(
    tmp_path: Path, api_server: ApiServer
) -> None:
    """An authority goes on with what it has."""
    file = tmp_path / "config"
    file.write_text(
        api_server.kubeconfig.read_text().replace(api_server.url, "https://127.0.0.1:1")
    )
    store = SecretStore(from_kubeconfig(file), "default")
    with pytest.raises(StoreError, match="Unreachable"):
        await asyncio.to_thread(store.load)


@pytest.mark.parametrize("layout", ["istio", "cert-manager"])
async def test_a_plugged_in_authority_is_taken_instead(
    api: ApiClient, connection: Connection, clock: ManualClock, layout: str
) -> None:
    """In either layout; nothing of our own is made then."""
    home = await _namespace(api, f"keys-{layout}")
    made = Authority.open(MemoryStore(), DEFAULT_TRUST_DOMAIN, clock)
    issuer, roots = made.held.issuer_pem, made.bundle().roots_pem
    key = _key_of(made)
    data = (
        {
            "ca-cert.pem": issuer,
            "ca-key.pem": key,
            "root-cert.pem": roots,
            "cert-chain.pem": issuer + roots,
        }
        if layout == "istio"
        else {"tls.crt": issuer, "tls.key": key, "ca.crt": roots}
    )
    await _secret(api, home, data)
    authority = await asyncio.to_thread(_open, connection, home, clock)
    assert isinstance(authority, PluggedAuthority)
    assert authority.bundle().roots_pem == roots
    assert authority.issue(_CART).chain_pem.endswith(issuer)
    with pytest.raises(ApiError):
        await api.get(SECRETS.path(home, "mizzen-ca"))
    await api.delete(SECRETS.path(home, PLUGGED))
    with pytest.raises(StoreError, match="vanished"):
        await asyncio.to_thread(authority.tick)


async def test_a_secret_of_neither_layout_is_refused(
    api: ApiClient, connection: Connection, clock: ManualClock
) -> None:
    """A person decides: an authority of our own is not what was asked for."""
    home = await _namespace(api, "keys-neither")
    await _secret(api, home, {"ca.pem": b"PEM"})
    with pytest.raises(StoreCorrupt, match="neither"):
        await asyncio.to_thread(_open, connection, home, clock)


async def test_a_lease_has_one_holder_and_is_handed_over(
    api: ApiClient, api_server: ApiServer
) -> None:
    """The second waits for as long as the first renews, and not a moment longer than it must."""
    home = await _namespace(api, "lease")
    log = Log(io.StringIO())
    async with ApiClient.from_kubeconfig(api_server.kubeconfig) as other:
        first, second = Lease(api, home, "a", log), Lease(other, home, "b", log)
        keeping = [asyncio.create_task(first.run())]
        await eventually(_held(first))
        keeping.append(asyncio.create_task(second.run()))
        place = path("coordination.k8s.io/v1", "leases", home, LEASE_NAME)
        before = (await api.get(place))["spec"]["renewTime"]

        async def is_renewed() -> bool:
            return bool((await api.get(place))["spec"]["renewTime"] != before)

        await eventually(is_renewed)
        assert first.is_held()
        assert not second.is_held()
        # It goes on running for as long as it hands its proxies over, and must not take it back.
        await first.release()
        await eventually(_held(second))
        assert not first.is_held()
        async with asyncio.timeout(20):
            await keeping[0]
        keeping[1].cancel()
        await asyncio.gather(*keeping, return_exceptions=True)


async def test_a_holder_that_vanished_is_succeeded(api: ApiClient) -> None:
    """Once its Lease has lasted for as long as it said, by the successor's own clock."""
    home = await _namespace(api, "lease-vanished")
    spec = {
        "holderIdentity": "gone",
        "leaseDurationSeconds": 1,
        "renewTime": "2020-01-01T00:00:00.000000Z",
    }
    lease = {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": LEASE_NAME},
    }
    await api.create(path("coordination.k8s.io/v1", "leases", home), {**lease, "spec": spec})
    heir = Lease(api, home, "heir", Log(io.StringIO()))
    keeping = asyncio.create_task(heir.run())
    await eventually(_held(heir))
    keeping.cancel()
    await asyncio.gather(keeping, return_exceptions=True)
    found = await api.get(path("coordination.k8s.io/v1", "leases", home, LEASE_NAME))
    assert found["spec"]["holderIdentity"] == "heir"
    assert found["spec"]["leaseTransitions"] == 1


async def test_the_api_server_says_whose_a_token_is(api: ApiClient) -> None:
    """For our audience only; a bound one also says of which pod."""
    home = await _namespace(api, "reviews")
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "web"}}
    await api.create(path("v1", "serviceaccounts", home), account)
    spec = {"serviceAccountName": "web", "containers": [{"name": "app", "image": "app"}]}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web-0"}, "spec": spec}
    made = await api.create(path("v1", "pods", home), pod)
    reviews = TokenReviews(api, DEFAULT_TRUST_DOMAIN)
    web = SpiffeId(trust_domain=DEFAULT_TRUST_DOMAIN, namespace=home, service_account="web")
    assert await reviews.identity(await token_for(api, home, "web")) == web
    bound = await reviews.identity(await token_for(api, home, "web", pod=made))
    assert bound == PodIdentity(identity=web, pod="web-0")
    elsewhere = await token_for(api, home, "web", audience="istio-ca")
    assert await reviews.identity(elsewhere) is None
    assert await reviews.identity("nonsense") is None
    assert reviews.reviews_total == 4


async def test_without_an_api_server_no_token_is_good(
    tmp_path: Path, api_server: ApiServer
) -> None:
    """The proxy is told that nobody can be asked, and comes again."""
    file = tmp_path / "config"
    file.write_text(
        api_server.kubeconfig.read_text().replace(api_server.url, "https://127.0.0.1:1")
    )
    async with ApiClient.from_kubeconfig(file) as nowhere:
        reviews = TokenReviews(nowhere, DEFAULT_TRUST_DOMAIN)
        with pytest.raises(UnauthenticatedError, match="cannot be reviewed now"):
            await reviews.identity("token")
        assert reviews.failures_total == 1


def _held(lease: Lease) -> Callable[[], Awaitable[bool]]:
    async def is_held() -> bool:
        return lease.is_held()

    return is_held


def _open(connection: Connection, namespace: str, clock: ManualClock) -> Issuing:
    return open_authority(connection, namespace, DEFAULT_TRUST_DOMAIN, clock, policy=CaPolicy())


def _key_of(made: Authority) -> bytes:
    return private_pem(made.held.issuer.key).reveal()


async def _namespace(api: ApiClient, name: str) -> str:
    await ensure_namespace(api, name)
    return name


async def _secret(api: ApiClient, namespace: str, data: dict[str, bytes]) -> None:
    encoded = {name: b64encode(text).decode("ascii") for name, text in data.items()}
    item = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": PLUGGED}, "data": encoded}
    await api.create(SECRETS.path(namespace), item)
