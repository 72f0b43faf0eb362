"""MeshStatus (mizzen.dev): the one row that says how the mesh is. The control plane writes it, nobody else.

Its ``spec`` is empty: there is one object, named ``mizzen``, and all of it is status.
"""

from __future__ import annotations

from pydantic import Field

from mizzen.api.base import ApiModel, Count


class MeshProblem(ApiModel):
    """One thing that is wrong, and what to do."""

    severity: str = Field(default="", description="error, warning or info.")
    code: str = Field(default="", description="Of docs/diagnostics.md, such as MZ0301.")
    object: str = Field(default="", description="Kind and namespace/name.")
    field: str = Field(default="", description="The field of the object.")
    message: str = Field(default="", description="What is wrong.")
    remedy: str = Field(default="", description="What to do.")


class MeshReplica(ApiModel):
    """One replica of the control plane."""

    name: str = Field(description="Its pod.")
    proxies: Count = Field(default=0, description="Proxies that are connected to it.")
    up_to_date: Count = Field(default=0, description="Those that have all they are to have.")
    is_leader: bool = Field(default=False, description="Whether it is the one that writes status.")
    version: str = Field(default="", description="Its version of Mizzen.")
    revision: Count = Field(default=0, description="How many rounds of changes it has compiled.")


class MeshCertificates(ApiModel):
    """When certificates end."""

    roots_expire: str = Field(default="", description="When the first of the roots ends.")
    next_rotation: str = Field(default="", description="When the authority acts next.")


class MeshStatusStatus(ApiModel):
    """What the control plane says of the mesh."""

    ready: str = Field(default="", description="True, or False where something is to be done.")
    proxies: Count = Field(default=0, description="Connected proxies, of all replicas.")
    up_to_date: Count = Field(default=0, description="Those that have all they are to have.")
    rejecting: Count = Field(default=0, description="Those that refuse something.")
    certificate_expiry: str = Field(
        default="", description="When the first certificate that matters ends."
    )
    convergence_p99: str = Field(
        default="",
        alias="convergenceP99",
        description="From a change to the last proxy's acknowledgement, 99 of 100 changes.",
    )
    issues: Count = Field(default=0, description="Errors and warnings on objects.")
    slowest_proxy: str = Field(default="", description="The proxy that acknowledges last.")
    versions: str = Field(default="", description="Versions of Envoy, with how many have each.")
    snapshot_size: str = Field(default="", description="Size of what all proxies are to have.")
    objects: Count = Field(default=0, description="Objects in force.")
    errors: Count = Field(default=0, description="Objects that are not in force as written.")
    warnings: Count = Field(default=0, description="Warnings on objects.")
    certificates: MeshCertificates | None = Field(default=None, description="When they end.")
    replicas: list[MeshReplica] = Field(
        default_factory=list, description="The control plane's replicas."
    )
    problems: list[MeshProblem] = Field(
        default_factory=list, description="What is wrong, the worst first, and what to do."
    )
    uninjected: list[str] = Field(
        default_factory=list, description="Pods that should have a sidecar and have none."
    )
