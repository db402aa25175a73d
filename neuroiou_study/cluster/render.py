"""From the small cluster file to the file of a provider."""

from enum import StrEnum

from neuroiou_study.cluster.aws import render_aws
from neuroiou_study.cluster.gcp import render_gcp
from neuroiou_study.cluster.kuberay import render_cluster, render_job
from neuroiou_study.cluster.onprem import render_onprem
from neuroiou_study.spec import SpecError
from neuroiou_study.spec.cluster import ClusterSpec


class Provider(StrEnum):
    """Who has the machines."""

    aws = "aws"
    gcp = "gcp"
    onprem = "onprem"
    kuberay = "kuberay"


class Kind(StrEnum):
    """What of Kubernetes."""

    job = "job"
    cluster = "cluster"


def render(spec: ClusterSpec, provider: Provider, kind: Kind = Kind.job) -> str:
    """The text of ``provider``'s file; ``kind`` is for Kubernetes.

    Raises SpecError if ``spec`` says nothing about this provider.
    """
    match provider:
        case Provider.aws if spec.aws:
            return render_aws(spec, spec.aws)
        case Provider.gcp if spec.gcp:
            return render_gcp(spec, spec.gcp)
        case Provider.onprem if spec.onprem:
            return render_onprem(spec, spec.onprem)
        case Provider.kuberay if spec.kuberay:
            return render_job(spec, spec.kuberay) if kind is Kind.job else render_cluster(spec, spec.kuberay)
        case _:
            rule = "must say which machines there are: see cluster/cluster.yaml"
            raise SpecError(f"{provider.value}: missing in the cluster file: {rule}")
