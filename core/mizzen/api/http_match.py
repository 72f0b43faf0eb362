"""The parts of ``http[]`` that say which requests a rule is for (VirtualService)."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from mizzen.api.base import ApiModel, NotTranslated, Port


class StringMatch(ApiModel):
    """How a string is compared; at most one field is set (Istio: StringMatch)."""

    exact: str | None = Field(default=None, description="The whole string.")
    prefix: str | None = Field(default=None, description="Its beginning.")
    regex: str | None = Field(
        default=None, max_length=1024, description="An RE2 expression for the whole string."
    )


class HttpMatchRequest(ApiModel):
    """An alternative of a rule; all its fields must hold (Istio: HTTPMatchRequest)."""

    name: str = Field(default="", description="A name for it, for people.")
    uri: StringMatch | None = Field(default=None, description="The path, without the query.")
    scheme: StringMatch | None = Field(default=None, description="The URI's scheme.")
    method: StringMatch | None = Field(default=None, description="The method.")
    authority: StringMatch | None = Field(default=None, description="Host or :authority.")
    headers: dict[str, StringMatch] = Field(
        default_factory=dict, description="Headers; an empty match asks only for presence."
    )
    without_headers: dict[str, StringMatch] = Field(
        default_factory=dict, description="Headers that must not match."
    )
    query_params: dict[str, StringMatch] = Field(
        default_factory=dict, description="Query parameters."
    )
    ignore_uri_case: bool = Field(
        default=False, description="Compare an exact or prefix uri without case."
    )
    port: Port | None = Field(default=None, description="The port that the client addresses.")
    gateways: list[str] = Field(
        default_factory=list, description="Where it applies, out of the VirtualService's gateways."
    )
    source_labels: dict[str, str] = Field(
        default_factory=dict, description="Labels of the clients it applies to."
    )
    source_namespace: str = Field(default="", description="Namespace of the clients.")
    stat_prefix: str = Field(default="", description="Prefix of the route's statistics.")


class L4MatchAttributes(ApiModel):
    """An alternative of a rule of ``tcp`` (Istio: L4MatchAttributes)."""

    destination_subnets: list[str] = Field(
        default_factory=list, description="Addresses or CIDRs of the destination."
    )
    port: Port | None = Field(default=None, description="The port that the client addresses.")
    source_labels: dict[str, str] = Field(
        default_factory=dict, description="Labels of the clients it applies to."
    )
    gateways: list[str] = Field(
        default_factory=list, description="Where it applies, out of the VirtualService's gateways."
    )
    source_namespace: str = Field(default="", description="Namespace of the clients.")
    source_subnet: Annotated[
        str, NotTranslated("Istio only reserves it; connections are not told by it", for_good=True)
    ] = Field(default="", description="CIDR of the source; reserved.")


class TlsMatchAttributes(ApiModel):
    """An alternative of a rule of ``tls`` (Istio: TLSMatchAttributes)."""

    sni_hosts: list[str] = Field(min_length=1, description="Server names, within the hosts.")
    destination_subnets: list[str] = Field(
        default_factory=list, description="Addresses or CIDRs of the destination."
    )
    port: Port | None = Field(default=None, description="The port that the client addresses.")
    source_labels: dict[str, str] = Field(
        default_factory=dict, description="Labels of the clients it applies to."
    )
    gateways: list[str] = Field(
        default_factory=list, description="Where it applies, out of the VirtualService's gateways."
    )
    source_namespace: str = Field(default="", description="Namespace of the clients.")
