"""Whose a token is, as the API server says, and whether the node that shows it is that token's pod.

Source: authentication.k8s.io/v1, TokenReview; «Service account tokens», bound tokens.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from mizzen.identity import SpiffeId
from mizzen_operator.kube.client import ApiError
from mizzen_operator.kube.paths import path
from mizzen_xds.authn import PodIdentity
from mizzen_xds.errors import UnauthenticatedError

if TYPE_CHECKING:
    from mizzen.identity import TrustDomain
    from mizzen_operator.kube.client import ApiClient

AUDIENCE: Final = "mizzen-ca"
_PATH: Final = path("authentication.k8s.io/v1", "tokenreviews")
_ACCOUNT: Final = "system:serviceaccount:"
_POD: Final = "authentication.kubernetes.io/pod-name"
# When a thousand proxies come at once, the API server is asked this many questions at a time.
_AT_ONCE: Final = 32


class TokenReviews:
    """Has tokens reviewed by the API server."""

    def __init__(self, api: ApiClient, trust_domain: TrustDomain) -> None:
        self._api = api
        self._trust_domain = trust_domain
        self._room = asyncio.Semaphore(_AT_ONCE)
        self.reviews_total = 0
        self.failures_total = 0

    async def identity(self, token: str) -> SpiffeId | PodIdentity | None:
        """Return whose token it is, None when it is nobody's or for another audience than ours.

        Raises:
            UnauthenticatedError: Nobody can be asked now.
        """
        review = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenReview",
            "spec": {"token": token, "audiences": [AUDIENCE]},
        }
        self.reviews_total += 1
        try:
            async with self._room:
                answer = await self._api.create(_PATH, review)
        except ApiError as error:
            self.failures_total += 1
            raise UnauthenticatedError(f"the token cannot be reviewed now: {error}") from error
        return self._read(answer.get("status") or {})

    def _read(self, status: dict[str, Any]) -> SpiffeId | PodIdentity | None:
        user = status.get("user") or {}
        name = str(user.get("username", ""))
        namespace, _, account = name.removeprefix(_ACCOUNT).partition(":")
        is_ours = AUDIENCE in (status.get("audiences") or ())
        if not (status.get("authenticated") and is_ours and name.startswith(_ACCOUNT) and account):
            return None
        identity = SpiffeId(
            trust_domain=self._trust_domain, namespace=namespace, service_account=account
        )
        pods = (user.get("extra") or {}).get(_POD) or ()
        return PodIdentity(identity=identity, pod=pods[0]) if pods else identity
