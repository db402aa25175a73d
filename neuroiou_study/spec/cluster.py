"""What a cluster file may say: the machines on which studies run, for each kind of provider."""

import re
from collections.abc import Sequence
from typing import Annotated, ClassVar, Self

from pydantic import Field, StringConstraints, field_validator, model_validator

from neuroiou_study.spec.base import Spec, broken

Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,30}$")]
"""Lower-case letters, digits and hyphens: what all providers accept."""
Text = Annotated[str, StringConstraints(min_length=1, pattern=r"^[^\s'\"\\$`;&|<>(){}]+$")]
"""Without blanks, quotes and what a shell would read."""
OURS = (
    "PATH",
    "RAY_AUTH_MODE",
    "RAY_AUTH_TOKEN_PATH",
    "NEUROIOU_STORE",
    "NEUROIOU_GROWTH",
    "MLFLOW_TRACKING_URI",
)
"""Variables of the nodes that no `environment` may set."""
_SECRET = re.compile(r"SECRET|PASSWORD|PASSWD|TOKEN|CREDENTIAL|ACCESS_KEY|API_KEY|PRIVATE", re.IGNORECASE)


def is_pinned(image: str) -> bool:
    """Does ``image`` name one container image for good?"""
    name, at, digest = image.partition("@")
    if at:
        return bool(re.fullmatch(r"sha256:[0-9a-f]{64}", digest))
    tag = name.rpartition("/")[2].partition(":")[2]
    return bool(tag) and not {"latest", "nightly"} & set(tag.split("-"))


PINNED = "must name one image for good: give it a tag that is not latest, or @sha256:…"


def _require_pinned(image: str) -> str:
    if not is_pinned(image):
        raise broken(image, PINNED)
    return image


class ImagesSpec(Spec):
    """Container images with the project in them; `cluster/Dockerfile` makes them."""

    cpu: Text
    """For the head and for workers without GPUs."""
    gpu: Text

    _pinned = field_validator("cpu", "gpu")(_require_pinned)


class WorkersSpec(Spec):
    """Workers of one size. The cluster begins with none of them and has no more than these."""

    name: Name
    cpus: int = Field(ge=1)
    gpus: int = Field(ge=0)
    """What one machine has: a study's `resources` are taken from these."""


class RentedWorkersSpec(WorkersSpec):
    """Workers that are rented by the second."""

    instance: Text
    """The provider's name of the size, such as g6.xlarge or g2-standard-8."""
    spot: int = Field(0, ge=0)
    """At most so many at the spot market's price: they may be taken away at any time, and are asked for first."""
    on_demand: int = Field(0, ge=0)
    """At most so many at the full price, when no spot machine is left."""

    @model_validator(mode="after")
    def _some(self) -> Self:
        if self.spot + self.on_demand == 0:
            raise broken(0, "spot or on_demand must be at least 1: raise one, or remove these workers", ("spot",))
        return self


def _require_names(workers: Sequence[WorkersSpec]) -> Sequence[WorkersSpec]:
    names = [each.name for each in workers]
    double = next((name for name in names if names.count(name) > 1), None)
    if double is not None:
        raise broken(double, "two sizes of workers have this name: rename one")
    return workers


def _require_zone(zones: Sequence[str], region: str, at: str) -> None:
    for zone in zones:
        if not zone.startswith(region):
            raise broken(zone, f"must be a zone of {region}: correct either", (at,))


