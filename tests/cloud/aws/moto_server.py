"""moto's server with what it lacks for a whole deployment: EMR's instance fleets, managed scaling, idle stop.

By hand: `python -m tests.cloud.aws.moto_server PORT`, then AWS_ENDPOINT_URL=http://127.0.0.1:PORT.
"""

from __future__ import annotations

import io
import json
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, cast
from urllib.request import Request, urlopen

import pytest
from moto.budgets.responses import BudgetsResponse
from moto.core.config import default_user_config
from moto.core.responses import ActionResult, BaseResponse, EmptyResult
from moto.ec2.models.security_groups import SecurityGroupRule
from moto.emr.models import Ec2InstanceAttributes
from moto.emr.responses import ElasticMapReduceResponse
from moto.emrserverless import models as serverless
from moto.emrserverless.responses import EMRServerlessResponse
from moto.iam.access_control import PermissionResult
from moto.s3.models import FakeBucket, FakeDeleteMarker
from moto.server import ThreadedMotoServer
from moto.utilities.tagging_service import TaggingService
from werkzeug.wrappers import Response


@contextmanager
def serving(port: int = 0) -> Iterator[str]:
    """Run the server on loopback, and point boto3 and Terraform at it; yield the endpoint."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=port, verbose=False)
    with ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        _extend(patch)
        server.start()
        stack.callback(server.stop)
        assert server._server is not None
        server._server.app = _one_at_a_time(server._server.app)
        host, bound = server.get_host_and_port()
        endpoint = f"http://{host}:{bound}"
        # Removes what an earlier server of this process has stored.
        urlopen(Request(f"{endpoint}/moto-api/reset", method="POST")).close()
        for name, value in environment(endpoint).items():
            patch.setenv(name, value)
        yield endpoint


def environment(endpoint: str) -> dict[str, str]:
    """Return what points boto3 and Terraform at the server, with credentials that open nothing."""
    return {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "somebody",
        "AWS_SECRET_ACCESS_KEY": "not-to-be-seen-anywhere",
        "AWS_REGION": "eu-west-3",
        "AWS_DEFAULT_REGION": "eu-west-3",
    }


def provider(endpoint: str) -> dict[str, object]:
    """Return what overrides the provider of infra/aws, so that Terraform asks this server and nobody else."""
    services = (
        "budgets", "cloudwatch", "ec2", "emr", "emrserverless", "iam", "kms", "s3", "sns", "sts",
    )  # fmt: skip
    settings = {
        "skip_credentials_validation": True,
        "skip_metadata_api_check": "true",
        "skip_region_validation": True,
        "s3_use_path_style": True,
        # More, and a call unknown to the server is tried for minutes; fewer, and a closed socket ends it all.
        "max_retries": 3,
        "endpoints": [dict.fromkeys(services, endpoint)],
    }
    return {"provider": {"aws": [settings]}}


def _one_at_a_time(app: Any) -> Any:
    """Let requests wait for each other: moto lists what another thread deletes, and fails.

    An SDK that has lost an answer sends its request again, with the same invocation id, and gets the same answer:
    otherwise it would make the resource twice. The body of each request is read before the answer. Terraform sends
    it after the headers, and would lose the answer if the connection were closed before that.
    """
    lock = threading.Lock()
    answered: dict[str, Response] = {}

    def answer(environ: Any, start: Any) -> Any:
        if length := int(environ.get("CONTENT_LENGTH") or 0):
            environ["wsgi.input"] = io.BytesIO(environ["wsgi.input"].read(length))
        invocation = environ.get("HTTP_AMZ_SDK_INVOCATION_ID")
        with lock:
            if environ["REQUEST_METHOD"] != "POST" or not invocation:
                return app(environ, start)
            response = answered.get(invocation) or Response.from_app(app, environ, buffered=True)
            if response.status_code < 500:
                answered[invocation] = response
            return response(environ, start)

    return answer


def _extend(patch: pytest.MonkeyPatch) -> None:
    for extended in (_Emr, _Serverless, _Budgets):
        for name, method in vars(extended).items():
            if not name.startswith("_"):
                patch.setattr(extended.__base__, name, method, raising=False)
    patch.setattr(ElasticMapReduceResponse, "get_region_from_url", BaseResponse.get_region_from_url)
    patch.setattr(
        Ec2InstanceAttributes,
        "requested_ec2_subnet_ids",
        property(lambda instance: instance.cluster.ec2_subnet_ids),
        raising=False,
    )
    patch.setattr(SecurityGroupRule, "__init__", _init_rule)
    patch.setattr(SecurityGroupRule, "description", property(lambda rule: rule.description_text))
    # moto reads no conditions: a bucket that refuses plain HTTP would refuse everything.
    patch.setattr(FakeBucket, "get_permission", lambda *_: PermissionResult.NEUTRAL)
    # A delete marker that is deleted itself is asked to free its memory, which moto taught to keys alone.
    patch.setattr(FakeDeleteMarker, "dispose", lambda *_: None, raising=False)
    patch.setattr(serverless, "APPLICATION_STATUS", "CREATED")
    patch.setattr(serverless.EMRServerlessBackend, "create_application", _create_application)
    patch.setitem(default_user_config["iam"], "load_aws_managed_policies", True)


_run_job_flow = ElasticMapReduceResponse.run_job_flow
_init_plain_rule = SecurityGroupRule.__init__
_TAGS = TaggingService()
_create_budget = BudgetsResponse.create_budget
_create_serverless = EMRServerlessResponse.create_application
_start_job_run = EMRServerlessResponse.start_job_run
_list_job_runs = EMRServerlessResponse.list_job_runs


class _Emr(ElasticMapReduceResponse):
    """The calls of EMR that moto has not; what they set is kept on moto's own cluster."""

    def run_job_flow(self) -> ActionResult:
        done = _run_job_flow(self)
        cluster = _cluster(self, cast("dict[str, str]", done.result)["JobFlowId"])
        asked = self._get_param("Instances", {})
        cluster.auto_termination_policy = self._get_param("AutoTerminationPolicy")
        cluster.managed_scaling_policy = None
        cluster.instance_fleets = []
        cluster.ec2_subnet_ids = asked.get("Ec2SubnetIds", [])
        for number, fleet in enumerate(asked.get("InstanceFleets", [])):
            cluster.instance_collection_type = "INSTANCE_FLEET"
            _add_fleet(cluster, f"if-{number}", fleet)
        return done

    def add_instance_fleet(self) -> ActionResult:
        cluster = _cluster(self, self._get_param("ClusterId"))
        fleet_id = f"if-{len(cluster.instance_fleets)}"
        _add_fleet(cluster, fleet_id, self._get_param("InstanceFleet"))
        return ActionResult({"ClusterId": cluster.id, "InstanceFleetId": fleet_id})

    def list_instance_fleets(self) -> ActionResult:
        cluster = _cluster(self, self._get_param("ClusterId"))
        return ActionResult({"InstanceFleets": cluster.instance_fleets})

    def modify_instance_fleet(self) -> EmptyResult:
        cluster = _cluster(self, self._get_param("ClusterId"))
        changed = self._get_param("InstanceFleet")  # it knows its keys by these names, and lists them by others
        capacity = {name: changed.get(name) for name in ("TargetOnDemandCapacity", "TargetSpotCapacity")}
        for fleet in cluster.instance_fleets:
            if fleet["Id"] == changed["InstanceFleetId"]:
                fleet.update({name: value for name, value in capacity.items() if value is not None})
        return EmptyResult()

    def put_managed_scaling_policy(self) -> ActionResult:
        cluster = _cluster(self, self._get_param("ClusterId"))
        cluster.managed_scaling_policy = self._get_param("ManagedScalingPolicy")
        return ActionResult({})

    def get_managed_scaling_policy(self) -> ActionResult:
        cluster = _cluster(self, self._get_param("ClusterId"))
        return ActionResult({"ManagedScalingPolicy": cluster.managed_scaling_policy})

    def remove_managed_scaling_policy(self) -> ActionResult:
        _cluster(self, self._get_param("ClusterId")).managed_scaling_policy = None
        return ActionResult({})

    def get_auto_termination_policy(self) -> ActionResult:
        cluster = _cluster(self, self._get_param("ClusterId"))
        return ActionResult({"AutoTerminationPolicy": cluster.auto_termination_policy})

    def put_auto_termination_policy(self) -> ActionResult:
        cluster = _cluster(self, self._get_param("ClusterId"))
        cluster.auto_termination_policy = self._get_param("AutoTerminationPolicy")
        return ActionResult({})


