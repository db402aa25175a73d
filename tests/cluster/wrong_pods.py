"""Files for KubeRay, each with one mistake."""

from tests.cluster.wrong_file import drop, files, put

HEAD = "spec.headGroupSpec.template.spec"
POD = "spec.workerGroupSpecs[0].template.spec"
DOTTED = "spec.workerGroupSpecs.0.template.spec"
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
        f"{DOTTED}.containers.0.envFron",
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
        f"{CONTAINER}.securityContext.privileged",
        "must be false",
    ),
    (
        "privileges that grow",
        drop(f"{CONTAINER}.securityContext.allowPrivilegeEscalation"),
        f"{CONTAINER}.securityContext.allowPrivilegeEscalation",
        "must be false",
    ),
    (
        "container before that is root",
        put(f"{POD}.initContainers", [{"name": "x", "image": "busybox:1", "securityContext": {"runAsUser": 0}}]),
        f"{POD}.initContainers[0].securityContext.runAsNonRoot",
        "the user not 0",
    ),
    (
        "container before of today",
        put(f"{POD}.initContainers", [{"name": "x", "image": "busybox"}]),
        f"{POD}.initContainers[0].image",
        "must name one image for good",
    ),
    (
        "folder of the host",
        put(f"{POD}.volumes[0]", {"name": "shm", "hostPath": {"path": "/"}}),
        f"{POD}.volumes[0].hostPath",
        "must not reach into the host",
    ),
    (
        "volume that is not there",
        put(f"{CONTAINER}.volumeMounts[0].name", "shmm"),
        f"{CONTAINER}.volumeMounts[0].name",
        "must be one of the pod's volumes",
    ),
    (
        "GPUs that are only asked for",
        put(f"{CONTAINER}.resources.limits", {"cpu": "6", "memory": "28Gi"}),
        f"{CONTAINER}.resources.limits.nvidia.com/gpu",
        "missing: must be the 1 of requests",
    ),
    (
        "GPUs in two numbers",
        put(f"{CONTAINER}.resources.limits", {"cpu": "6", "memory": "28Gi", "nvidia.com/gpu": 2}),
        f"{CONTAINER}.resources.limits.nvidia.com/gpu",
        "2: must be the 1 of requests",
    ),
    (
        "more than the limit",
        put(f"{CONTAINER}.resources.requests.memory", "29000Mi"),
        f"{CONTAINER}.resources.requests.memory",
        "must be at most the limit, 28Gi",
    ),
    (
        "no processors",
        drop(f"{CONTAINER}.resources.limits.cpu"),
        f"{CONTAINER}.resources.limits.cpu",
        "missing: Ray lends as many processors",
    ),
    (
        "no amount",
        put(f"{CONTAINER}.resources.limits.memory", "28 GB"),
        f"{DOTTED}.containers.0.resources.limits.memory",
        "pattern",
    ),
    (
        "unknown effect of a taint",
        put(f"{POD}.tolerations[0].effect", "NoSchedul"),
        f"{DOTTED}.tolerations.0.effect",
        "input should be",
    ),
    (
        "dashboard for nobody",
        put("spec.headGroupSpec.rayStartParams.dashboard-host", "127.0.0.1"),
        "spec.headGroupSpec.rayStartParams.dashboard-host",
        "must be 0.0.0.0 in a pod",
    ),
    (
        "service for all",
        put("spec.headGroupSpec.headService", {"spec": {"type": "LoadBalancer"}}),
        "spec.headGroupSpec.headService.spec.type",
        "must not open the dashboard",
    ),
    (
        "autoscaler of today",
        put("spec.autoscalerOptions.image", "rayproject/ray:nightly"),
        "spec.autoscalerOptions.image",
        "must name one image for good",
    ),
    ("another Ray", put("spec.rayVersion", "2.9.0"), "spec.rayVersion", "2.9.0: must be that of the images"),
    (
        "at least more than at most",
        put("spec.workerGroupSpecs[0].minReplicas", 9),
        "spec.workerGroupSpecs[0].minReplicas",
        "must be at most the 8 of maxReplicas",
    ),
    (
        "full price first",
        put("spec.workerGroupSpecs[0].priority", 0),
        "spec.workerGroupSpecs[0].priority",
        "spot is asked for first",
    ),
    ("long name", put("metadata.name", "a" * 54), "metadata.name", "must have at most 53 letters"),
    ("name of no service", put("metadata.name", "1.neuroiou"), "metadata.name", "pattern"),
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
    ("long name", put("metadata.name", "a" * 48), "metadata.name", "must have at most 47 letters"),
    (
        "typo in the submitter",
        put("spec.submitterConfig.backofLimit", 1),
        "spec.submitterConfig.backofLimit",
        "did you mean spec.submitterConfig.backoffLimit?",
    ),
    (
        "environment that is no YAML",
        put("spec.runtimeEnvYAML", "env_vars: {A: "),
        "spec.runtimeEnvYAML",
        "must be YAML",
    ),
    (
        "environment that is a list",
        put("spec.runtimeEnvYAML", "- A"),
        "spec.runtimeEnvYAML",
        "must be a mapping",
    ),
    (
        "number for a text in the environment",
        put("spec.runtimeEnvYAML", "env_vars: {RAY_JOB_STOP_WAIT_TIME_S: 20}"),
        "spec.runtimeEnvYAML.env_vars.RAY_JOB_STOP_WAIT_TIME_S",
        '20: must be a text: write "20"',
    ),
    (
        "secret inside the environment",
        put("spec.runtimeEnvYAML", "env_vars: {AWS_SECRET_ACCESS_KEY: wJalr}"),
        "spec.runtimeEnvYAML.env_vars.AWS_SECRET_ACCESS_KEY",
        "(not shown): must not be a secret",
    ),
)
