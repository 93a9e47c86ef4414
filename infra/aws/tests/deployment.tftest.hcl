# terraform test, offline: the provider is a stand-in, so these look at what would be asked for, not at AWS.

mock_provider "aws" {
  mock_resource "aws_vpc" {
    defaults = { owner_id = "123456789012" }
  }

  mock_resource "aws_kms_key" {
    defaults = { arn = "arn:aws:kms:eu-west-3:123456789012:key/11111111-2222-3333-4444-555555555555" }
  }

  mock_resource "aws_s3_bucket" {
    defaults = { arn = "arn:aws:s3:::orchard-1", bucket = "orchard-1" }
  }

  mock_resource "aws_iam_role" {
    defaults = { arn = "arn:aws:iam::123456789012:role/orchard" }
  }

  mock_resource "aws_iam_instance_profile" {
    defaults = { arn = "arn:aws:iam::123456789012:instance-profile/orchard" }
  }

  mock_resource "aws_sns_topic" {
    defaults = { arn = "arn:aws:sns:eu-west-3:123456789012:verger-orchard" }
  }

  mock_resource "aws_emrserverless_application" {
    defaults = { arn = "arn:aws:emr-serverless:eu-west-3:123456789012:/applications/a" }
  }
}

variables {
  name        = "orchard"
  package_dir = "tests/package"
}

run "defaults_are_small_and_private" {
  assert {
    condition     = aws_emr_cluster.this[0].core_instance_fleet[0].target_on_demand_capacity == 1
    error_message = "one worker, on demand"
  }

  assert {
    condition     = length(aws_emr_instance_fleet.task) + length(aws_emr_managed_scaling_policy.this) == 0
    error_message = "nothing scales unless max_workers says so"
  }

  assert {
    condition     = aws_emr_cluster.this[0].auto_termination_policy[0].idle_timeout == 900
    error_message = "it ends after a quarter of an hour without work"
  }

  assert {
    condition     = alltrue([for subnet in aws_subnet.private : coalesce(subnet.map_public_ip_on_launch, false) == false])
    error_message = "no node has a public address"
  }

  assert {
    condition     = alltrue([for rule in aws_vpc_security_group_ingress_rule.inside : rule.cidr_ipv4 == null && rule.cidr_ipv6 == null])
    error_message = "only the deployment's own groups may come in, no address from outside"
  }

  assert {
    condition     = keys(aws_vpc_endpoint.service) == ["kms"]
    error_message = "each endpoint costs by the hour: KMS alone on EMR 7"
  }

  assert {
    condition     = length(aws_cloudwatch_metric_alarm.long_life) + length(aws_budgets_budget.month.notification) == 0
    error_message = "no one is notified where no address is given"
  }

  assert {
    condition     = aws_s3_bucket.data.force_destroy == false
    error_message = "photos are not lost by default"
  }

  assert {
    condition = (
      jsondecode(aws_emr_security_configuration.this[0].configuration).EncryptionConfiguration.EnableAtRestEncryption
      && jsondecode(aws_emr_security_configuration.this[0].configuration).InstanceMetadataServiceConfiguration.MinimumInstanceMetadataServiceVersion == 2
    )
    error_message = "disks are encrypted, credentials of nodes need a token"
  }

  assert {
    condition     = aws_emr_cluster.this[0].bootstrap_action[0].path == "s3://orchard-1/packages/bootstrap.sh"
    error_message = "nodes install verger from the bucket"
  }

  assert {
    condition     = strcontains(aws_iam_role_policy.service[0].policy, "AWSServiceRoleForEC2Spot")
    error_message = "spot machines come to an account that never had one"
  }

  assert {
    condition     = contains(keys(aws_s3_object.package), "bootstrap.sh")
    error_message = "what nodes install is in the bucket"
  }
}

run "scaling_adds_spot_machines_only" {
  command = plan

  variables {
    workers     = 2
    max_workers = 8
  }

  assert {
    condition     = one(one(aws_emr_managed_scaling_policy.this).compute_limits).maximum_ondemand_capacity_units == 2
    error_message = "what scaling adds is spot"
  }

  assert {
    condition     = one(one(aws_emr_managed_scaling_policy.this).compute_limits).maximum_capacity_units == 8
    error_message = "and at most max_workers"
  }

  assert {
    condition     = one(one(aws_emr_instance_fleet.task).instance_type_configs).bid_price_as_percentage_of_on_demand_price == 100
    error_message = "a spot machine never costs more than one on demand"
  }
}

run "without_spot_the_core_grows" {
  command = plan

  variables {
    max_workers = 3
    spot        = false
  }

  assert {
    condition     = length(aws_emr_instance_fleet.task) == 0
    error_message = "no spot fleet"
  }

  assert {
    condition     = one(one(aws_emr_managed_scaling_policy.this).compute_limits).maximum_core_capacity_units == 3
    error_message = "core nodes grow to max_workers"
  }
}