def _cluster(response: ElasticMapReduceResponse, cluster_id: str) -> Any:
    return response.backend.describe_cluster(cluster_id)


class _Serverless(EMRServerlessResponse):
    """EMR Serverless, less what moto forgets or takes for something else."""

    def create_application(self) -> ActionResult:
        done = _create_serverless(self)
        kept: Any = self.emrserverless_backend.get_application(cast("dict[str, str]", done.result)["applicationId"])
        kept.architecture = self._get_param("architecture", "X86_64")
        kept.image_configuration = self._get_param("imageConfiguration")
        return done

    def start_job_run(self) -> ActionResult:
        """A job starts the application, which then cannot be removed until it is stopped."""
        done = _start_job_run(self)
        self.emrserverless_backend.start_application(self._get_param("applicationId"))
        return done

    def list_job_runs(self) -> ActionResult:
        """Return no jobs for an application that has run none, instead of an error."""
        self.emrserverless_backend.job_runs.setdefault(self._get_param("applicationId"), [])
        return _list_job_runs(self)


class _Budgets(BudgetsResponse):
    """The calls of Budgets that moto has not."""

    def create_budget(self) -> str:
        tags = self._get_param("ResourceTags", [])
        _TAGS.tag_resource(self._get_param("Budget")["BudgetName"], tags)
        return _create_budget(self)

    def list_tags_for_resource(self) -> str:
        name = self._get_param("ResourceARN").rpartition("/")[2]
        return json.dumps({"ResourceTags": _TAGS.list_tags_for_resource(name)["Tags"]})

    def describe_subscribers_for_notification(self) -> str:
        budget = self.backend.budgets[self._get_param("AccountId")][self._get_param("BudgetName")]
        asked = self._get_param("Notification")
        found = [each.subscribers for each in budget.notifications if each.details == asked]
        return json.dumps({"Subscribers": found[0] if found else []})