class AwsSpec(Spec):
    """Machines of Amazon EC2. What must exist before is in `cluster/prerequisites.md`."""

    region: Annotated[str, StringConstraints(pattern=r"^[a-z]{2}(-[a-z]+)+-\d$")]
    zones: list[Text] = Field(min_length=1)
    """Availability zones, the preferred first; one for each subnet."""
    ami: Annotated[str, StringConstraints(pattern=r"^ami-[0-9a-f]{8,17}$")]
    """The machine image; it has Docker and NVIDIA's driver, such as AWS's Deep Learning Base AMI."""
    ami_device: Text = "/dev/sda1"
    """The image's root disk, which is made larger and encrypted."""
    key_name: Text
    """An EC2 key pair; its private part stays at `ssh_private_key` on this machine."""
    ssh_user: Name = "ubuntu"
    ssh_private_key: Text
    head_profile: Text
    """Instance profile of the head: it may start and end workers, and pass them `worker_profile`."""
    worker_profile: Text
    """Instance profile of workers: it may read and write the bucket of the store, and nothing else."""
    subnets: list[Annotated[str, StringConstraints(pattern=r"^subnet-[0-9a-f]+$")]] = Field(min_length=1)
    security_groups: list[Annotated[str, StringConstraints(pattern=r"^sg-[0-9a-f]+$")]] = Field(min_length=1)
    """Groups that let the nodes reach each other, and let in nobody from the world."""
    internal_ips: bool = False
    """Reach the nodes by their private addresses, from inside the VPC or by a VPN."""
    head_instance: Text = "m7i.xlarge"
    disk_gb: int = Field(200, ge=20)
    workers: list[RentedWorkersSpec] = Field(min_length=1)

    _names = field_validator("workers")(_require_names)

    @model_validator(mode="after")
    def _near(self) -> Self:
        _require_zone(self.zones, self.region, "zones")
        return self


class GcpSpec(Spec):
    """Machines of Google Compute Engine."""

    project: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{4,28}[a-z0-9]$")]
    region: Text
    zone: Text
    source_image: Annotated[str, StringConstraints(pattern=r"^projects/[^/\s]+/global/images/[^/\s]+$")]
    """One machine image, not a family, whose newest would be another tomorrow."""
    service_account: Annotated[str, StringConstraints(pattern=r"^[^@\s]+@[^@\s]+\.gserviceaccount\.com$")]
    ssh_user: Name = "ubuntu"
    head_instance: Text = "n2-standard-4"
    network: Text
    """A network of your own, whose firewall lets in nobody from the world: Google's `default` one lets in ssh."""
    subnet: Text | None = None
    """For a network whose subnets are not made by Google."""
    internal_ips: bool = False
    """Reach the nodes by their private addresses, from inside the network or by a VPN; they have no other then."""
    secure_boot: bool = False
    """Boot only what is signed; NVIDIA's driver in the image must be, too."""
    disk_gb: int = Field(200, ge=20)
    workers: list["GcpWorkersSpec"] = Field(min_length=1)

    _names = field_validator("workers")(_require_names)

    @field_validator("network")
    @classmethod
    def _own_network(cls, network: str) -> str:
        if network == "default":
            raise broken(network, "lets in ssh from the world: make a network of your own and name it")
        return network

    @model_validator(mode="after")
    def _near(self) -> Self:
        _require_zone([self.zone], self.region, "zone")
        return self


class GcpWorkersSpec(RentedWorkersSpec):
    """GPU workers of Google; sizes such as g2 and a3 bring their GPUs, others have them attached."""

    accelerator: Text | None = None
    """Type of GPU, such as nvidia-l4; None for a size that has none."""


class OnPremSpec(Spec):
    """Machines of one's own, reached by ssh."""

    head: Text
    """Address of the head, which runs no work."""
    workers: list[Text] = Field(min_length=1)
    """Addresses of the workers."""
    ssh_user: Name
    """Of all machines; with containers, a user with number 1000, as the one inside them has."""
    ssh_private_key: Text
    cpus: int | None = Field(None, ge=1)
    """Processor cores that a worker lends; None for all that it has."""
    gpus: int | None = Field(None, ge=0)

    @model_validator(mode="after")
    def _different(self) -> Self:
        every = [self.head, *self.workers]
        double = next((each for each in every if every.count(each) > 1), None)
        if double is not None:
            raise broken(double, "must be a machine of its own: name each address once", ("workers",))
        return self