run "someone_is_notified" {
  command = plan

  variables {
    email     = "orchard@example.eu"
    budget    = 25
    max_hours = 6
  }

  assert {
    condition     = toset([for sent in aws_budgets_budget.month.notification : sent.threshold]) == toset([50, 90, 100])
    error_message = "at half, nine tenths and all of the budget"
  }

  assert {
    condition     = one(aws_budgets_budget.month.cost_filter).values == tolist(["user:deployment$orchard"])
    error_message = "the budget counts this deployment alone"
  }

  assert {
    condition     = aws_cloudwatch_metric_alarm.long_life[0].period * aws_cloudwatch_metric_alarm.long_life[0].evaluation_periods == 6 * 3600
    error_message = "a cluster that has lived for max_hours raises the alarm"
  }
}

run "spark_4_has_its_own_way_to_the_service" {
  command = plan

  variables {
    release  = "emr-spark-8.0.0"
    notebook = true
  }

  assert {
    condition     = aws_vpc_endpoint.service["emr"].service_name == "aws.api.eu-west-3.emr-service-cell01"
    error_message = "emr-spark-8 needs this endpoint"
  }

  assert {
    condition     = !contains(aws_emr_cluster.this[0].applications, "JupyterHub")
    error_message = "emr-spark-8 has no JupyterHub"
  }

  assert {
    condition     = !contains(keys(aws_vpc_security_group_ingress_rule.inside), "service-primary-8443")
    error_message = "the ports of EMR 7 are closed"
  }
}

run "serverless_stops_by_itself_and_has_a_ceiling" {
  command = plan

  variables {
    engine       = "serverless"
    max_workers  = 3
    idle_minutes = 5
    image        = "123456789012.dkr.ecr.eu-west-3.amazonaws.com/verger:0.1.0"
  }

  assert {
    condition     = endswith(aws_emrserverless_application.this[0].image_configuration[0].image_uri, "/verger:0.1.0")
    error_message = "its workers have verger from their image"
  }

  assert {
    condition     = length(aws_emr_cluster.this) == 0 && length(aws_iam_role.service) == 0
    error_message = "no cluster, nor what only a cluster needs"
  }

  assert {
    condition     = aws_emrserverless_application.this[0].maximum_capacity[0].cpu == "16 vCPU"
    error_message = "three workers and a driver of four each"
  }

  assert {
    condition     = aws_emrserverless_application.this[0].auto_stop_configuration[0].idle_timeout_minutes == 5
    error_message = "it stops without work"
  }

  assert {
    condition     = length(aws_emrserverless_application.this[0].initial_capacity) == 0
    error_message = "nothing is paid while nothing runs"
  }

  assert {
    condition     = aws_emrserverless_application.this[0].architecture == "X86_64"
    error_message = "the machines are x86 by default, for which OpenVINO has wheels that run there"
  }
}

run "serverless_has_the_processor_of_the_machines" {
  command = plan

  variables {
    engine  = "serverless"
    machine = "m7g.xlarge"
  }

  assert {
    condition     = aws_emrserverless_application.this[0].architecture == "ARM64"
    error_message = "Graviton is ARM"
  }
}

run "none_keeps_the_data_and_what_is_free" {
  command = plan

  variables {
    engine      = "none"
    package_dir = null
  }

  assert {
    condition     = length(aws_emr_cluster.this) + length(aws_emrserverless_application.this) + length(aws_vpc_endpoint.service) == 0
    error_message = "nothing costs by the hour"
  }

  assert {
    condition     = output.cluster_id == null && output.application_id == null
    error_message = "there is nothing to submit to"
  }
}

# One of another processor could not run the package.
run "mixed_processors_are_refused" {
  command = plan

  variables {
    primary_machine = "m6i.xlarge"
    machine         = "m7g.xlarge"
  }

  expect_failures = [aws_emr_cluster.this]
}

# By that alone: `down` looks at the notebook too, when the package's folder may be gone.
run "a_cluster_without_a_package_is_refused" {
  command = plan

  variables {
    package_dir = null
    notebook    = true
  }

  expect_failures = [aws_emr_cluster.this]
}

run "fewer_workers_at_most_than_at_least_is_refused" {
  command = plan

  variables {
    workers     = 4
    max_workers = 2
  }

  expect_failures = [var.max_workers]
}

run "london_is_refused" {
  command = plan

  variables {
    region = "eu-west-2"
  }

  expect_failures = [var.region]
}

run "zurich_is_refused" {
  command = plan

  variables {
    region = "eu-central-2"
  }

  expect_failures = [var.region]
}

run "virginia_is_refused" {
  command = plan

  variables {
    region = "us-east-1"
  }

  expect_failures = [var.region]
}
