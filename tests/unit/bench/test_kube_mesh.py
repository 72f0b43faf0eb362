"""What the benchmark on Kubernetes reads from an API server's metrics."""

from __future__ import annotations

from bench.kube_mesh import status_writes

_METRICS = """
apiserver_request_total{code="200",group="networking.istio.io",resource="virtualservices",scope="resource",subresource="status",verb="PATCH",version="v1"} 3
apiserver_request_total{code="201",group="networking.istio.io",resource="virtualservices",scope="resource",subresource="",verb="POST",version="v1"} 7
apiserver_request_total{code="200",group="mizzen.dev",resource="meshstatuses",scope="resource",subresource="status",verb="PATCH",version="v1alpha1"} 2
apiserver_request_total{code="200",group="",resource="pods",scope="resource",subresource="status",verb="PUT",version="v1"} 5000
apiserver_request_total{code="201",group="",resource="events",scope="resource",subresource="",verb="POST",version="v1"} 1
apiserver_request_total{code="200",group="networking.istio.io",resource="virtualservices",scope="cluster",subresource="status",verb="GET",version="v1"} 9
"""


def test_only_writes_of_what_people_look_at_are_counted() -> None:
    """Status of the mesh's objects and Events; neither reads nor what others write."""
    assert status_writes(_METRICS) == {"virtualservices": 3, "meshstatuses": 2, "events": 1}