def _add_fleet(cluster: Any, fleet_id: str, asked: dict[str, Any]) -> None:
    """Add a fleet as ListInstanceFleets returns it: everything that was requested runs at once."""
    settings = {key: value for key, value in asked.items() if key != "InstanceTypeConfigs"}
    counts = {f"Provisioned{kind}Capacity": asked.get(f"Target{kind}Capacity", 0) for kind in ("OnDemand", "Spot")}
    machines = [{"WeightedCapacity": 1, **machine} for machine in asked.get("InstanceTypeConfigs", [])]
    state = {"Id": fleet_id, "Status": {"State": "RUNNING"}, "InstanceTypeSpecifications": machines}
    cluster.instance_fleets.append({**settings, **counts, **state})


_create_plain_application = serverless.EMRServerlessBackend.create_application


def _create_application(self: Any, **asked: Any) -> Any:
    """Accept the engine's name in lower case, as Terraform's provider writes it."""
    return _create_plain_application(self, **{**asked, "application_type": asked["application_type"].upper()})


def _init_rule(self: Any, *args: Any, **kwargs: Any) -> None:
    """Keep the description of rules between groups too; moto keeps it only for rules with addresses."""
    _init_plain_rule(self, *args, **kwargs)
    texts = (each.get("Description") for each in args if isinstance(each, dict))
    self.description_text = next(filter(None, texts), None)


if __name__ == "__main__":
    with serving(int(sys.argv[1])) as address:
        print(address, flush=True)
        threading.Event().wait()
