"""The fields of KubeRay's RayCluster and RayJob (ray.io/v1), and of their pods: *cited*, KubeRay 1.7's API reference.

What a study's cluster uses is typed; of the rest of a pod only the names are known.
"""
# ruff: noqa: N815  Kubernetes' own names

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, StringConstraints, model_validator

from neuroiou_study.cluster.checks.quantities import PATTERN
from neuroiou_study.spec.base import Spec

Word = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$")]
Dns = Annotated[str, StringConstraints(pattern=r"^[a-z]([a-z0-9-]*[a-z0-9])?$")]
"""What services may be called, which KubeRay names after the cluster."""
Texts = dict[str, str]
Whole = Annotated[int, Field(ge=0)]
Quantity = int | Annotated[str, StringConstraints(pattern=PATTERN)]


class Fields(Spec):
    """A mapping of Kubernetes."""

    described_by: ClassVar[str] = "KubeRay's API reference"
    others: ClassVar[str] = ""
    """Further fields, of which only the names are known."""

    @model_validator(mode="before")
    @classmethod
    def _leave_others(cls, said: Any) -> Any:
        return {key: said[key] for key in said if key not in cls.others.split()} if isinstance(said, dict) else said


class SecurityContext(Fields):
    """What a pod or a container may do."""

    others: ClassVar[str] = (
        "appArmorProfile fsGroup fsGroupChangePolicy procMount readOnlyRootFilesystem runAsGroup "
        "seLinuxChangePolicy seLinuxOptions seccompProfile supplementalGroups supplementalGroupsPolicy sysctls "
        "windowsOptions"
    )

    runAsNonRoot: bool | None = None
    runAsUser: int | None = None
    privileged: bool | None = None
    allowPrivilegeEscalation: bool | None = None
    capabilities: dict[Literal["add", "drop"], list[str]] | None = None


class Variable(Fields):
    """An environment variable."""

    name: str
    value: str | None = None
    valueFrom: dict[str, Any] | None = None


class Resources(Fields):
    """What a container has."""

    limits: dict[str, Quantity] = {}  # noqa: RUF012
    requests: dict[str, Quantity] = {}  # noqa: RUF012
    claims: list[Any] | None = None


class Container(Fields):
    """A container."""

    others: ClassVar[str] = (
        "args command imagePullPolicy lifecycle livenessProbe ports readinessProbe resizePolicy restartPolicy "
        "startupProbe stdin stdinOnce terminationMessagePath terminationMessagePolicy tty volumeDevices "
        "volumeMounts workingDir"
    )

    name: Word
    image: str
    env: list[Variable] = []  # noqa: RUF012
    envFrom: list[dict[Literal["prefix", "secretRef", "configMapRef"], Any]] = []  # noqa: RUF012
    resources: Resources
    securityContext: SecurityContext | None = None


class Toleration(Fields):
    """A taint of nodes that a pod bears."""

    key: str | None = None
    operator: Literal["Exists", "Equal"] = "Equal"
    value: str | None = None
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None
    tolerationSeconds: int | None = None


class Pod(Fields):
    """A pod."""

    others: ClassVar[str] = (
        "activeDeadlineSeconds affinity automountServiceAccountToken dnsConfig dnsPolicy enableServiceLinks "
        "ephemeralContainers hostAliases hostUsers hostname imagePullSecrets initContainers nodeName os overhead "
        "preemptionPolicy priority priorityClassName readinessGates resourceClaims resources restartPolicy "
        "runtimeClassName schedulerName schedulingGates setHostnameAsFQDN shareProcessNamespace subdomain "
        "terminationGracePeriodSeconds topologySpreadConstraints volumes"
    )

    containers: Annotated[list[Container], Field(min_length=1)]
    securityContext: SecurityContext | None = None
    serviceAccountName: str | None = None
    nodeSelector: Texts | None = None
    tolerations: list[Toleration] | None = None
    hostNetwork: bool | None = None
    hostPID: bool | None = None
    hostIPC: bool | None = None


class Metadata(Fields):
    """Name and marks."""

    name: Dns
    namespace: Word | None = None
    labels: Texts | None = None
    annotations: Texts | None = None


class Template(Fields):
    """A pod that is made several times."""

    metadata: dict[str, Any] | None = None
    spec: Pod


class _Group(Fields):
    rayStartParams: Texts = {}  # noqa: RUF012
    template: Template
    labels: Texts | None = None
    resources: Texts | None = None


class Head(_Group):
    """The head's pod."""

    others: ClassVar[str] = "headService ingressOptions"

    serviceType: str | None = None
    enableIngress: bool | None = None


class Workers(_Group):
    """Worker pods of one size."""

    others: ClassVar[str] = "numOfHosts scaleStrategy suspend"

    groupName: Word
    replicas: Whole | None = None
    minReplicas: Whole = 0
    maxReplicas: Whole
    priority: int = 0
    idleTimeoutSeconds: Whole | None = None


class AuthOptions(Fields):
    """Who may use the cluster."""

    mode: Literal["token", "disabled"] = "token"
    secretName: str | None = None
    enableK8sTokenAuth: bool | None = None


class Autoscaler(Fields):
    """The container that asks for workers."""

    others: ClassVar[str] = "args command env envFrom imagePullPolicy volumeMounts"

    version: Literal["v1", "v2"] | None = None
    idleTimeoutSeconds: Whole | None = None
    upscalingMode: Literal["Default", "Aggressive", "Conservative"] | None = None
    image: str | None = None
    resources: Resources | None = None
    securityContext: SecurityContext | None = None


class Cluster(Fields):
    """Head and workers."""

    others: ClassVar[str] = (
        "gcsFaultToleranceOptions headServiceAnnotations historyServerOptions managedBy networkPolicy suspend "
        "tlsOptions upgradeStrategy"
    )

    headGroupSpec: Head
    workerGroupSpecs: Annotated[list[Workers], Field(min_length=1)]
    rayVersion: str | None = None
    authOptions: AuthOptions | None = None
    enableInTreeAutoscaling: bool = False
    autoscalerOptions: Autoscaler | None = None


class Submitter(Fields):
    """The Kubernetes job that submits ours."""

    backoffLimit: Whole | None = None


class Job(Fields):
    """What runs, and on what."""

    others: ClassVar[str] = (
        "clusterSelector deletionStrategy entrypointNumCpus entrypointNumGpus entrypointResources jobId managedBy "
        "metadata submitterPodTemplate"
    )

    entrypoint: Annotated[str, Field(min_length=1)]
    rayClusterSpec: Cluster
    runtimeEnvYAML: str | None = None
    submissionMode: Literal["K8sJobMode", "HTTPMode", "InteractiveMode", "SidecarMode"] = "K8sJobMode"
    shutdownAfterJobFinishes: bool = False
    ttlSecondsAfterFinished: Whole = 0
    activeDeadlineSeconds: Annotated[int, Field(ge=1)] | None = None
    preRunningDeadlineSeconds: Annotated[int, Field(ge=1)] | None = None
    backoffLimit: Whole = 0
    suspend: bool = False
    submitterConfig: Submitter | None = None


class RayCluster(Fields):
    """A cluster that stays."""

    apiVersion: Literal["ray.io/v1"]
    kind: Literal["RayCluster"]
    metadata: Metadata
    spec: Cluster


class RayJob(Fields):
    """A job with a cluster of its own."""

    apiVersion: Literal["ray.io/v1"]
    kind: Literal["RayJob"]
    metadata: Metadata
    spec: Job
