# A cluster on EC2: it ends automatically when it is idle, and the next `up` creates another.

locals {
  most_workers = coalesce(var.max_workers, var.workers)
  scales       = local.most_workers > var.workers
  spot_scales  = local.on_emr && local.scales && var.spot

  # Graviton types have a g after the generation. The package has wheels for one processor type.
  arm         = "^[a-z]+[0-9]+g"
  is_arm      = can(regex(local.arm, var.machine))
  has_one_cpu = can(regex(local.arm, var.primary_machine)) == local.is_arm

  notebook_applications = local.is_spark_8 ? ["Livy", "JupyterEnterpriseGateway"] : ["JupyterHub"]

  spark_defaults = {
    "spark.pyspark.python"        = "/opt/verger/bin/python"
    "spark.pyspark.driver.python" = "/opt/verger/bin/python"
    # The default of Amazon's tools is us-east-1; the driver reads it from here too (verger.engine.spark.submitted).
    "spark.executorEnv.AWS_REGION"  = var.region
    "spark.eventLog.enabled"        = "true"
    "spark.eventLog.dir"            = "s3://${aws_s3_bucket.data.bucket}/events/"
    "spark.history.fs.logDirectory" = "s3://${aws_s3_bucket.data.bucket}/events/"
  }

  configurations = concat(
    [{ Classification = "spark-defaults", Properties = local.spark_defaults }],
    var.notebook && !local.is_spark_8 ? [{
      Classification = "jupyter-s3-conf"
      Properties     = { "s3.persistence.enabled" = "true", "s3.persistence.bucket" = aws_s3_bucket.data.bucket }
    }] : [],
  )
}

resource "aws_emr_security_configuration" "this" {
  #checkov:skip=CKV_AWS_351:EMR encrypts between nodes only with a certificate that must be kept and renewed. Instead: S3 only with TLS (the bucket refuses other connections), nodes of Nitro machines in one private network, whose hardware encrypts what passes between them.
  count = local.on_emr ? 1 : 0

  name_prefix = "${var.name}-"

  configuration = jsonencode({
    EncryptionConfiguration = {
      EnableInTransitEncryption = false
      EnableAtRestEncryption    = true
      AtRestEncryptionConfiguration = {
        S3EncryptionConfiguration = { EncryptionMode = "SSE-KMS", AwsKmsKey = aws_kms_key.data.arn }
        LocalDiskEncryptionConfiguration = {
          EnableEbsEncryption       = true
          EncryptionKeyProviderType = "AwsKms"
          AwsKmsKey                 = aws_kms_key.data.arn
        }
      }
    }
    # IMDSv2: a node's credentials need a token and cannot be read from other machines.
    InstanceMetadataServiceConfiguration = {
      MinimumInstanceMetadataServiceVersion = 2
      HttpPutResponseHopLimit               = 1
    }
  })
}

resource "aws_emr_cluster" "this" {
  count = local.on_emr ? 1 : 0

  name                              = var.name
  release_label                     = var.release
  applications                      = concat(["Hadoop", "Spark"], var.notebook ? local.notebook_applications : [])
  service_role                      = aws_iam_role.service[0].arn
  security_configuration            = aws_emr_security_configuration.this[0].name
  log_uri                           = "s3://${aws_s3_bucket.data.bucket}/logs/"
  configurations_json               = jsonencode(local.configurations)
  keep_job_flow_alive_when_no_steps = true
  termination_protection            = false
  ebs_root_volume_size              = 40
  tags                              = local.emr_tag

  auto_termination_policy {
    idle_timeout = var.idle_minutes * 60
  }

  ec2_attributes {
    subnet_ids                        = [for subnet in aws_subnet.private : subnet.id]
    instance_profile                  = aws_iam_instance_profile.node[0].arn
    emr_managed_master_security_group = aws_security_group.this["primary"].id
    emr_managed_slave_security_group  = aws_security_group.this["workers"].id
    service_access_security_group     = aws_security_group.this["service"].id
  }

  master_instance_fleet {
    name                      = "primary"
    target_on_demand_capacity = 1

    instance_type_configs {
      instance_type = var.primary_machine
    }
  }

  # They store HDFS and shuffled data: never spot.
  core_instance_fleet {
    name                      = "core"
    target_on_demand_capacity = var.workers

    instance_type_configs {
      instance_type     = var.machine
      weighted_capacity = 1
    }
  }

  bootstrap_action {
    name = "verger"
    path = "s3://${aws_s3_bucket.data.bucket}/packages/bootstrap.sh"
    args = ["s3://${aws_s3_bucket.data.bucket}/packages"]
  }

  lifecycle {
    # Managed scaling changes it.
    ignore_changes = [core_instance_fleet[0].target_on_demand_capacity]

    precondition {
      condition     = local.has_one_cpu
      error_message = "primary_machine and machine must have the same kind of processor, Graviton or x86: the package is built for one."
    }

    precondition {
      condition     = var.package_dir != null
      error_message = "engine = \"emr\" needs package_dir: its nodes install verger from there. Create one with `verger cloud package`."
    }
  }

  # Nodes install the package at their start, and need the network, their permissions and the firewall for that.
  depends_on = [
    aws_s3_object.package, aws_s3_object.events, aws_iam_role_policy.job, aws_iam_role_policy.service,
    aws_iam_role_policy_attachment.service, aws_vpc_endpoint.s3, aws_vpc_endpoint.service,
    aws_route_table_association.private, aws_vpc_security_group_egress_rule.inside,
    aws_vpc_security_group_egress_rule.s3, aws_vpc_security_group_ingress_rule.inside,
  ]
}

# The path where JupyterHub stores the notebooks of its first user (from memory, not verified).
resource "aws_s3_object" "notebook" {
  count = local.on_emr && var.notebook && var.package_dir != null ? 1 : 0

  bucket      = aws_s3_bucket.data.id
  key         = "jupyter/jovyan/verger.ipynb"
  source      = "${var.package_dir}/verger.ipynb"
  source_hash = filesha256("${var.package_dir}/verger.ipynb")
  kms_key_id  = aws_kms_key.data.arn
  depends_on  = [aws_s3_bucket_versioning.data]
}

# Spot machines only add speed: tasks of a machine that AWS reclaims run again elsewhere. The maximum price is that on
# demand. EMR requires at least one; scaling may remove it.
resource "aws_emr_instance_fleet" "task" {
  count = local.spot_scales ? 1 : 0

  cluster_id           = aws_emr_cluster.this[0].id
  name                 = "spot"
  target_spot_capacity = 1

  instance_type_configs {
    instance_type                              = var.machine
    weighted_capacity                          = 1
    bid_price_as_percentage_of_on_demand_price = 100
  }

  launch_specifications {
    spot_specification {
      allocation_strategy      = "price-capacity-optimized"
      timeout_action           = "SWITCH_TO_ON_DEMAND"
      timeout_duration_minutes = 60
    }
  }

  lifecycle {
    ignore_changes = [target_spot_capacity]
  }
}

resource "aws_emr_managed_scaling_policy" "this" {
  count = local.on_emr && local.scales ? 1 : 0

  cluster_id = aws_emr_cluster.this[0].id

  compute_limits {
    unit_type                       = "InstanceFleetUnits"
    minimum_capacity_units          = var.workers
    maximum_capacity_units          = local.most_workers
    maximum_core_capacity_units     = var.spot ? var.workers : local.most_workers
    maximum_ondemand_capacity_units = var.spot ? var.workers : local.most_workers
  }
}
