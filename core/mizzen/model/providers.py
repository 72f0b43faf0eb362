"""Services outside of a proxy that policies ask (Istio: MeshConfig.ExtensionProvider)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class BodyInCheck:
    """How much of a request's body is shown to who decides; ``raw`` is as bytes, not as text."""

    max_bytes: int
    partial: bool = False
    raw: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpCheck:
    """How somebody is asked over HTTP, and what of the answer goes on; names may have a ``*`` at an end.

    Attributes:
        shown: Headers of the request that are shown.
        added: Headers that are added to the question.
        to_upstream: Headers of an answer that allows, which the application gets.
        to_client: Headers of an answer that refuses, which the client gets.
        to_client_on_allow: Headers of an answer that allows, which the client gets.
    """

    path_prefix: str = ""
    shown: tuple[str, ...] = ()
    added: tuple[tuple[str, str], ...] = ()
    to_upstream: tuple[str, ...] = ()
    to_client: tuple[str, ...] = ()
    to_client_on_allow: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Authorizer:
    """Who decides of CUSTOM policies (Istio: EnvoyExternalAuthorizationHttp/GrpcProvider).

    Attributes:
        host: The service's host; ``namespace`` is empty where any that gives it will do.
        http: How it is asked over HTTP; None is gRPC.
        timeout: None is Istio's 10 minutes.
        fail_open: Whether requests pass that nobody could decide of; else they get ``status_on_error``,
            0 for 403.
        clear_route_cache: Whether the route is chosen anew with the headers that the answer brought.
    """

    name: str
    host: str
    namespace: str = ""
    port: int
    http: HttpCheck | None = None
    timeout: timedelta | None = None
    fail_open: bool = False
    status_on_error: int = 0
    clear_route_cache: bool = False
    body: BodyInCheck | None = None
