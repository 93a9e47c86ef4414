"""Names of a deployment's resources, derived from its spec; infra/gcp derives the same names."""

from __future__ import annotations

from dataclasses import dataclass

from verger.cloud.deploy.data_paths import PathRule
from verger.cloud.deploy.provider import DeploymentSpec
from verger.errors import CloudError


@dataclass(frozen=True)
class Names:
    """The names of one deployment in its project and region."""

    name: str
    project: str
    region: str

    @classmethod
    def of(cls, spec: DeploymentSpec) -> Names:
        """Return the names of a deployment. Raises CloudError if its spec has no project."""
        if not spec.project:
            raise CloudError("Google Cloud needs a project: --project my-project-123456")
        return cls(spec.name, spec.project, spec.region)

    @property
    def title(self) -> str:
        """Name of the cluster, and of each kind of resource that exists once per deployment."""
        return f"verger-{self.name}"

    @property
    def bucket(self) -> str:
        """Name of the bucket. It contains the project's id, because a bucket's name must be unique worldwide."""
        return f"{self.title}-{self.project}"

    @property
    def package(self) -> str:
        """URI of the package that the nodes install."""
        return f"gs://{self.bucket}/packages"

    @property
    def service_account(self) -> str:
        """Service account of the machines."""
        return f"{self.title}@{self.project}.iam.gserviceaccount.com"

    @property
    def region_path(self) -> str:
        """Project and region as the beginning of the paths of most resources."""
        return f"projects/{self.project}/regions/{self.region}"

    @property
    def location(self) -> str:
        """Project and region as the beginning of the paths of batches."""
        return f"projects/{self.project}/locations/{self.region}"

    @property
    def subnetwork(self) -> str:
        """Path of the machines' private subnetwork."""
        return f"{self.region_path}/subnetworks/{self.title}"

    @property
    def autoscaling(self) -> str:
        """Path of the autoscaling policy."""
        return f"{self.region_path}/autoscalingPolicies/{self.title}"

    @property
    def labels(self) -> dict[str, str]:
        """Labels of every resource."""
        return {"project": "verger", "deployment": self.name}

    def resolve(self, path: str) -> str:
        """Return the gs:// URI of a source or result; a relative path is inside the deployment's bucket.

        Raises CloudError for a path that the machines cannot read.
        """
        advice = (
            "jobs on Google Cloud can read and write only Cloud Storage. Name a folder of the deployment's bucket "
            f"(raw/) or a gs:// URI; to upload photos: gcloud storage rsync -r FOLDER gs://{self.bucket}/raw"
        )
        return PathRule(f"gs://{self.bucket}", "gs://", advice).resolve(path)
