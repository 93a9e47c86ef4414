"""What the things of a deployment are called: infra/gcp has it so too, and nothing is remembered."""

from __future__ import annotations

from dataclasses import dataclass

from verger.cloud.deploy.provider import DeploymentSpec
from verger.errors import CloudError
from verger.storage.objects import object_path
from verger.storage.uri import scheme_of


@dataclass(frozen=True)
class Names:
    """The names in one project and region; raises CloudError where the deployment names no project."""

    name: str
    project: str
    region: str

    @classmethod
    def of(cls, spec: DeploymentSpec) -> Names:
        """Return those of a deployment."""
        if not spec.project:
            raise CloudError("which project of Google's cloud? Name it: --project my-project-123456")
        return cls(spec.name, spec.project, spec.region)

    @property
    def title(self) -> str:
        """The name of the cluster, and of all else that is alone of its kind."""
        return f"verger-{self.name}"

    @property
    def bucket(self) -> str:
        """A bucket's name is one in the world, and a project's too."""
        return f"{self.title}-{self.project}"

    @property
    def package(self) -> str:
        """Where the nodes find verger."""
        return f"gs://{self.bucket}/packages"

    @property
    def service_account(self) -> str:
        """As whom the machines work."""
        return f"{self.title}@{self.project}.iam.gserviceaccount.com"

    @property
    def place(self) -> str:
        """Project and region, as Google's paths begin."""
        return f"projects/{self.project}/regions/{self.region}"

    @property
    def location(self) -> str:
        """The same, as the paths of batches have it."""
        return f"projects/{self.project}/locations/{self.region}"

    @property
    def subnetwork(self) -> str:
        """The private network of the machines."""
        return f"{self.place}/subnetworks/{self.title}"

    @property
    def autoscaling(self) -> str:
        """The policy by which workers are added."""
        return f"{self.place}/autoscalingPolicies/{self.title}"

    @property
    def labels(self) -> dict[str, str]:
        """What everything is marked with."""
        return {"project": "verger", "deployment": self.name}

    def resolve(self, place: str) -> str:
        """Return the gs:// URI of a place; a relative one is of the deployment's bucket. Raises CloudError."""
        found = object_path(place)
        if found is not None and found.root.startswith("gs://"):
            return str(found)
        if found is not None:
            raise CloudError(f"{place}: jobs on Google's cloud read and write gs://")
        if scheme_of(place) != "file" or place.startswith(("/", "~", "..", "file:")):
            raise CloudError(
                f"{place}: the machines of a deployment see Cloud Storage alone. Name a folder of its bucket "
                f"(raw/) or a gs:// URI; photos get there by: gcloud storage rsync -r FOLDER gs://{self.bucket}/raw"
            )
        return f"gs://{self.bucket}/{place.strip('/').removeprefix('./')}"
