"""The files for Kubernetes with the KubeRay operator: a cluster that stays, and a job that brings its own."""

from typing import Any

from neuroiou_study.cluster.blocks import Block, document
from neuroiou_study.cluster.launcher import ORDER, RAY_VERSION, priority
from neuroiou_study.cluster.start import environment, growth
from neuroiou_study.spec.cluster import ClusterSpec, KubeSpec, KubeWorkersSpec

IN_IMAGE = "/home/ray/neuroiou-study"
"""Where `cluster/Dockerfile` puts this repository."""
_JOB = """One study on Kubernetes: the operator starts a cluster, runs the job, and ends the cluster. Made of a cluster
file by `neuroiou-study cluster render`: change that one. `entrypoint` names the study.

  neuroiou-study cluster check kuberay-rayjob.yaml
  kubectl apply -f kuberay-rayjob.yaml
  kubectl logs -f -l job-name={name}-study
  kubectl delete -f kuberay-rayjob.yaml

What is in the store stays: applied again under another metadata.name, the study goes on where it was. KubeRay 1.7 or
later. No secret is in this file."""
_CLUSTER = """A cluster on Kubernetes that stays, without workers while nobody asks for any. Made of a cluster file by
`neuroiou-study cluster render`: change that one.

  neuroiou-study cluster check kuberay-cluster.yaml
  kubectl apply -f kuberay-cluster.yaml
  kubectl port-forward service/{name}-head-svc 8265
  export RAY_AUTH_MODE=token
  export RAY_AUTH_TOKEN=$(kubectl get secret {name} -o jsonpath='{{.data.auth_token}}' | base64 -d)
  ray job submit --address http://127.0.0.1:8265 --working-dir . \\
    -- python jobs/run_study.py search_spaces/quickstart.yaml
  kubectl delete -f kuberay-cluster.yaml

KubeRay 1.7 or later. No secret is in this file; the operator makes the token."""


_NO_PRIVILEGES = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}


def render_cluster(spec: ClusterSpec, kube: KubeSpec) -> str:
    """A RayCluster."""
    return document(
        _CLUSTER.format(name=spec.name),
        [
            Block("", {"apiVersion": "ray.io/v1", "kind": "RayCluster", "metadata": _metadata(spec, kube, spec.name)}),
            Block(_CLUSTER_WHY, {"spec": _cluster(spec, kube)}),
        ],
    )


def render_job(spec: ClusterSpec, kube: KubeSpec) -> str:
    """A RayJob with a cluster of its own."""
    job = {
        "entrypoint": f"neuroiou-study run {IN_IMAGE}/search_spaces/quickstart.yaml",
        "runtimeEnvYAML": 'env_vars: {RAY_JOB_STOP_WAIT_TIME_S: "20"}\n',
        "submissionMode": "K8sJobMode",
        "shutdownAfterJobFinishes": True,
        "ttlSecondsAfterFinished": 600,
        "preRunningDeadlineSeconds": 3600,
        "activeDeadlineSeconds": 7 * 24 * 3600,
        "backoffLimit": 0,
        "submitterConfig": {"backoffLimit": 2},
        "rayClusterSpec": _cluster(spec, kube),
    }
    metadata = _metadata(spec, kube, f"{spec.name}-study")
    return document(
        _JOB.format(name=spec.name),
        [
            Block("", {"apiVersion": "ray.io/v1", "kind": "RayJob", "metadata": metadata}),
            Block(f"{_JOB_WHY} {_CLUSTER_WHY}", {"spec": job}),
        ],
    )


_JOB_WHY = (
    "Ends ten minutes after its study, after a week at the latest, and after an hour if it cannot even begin. SIGTERM"
    " leaves the study 20 seconds to keep what it has done."
)
_CLUSTER_WHY = (
    f"The head runs no work. Workers begin at none. {ORDER}"
    " Requests without the token are refused: the dashboard's port is open to the pods of the Kubernetes cluster, as"
    " the operator needs it. Pods are not root and gain no privileges."
)