class KubeWorkersSpec(WorkersSpec):
    """A group of worker pods."""

    memory_gb: int = Field(ge=1)
    most: int = Field(ge=1)
    """At most so many pods."""
    spot: bool = True
    """Only on nodes of the spot market, by `spot_selector`; a group without comes after those with."""


class KubeSpec(Spec):
    """Pods of a Kubernetes cluster with the KubeRay operator."""

    namespace: Name = "default"
    secret: Name
    """A Kubernetes secret whose keys become environment variables: keys of the store, of the tracking server."""
    service_account: Name | None = None
    spot_selector: dict[str, str] = {"cloud.google.com/gke-spot": "true"}  # noqa: RUF012
    """Labels of spot nodes, and taints that are borne: GKE's here; Karpenter's is karpenter.sh/capacity-type: spot."""
    head_cpus: int = Field(2, ge=1)
    head_memory_gb: int = Field(8, ge=2)
    workers: list[KubeWorkersSpec] = Field(min_length=1)

    _names = field_validator("workers")(_require_names)


class ClusterSpec(Spec):
    """The machines on which studies run; `neuroiou-study cluster render` makes a provider's own file of it."""

    described_by: ClassVar[str] = "`neuroiou-study schema cluster`"

    name: Name = "neuroiou"
    """The provider marks its machines with it: two clusters of one name and region would be one."""
    images: ImagesSpec
    docker: bool = True
    """Run in containers of `images`. Without, the machines have the project installed in `path`."""
    path: Text = "/opt/neuroiou-study/bin"
    """Folder of `python` and `ray` on machines without containers."""
    store: Annotated[str, StringConstraints(pattern=r"^(s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[\w./-]*)?|/[\w./-]+)$")]
    """Where results go: s3://bucket/prefix, or a folder that all machines see at the same path."""
    tracking_uri: Annotated[str, StringConstraints(pattern=r"^https?://[^\s@'\"\\$`;&|<>(){}]+$")] | None = None
    """MLflow's server, without user and password; None for a database in the head's own store."""
    environment: dict[Annotated[str, StringConstraints(pattern=r"^[A-Z][A-Z0-9_]*$")], Text] = {}  # noqa: RUF012
    """Further variables of all nodes, such as AWS_ENDPOINT_URL. No secrets: this file is shown and copied."""
    token: Text = "~/.ray/auth_token"  # noqa: S105
    """File on this machine with the token that all nodes ask for; `neuroiou-study cluster token` makes one."""
    idle_minutes: int = Field(10, ge=1)
    """A worker without work for so long is given back."""
    max_workers: int | None = Field(None, ge=1)
    """At most so many workers of all sizes together; None for the sum of them."""
    tags: dict[Name, Annotated[str, StringConstraints(pattern=r"^[a-z0-9_-]{1,60}$")]] = {}  # noqa: RUF012
    """Marks on all machines, by which a bill is divided: project, owner."""
    aws: AwsSpec | None = None
    gcp: GcpSpec | None = None
    onprem: OnPremSpec | None = None
    kuberay: KubeSpec | None = None

    @field_validator("environment", mode="before")
    @classmethod
    def _no_secret(cls, environment: object) -> object:
        for name in environment if isinstance(environment, dict) else ():
            if _SECRET.search(str(name)):
                rule = "must not be a secret: give it to the machines by an instance profile, or a secret of Kubernetes"
                raise broken(name, rule)
            if name in OURS:
                raise broken(name, "is made of the other keys of this file: remove it here")
        return environment

    @field_validator("tags")
    @classmethod
    def _other_tags(cls, tags: dict[str, str]) -> dict[str, str]:
        if "cluster" in tags:
            raise broken(tags["cluster"], "is the name of the cluster already: remove this tag", ("cluster",))
        return tags

    @model_validator(mode="after")
    def _somewhere(self) -> Self:
        if not (self.aws or self.gcp or self.onprem or self.kuberay):
            raise broken(None, "must say which machines there are: add one of these", ("aws, gcp, onprem or kuberay",))
        return self
