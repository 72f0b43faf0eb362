"""The API server that the suite stands on is a real one, and its outages are real outages."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from e2e.cluster.process import DaemonFailed
from tests.support.kube_api import ApiServer

if TYPE_CHECKING:
    from pathlib import Path


def test_it_serves_what_is_written(api_server: ApiServer) -> None:
    """An object that was applied is read back with what the server adds."""
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "served"}}
    api_server.apply(namespace)
    found = json.loads(api_server.kubectl("get", "namespace", "served", "-o", "json"))
    assert found["metadata"]["uid"]


def test_it_issues_tokens_for_an_audience_and_reviews_them(api_server: ApiServer) -> None:
    """Projected tokens and TokenReview work as in a cluster."""
    api_server.kubectl("create", "serviceaccount", "reviewed")
    token = api_server.kubectl("create", "token", "reviewed", "--audience=mizzen-ca").strip()
    review = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenReview",
        "spec": {"token": token, "audiences": ["mizzen-ca"]},
    }
    answer = api_server.kubectl("create", "-f", "-", "-o", "json", given=json.dumps(review))
    assert json.loads(answer)["status"]["user"]["username"].endswith(":reviewed")


def test_it_survives_an_outage_and_a_restart_of_etcd(tmp_path: Path) -> None:
    """What was written is there after either, at the same address."""
    with ApiServer(tmp_path) as server:
        server.kubectl("create", "configmap", "kept", "--from-literal=a=b")
        server.stop()
        assert "refused" in server.kubectl("get", "configmap", "kept", check=False)
        server.start()
        server.restart_etcd()
        assert "kept" in server.kubectl("get", "configmap", "kept", "-o", "name")


def test_a_server_that_cannot_start_says_why(tmp_path: Path) -> None:
    """The end of its log is in the error."""
    with pytest.raises(DaemonFailed, match="unknown flag"), ApiServer(tmp_path, flags=("--wrong",)):
        pass