def _metadata(spec: ClusterSpec, kube: KubeSpec, name: str) -> dict[str, Any]:
    return {"name": name, "namespace": kube.namespace, "labels": {"cluster": spec.name, **spec.tags}}


def _cluster(spec: ClusterSpec, kube: KubeSpec) -> dict[str, Any]:
    groups = sorted(kube.workers, key=lambda each: not each.spot)
    grown = growth((each.most, each) for each in groups)
    head_pod = _pod(spec, kube, "ray-head", spec.images.cpu, grown, kube.head_cpus, kube.head_memory_gb, 0)
    return {
        "rayVersion": RAY_VERSION,
        "authOptions": {"mode": "token"},
        "enableInTreeAutoscaling": True,
        "autoscalerOptions": {
            "version": "v2",
            "idleTimeoutSeconds": spec.idle_minutes * 60,
            "securityContext": dict(_NO_PRIVILEGES),
        },
        "headGroupSpec": {
            # The operator and the submitting pod reach the dashboard through a service: not on loopback.
            "rayStartParams": {"num-cpus": "0", "num-gpus": "0", "dashboard-host": "0.0.0.0"},  # noqa: S104
            "template": {"spec": head_pod},
        },
        "workerGroupSpecs": [_group(spec, kube, each, grown) for each in groups],
    }


def _group(spec: ClusterSpec, kube: KubeSpec, workers: KubeWorkersSpec, grown: str) -> dict[str, Any]:
    image = spec.images.gpu if workers.gpus else spec.images.cpu
    pod = _pod(spec, kube, "ray-worker", image, grown, workers.cpus, workers.memory_gb, workers.gpus)
    if workers.spot:
        pod["nodeSelector"] = dict(kube.spot_selector)
    pod["tolerations"] = _borne(kube, workers)
    return {
        "groupName": workers.name,
        "replicas": 0,
        "minReplicas": 0,
        "maxReplicas": workers.most,
        "priority": priority(workers, workers.spot),
        "labels": {"market": "spot" if workers.spot else "on-demand", "size": workers.name},
        "rayStartParams": {},
        "template": {"spec": pod},
    }


def _borne(kube: KubeSpec, workers: KubeWorkersSpec) -> list[dict[str, str]]:
    """Taints of the nodes that are meant: those with GPUs, those of the spot market."""
    gpu = {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}
    spot = [
        {"key": key, "operator": "Equal", "value": value, "effect": "NoSchedule"}
        for key, value in kube.spot_selector.items()
    ]
    return [*([gpu] if workers.gpus else []), *(spot if workers.spot else [])]


def _pod(
    spec: ClusterSpec, kube: KubeSpec, name: str, image: str, grown: str, cpus: int, memory_gb: int, gpus: int
) -> dict[str, Any]:
    has: dict[str, Any] = {"cpu": str(cpus), "memory": f"{memory_gb}Gi", **({"nvidia.com/gpu": gpus} if gpus else {})}
    # The operator sets what Ray needs for its token itself.
    variables = {key: value for key, value in environment(spec, grown).items() if key != "RAY_AUTH_MODE"}
    container = {
        "name": name,
        "image": image,
        "env": [{"name": key, "value": value} for key, value in variables.items()],
        "envFrom": [{"secretRef": {"name": kube.secret}}],
        "resources": {"limits": has, "requests": dict(has)},
        "securityContext": dict(_NO_PRIVILEGES),
        "volumeMounts": [{"name": "shm", "mountPath": "/dev/shm"}],  # noqa: S108
    }
    account = {"serviceAccountName": kube.service_account} if kube.service_account else {}
    return {
        "securityContext": {"runAsNonRoot": True, "runAsUser": 1000, "seccompProfile": {"type": "RuntimeDefault"}},
        **account,
        "containers": [container],
        "volumes": [{"name": "shm", "emptyDir": {"medium": "Memory"}}],
    }
