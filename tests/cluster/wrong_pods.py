"""Files for KubeRay, each with one mistake."""

from tests.cluster.wrong_file import drop, files, put

HEAD = "spec.headGroupSpec.template.spec"
POD = "spec.workerGroupSpecs[0].template.spec"
CONTAINER = f"{POD}.containers[0]"
KUBERAY = files(
    "kuberay-cluster.yaml",
    (
        "typo in the cluster",
        put("spec.enableInTreeAutoscalin", True),
        "spec.enableInTreeAutoscalin",
        "did you mean spec.enableInTreeAutoscaling?",
    ),
    (
        "number for a text",
        put("spec.headGroupSpec.rayStartParams.num-cpus", 0),
        "spec.headGroupSpec.rayStartParams.num-cpus",
        "valid string",
    ),
    (
        "typo in a container",
        put(f"{CONTAINER}.envFron", []),
        f"{POD.replace('[0]', '.0')}.containers.0.envFron",
        "unknown key",
    ),
    ("no token", put("spec.authOptions.mode", "disabled"), "spec.authOptions.mode", "must be token"),
    ("token not said", drop("spec.authOptions"), "spec.authOptions.mode", "must be token"),
    ("no autoscaling", drop("spec.enableInTreeAutoscaling"), "spec.enableInTreeAutoscaling", "must be true"),
    (
        "no idle timeout",
        drop("spec.autoscalerOptions.idleTimeoutSeconds"),
        "spec.autoscalerOptions.idleTimeoutSeconds",
        "missing",
    ),
    (
        "head that works",
        drop("spec.headGroupSpec.rayStartParams.num-cpus"),
        "spec.headGroupSpec.rayStartParams.num-cpus",
        'must be "0"',
    ),
    (
        "dashboard for all",
        put("spec.headGroupSpec.serviceType", "LoadBalancer"),
        "spec.headGroupSpec.serviceType",
        "must not open the dashboard",
    ),
    (
        "image of today",
        put(f"{CONTAINER}.image", "rayproject/ray:latest"),
        f"{CONTAINER}.image",
        "must name one image for good",
    ),
    (
        "root",
        put(f"{HEAD}.securityContext.runAsNonRoot", False),
        f"{HEAD}.containers[0].securityContext.runAsNonRoot",
        "must be true",
    ),
    (
        "root by number",
        put(f"{HEAD}.securityContext.runAsUser", 0),
        f"{HEAD}.containers[0].securityContext.runAsNonRoot",
        "the user not 0",
    ),
    (
        "privileged",
        put(f"{CONTAINER}.securityContext.privileged", True),
        f"{CONTAINER}.securityContext.allowPrivilegeEscalation",
        "must be false",
    ),
    (
        "more than it needs",
        drop(f"{CONTAINER}.securityContext.capabilities"),
        f"{CONTAINER}.securityContext.capabilities.drop",
        "missing: must have ALL",
    ),
    ("network of the host", put(f"{POD}.hostNetwork", True), f"{POD}.hostNetwork", "must not share what is the host's"),
    (
        "group without an end",
        drop("spec.workerGroupSpecs[0].maxReplicas"),
        "spec.workerGroupSpecs.0.maxReplicas",
        "missing",
    ),
    (
        "two groups of one name",
        put("spec.workerGroupSpecs[1].groupName", "l4-spot"),
        "spec.workerGroupSpecs",
        "two groups have this name",
    ),
    (
        "secret in the environment",
        put(f"{CONTAINER}.env[0]", {"name": "MLFLOW_TRACKING_PASSWORD", "value": "word"}),
        f"{CONTAINER}.env[0].MLFLOW_TRACKING_PASSWORD",
        "(not shown): must not be a secret",
    ),
    ("another version of the API", put("apiVersion", "ray.io/v1alpha1"), "apiVersion", "must be ray.io/v1"),
    ("another kind", put("kind", "RayServe"), "kind", "must be RayCluster or RayJob"),
)
RAYJOB = files(
    "kuberay-rayjob.yaml",
    (
        "cluster that stays",
        put("spec.shutdownAfterJobFinishes", False),
        "spec.shutdownAfterJobFinishes",
        "must be true",
    ),
    (
        "typo in the job",
        put("spec.ttlSecondAfterFinished", 600),
        "spec.ttlSecondAfterFinished",
        "did you mean spec.ttlSecondsAfterFinished?",
    ),
    ("no entrypoint", drop("spec.entrypoint"), "spec.entrypoint", "missing"),
    (
        "driver on a worker",
        put("spec.entrypointNumGpus", 1),
        "spec.entrypointNumGpus",
        "the study's driver would run on a worker",
    ),
    (
        "no memory",
        drop("spec.rayClusterSpec.headGroupSpec.template.spec.containers[0].resources.limits.memory"),
        "spec.rayClusterSpec.headGroupSpec.template.spec.containers[0].resources.limits.memory",
        "missing",
    ),
)
