"""Every check there is, in the order in which they are shown."""

from __future__ import annotations

from typing import Final

from mizzen_cli.checks import after, before
from mizzen_cli.checks.run import Check

BEFORE: Final = (
    Check(
        id="api-reachable",
        proves="the API server answers",
        remedy="Correct the kubeconfig, or start the cluster: kubectl version has to work.",
        look=before.api_reachable,
    ),
    Check(
        id="api-version",
        proves="Kubernetes is new enough: 1.25 or later",
        remedy="Upgrade the cluster: the kinds' rules need CEL.",
        requires=("api-reachable",),
        look=before.api_version,
    ),
    Check(
        id="native-sidecars",
        proves="the kubelet knows native sidecars: 1.29 or later",
        remedy="Upgrade the cluster, or live with sidecars as ordinary containers: Jobs need care.",
        requires=("api-reachable",),
        is_warning=True,
        look=before.native_sidecars,
    ),
    Check(
        id="may-install",
        proves="you may install what the chart has",
        remedy="Ask for the rights named, or have an administrator install the chart.",
        requires=("api-reachable",),
        look=before.may_install,
    ),
    Check(
        id="no-other-injector",
        proves="no other mesh injects sidecars",
        remedy="Take the namespaces out of the other mesh first: two sidecars in a pod undo each other.",
        requires=("api-reachable",),
        is_warning=True,
        look=before.no_other_injector,
    ),
    Check(
        id="kinds-free",
        proves="nobody else has installed the kinds of Istio",
        remedy="Install the chart with crds.install=false: the kinds that are there serve as well.",
        requires=("api-reachable",),
        is_warning=True,
        look=before.kinds_free,
    ),
)

AFTER: Final = (
    Check(
        id="kinds-served",
        proves="every kind of the mesh is served",
        remedy="Install the chart with crds.install=true, or apply crds/.",
        requires=("api-reachable",),
        look=after.kinds_served,
    ),
    Check(
        id="replicas-ready",
        proves="every replica of the control plane is ready",
        remedy="kubectl -n mizzen-system describe pods, and logs: the reason stands there.",
        requires=("api-reachable",),
        look=after.replicas_ready,
    ),
    Check(
        id="one-version",
        proves="all replicas and this command have the same version",
        remedy="Finish the upgrade, or install the command of the control plane's version.",
        requires=("replicas-ready",),
        is_warning=True,
        look=after.one_version,
    ),
    Check(
        id="leader-there",
        proves="one replica holds the Lease, so that status and certificates are looked after",
        remedy="Look at the replicas' logs: the Lease mizzen could not be renewed.",
        requires=("replicas-ready",),
        look=after.leader_there,
    ),
    Check(
        id="webhooks-there",
        proves="API servers ask the control plane for injection and validation",
        remedy="Look at the leader's log: it makes and keeps both configurations.",
        requires=("replicas-ready",),
        look=after.webhooks_there,
    ),
    Check(
        id="roots-there",
        proves="every namespace has the mesh's roots",
        remedy="Look at the leader's log: it writes the ConfigMap mizzen-ca-root-cert.",
        requires=("replicas-ready",),
        look=after.roots_there,
    ),
    Check(
        id="mesh-ready",
        proves="the mesh says that all is well",
        remedy="kubectl describe mesh mizzen lists what is wrong, and what to do.",
        requires=("replicas-ready", "kinds-served"),
        look=after.mesh_ready,
    ),
    Check(
        id="proxies-up-to-date",
        proves="every proxy has all that it is to have, and refuses nothing",
        remedy="mizzen proxies shows which one has not, and Envoy's words where it refuses.",
        requires=("mesh-ready",),
        is_warning=True,
        look=after.proxies_up_to_date,
    ),
    Check(
        id="sidecars-there",
        proves="every pod that should have a sidecar has one",
        remedy="Restart the pods: kubectl rollout restart deployment. They were made without the webhook.",
        requires=("mesh-ready",),
        is_warning=True,
        look=after.sidecars_there,
    ),
    Check(
        id="objects-sound",
        proves="nothing is wrong with any object of the mesh",
        remedy="kubectl describe mesh mizzen lists the objects; each says in its status what to do.",
        link="docs/diagnostics.md",
        requires=("mesh-ready",),
        is_warning=True,
        look=after.objects_sound,
    ),
)
