"""What injection needs to know besides the pod: images, names and defaults, the same for the whole mesh."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from importlib.metadata import version
from typing import TYPE_CHECKING, Final

from mizzen.capture import CaptureConfig
from mizzen.names import DEFAULT_DOMAIN, DEFAULT_REGISTRY
from mizzen.render.control_plane import Endpoint, WatchedToken, roots_document, token_document

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mizzen.render.control_plane import ControlPlane

SIDECAR_IMAGE: Final = "envoyproxy/envoy:distroless-v1.40.0"
XDS_PORT: Final = 15012

ROOT_FOLDER: Final = "/var/run/secrets/mizzen"
ROOT_KEY: Final = "root-cert.pem"
ROOT_CONFIG_MAP: Final = "mizzen-ca-root-cert"
TOKEN_FOLDER: Final = "/var/run/secrets/tokens"  # noqa: S105 - a folder, as all of Kubernetes' are
TOKEN_NAME: Final = "mizzen-token"  # noqa: S105 - a file's name
TOKEN_DOCUMENT: Final = "token.json"  # noqa: S105 - a file's name
ROOTS_DOCUMENT: Final = "roots.json"
TOKEN_AUDIENCE: Final = "mizzen-ca"  # noqa: S105 - whom the token is for


def init_image() -> str:
    """Return the image of the init container that belongs to this version of Mizzen."""
    return f"mizzen/init:{version('mizzen')}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """What a proxy asks for and is held to; an empty text leaves the field away."""

    cpu_request: str = "100m"
    memory_request: str = "128Mi"
    cpu_limit: str = "2000m"
    memory_limit: str = "1024Mi"


@dataclass(frozen=True, slots=True, kw_only=True)
class InjectSettings:
    """The mesh's side of injection.

    Attributes:
        namespace: Of the control plane, which gives it its DNS name.
        revision: Which ``istio.io/rev`` is ours; ``default`` answers to ``istio-injection`` too.
        native_sidecars: Whether the cluster keeps init containers running (Kubernetes 1.29).
        sleep_action: Whether it knows ``preStop: sleep`` (Kubernetes 1.30).
        hold_seconds: How long an application that has no preStop hook goes on serving after its pod's end
            began, so that the last client has learnt of it by then; 0 ends it at once. A second is
            enough for proxies; the default leaves room for API servers under load.
        linger_seconds: How long a proxy that is an ordinary container outlasts the begin of the end.
        enabled_by_default: Whether namespaces that say nothing are injected.
        never, always: Labels that decide where the pod's own label does not; each a set of pairs.
        ipv6: Whether pods' first addresses are IPv6.
        templates: More templates (jinja2) by name, for ``inject.istio.io/templates``.
    """

    namespace: str = "mizzen-system"
    revision: str = "default"
    domain: str = DEFAULT_DOMAIN
    mesh_id: str = DEFAULT_DOMAIN
    cluster_id: str = DEFAULT_REGISTRY
    sidecar_image: str = SIDECAR_IMAGE
    init_image: str = field(default_factory=init_image)
    image_pull_policy: str = ""
    image_pull_secrets: tuple[str, ...] = ()
    resources: Resources = field(default_factory=Resources)
    log_level: str = "warning"
    native_sidecars: bool = True
    sleep_action: bool = True
    hold_seconds: int = 5
    linger_seconds: int = 5
    enabled_by_default: bool = False
    never: tuple[tuple[tuple[str, str], ...], ...] = ()
    always: tuple[tuple[tuple[str, str], ...], ...] = ()
    merge_metrics: bool = True
    rewrite_probes: bool = True
    capture: CaptureConfig = field(default_factory=CaptureConfig)
    ipv6: bool = False
    templates: Mapping[str, str] = field(default_factory=dict)

    @property
    def control_plane(self) -> ControlPlane:
        """How a sidecar reaches the control plane.

        The address is the Service's whole name: the name in the certificate would depend on the search
        list of a pod, which it can change.
        """
        name = f"mizzen.{self.namespace}.svc"
        return WatchedToken(
            endpoint=Endpoint(host=f"{name}.{self.domain}", port=XDS_PORT),
            server_name=name,
            roots_document=f"{TOKEN_FOLDER}/{ROOTS_DOCUMENT}",
            token_document=f"{TOKEN_FOLDER}/{TOKEN_DOCUMENT}",
        )

    @property
    def documents(self) -> dict[str, tuple[str, str]]:
        """The files by which Envoy finds roots and token: name -> annotation that has the text, text.

        They come with the pod, by the downward API, for an Envoy takes no such text as an argument.
        """
        name = f"mizzen.{self.namespace}.svc"
        return {
            ROOTS_DOCUMENT: (
                "sidecar.mizzen.dev/roots",
                roots_document(f"{ROOT_FOLDER}/{ROOT_KEY}", name),
            ),
            TOKEN_DOCUMENT: (
                "sidecar.mizzen.dev/token",
                token_document(f"{TOKEN_FOLDER}/{TOKEN_NAME}"),
            ),
        }

    def for_version(self, major: int, minor: int) -> InjectSettings:
        """Return the settings for an API server's version: what older ones refuse is not asked for."""
        known = (major, minor)
        return replace(
            self,
            native_sidecars=self.native_sidecars and known >= (1, 29),
            sleep_action=self.sleep_action and known >= (1, 30),
        )
