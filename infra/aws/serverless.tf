# EMR Serverless: between jobs nothing runs, and only the endpoint (network.tf) costs. Its disks are encrypted with
# AWS's own key: version 5.100 of the provider cannot set another.

resource "aws_emrserverless_application" "this" {
  count = local.on_serverless ? 1 : 0

  name          = var.name
  release_label = var.release
  type          = "spark"
  architecture  = local.is_arm ? "ARM64" : "X86_64"

  dynamic "image_configuration" {
    for_each = var.image == null ? [] : [var.image]

    content {
      image_uri = image_configuration.value
    }
  }

  # max_workers workers and a driver, each with 4 vCPU, 16 GB and 20 GB of disk: this limits the cost of an hour.
  # No pre-initialized capacity, which would cost while nothing runs.
  maximum_capacity {
    cpu    = "${4 * (local.most_workers + 1)} vCPU"
    memory = "${16 * (local.most_workers + 1)} GB"
    disk   = "${20 * (local.most_workers + 1)} GB"
  }

  auto_start_configuration {
    enabled = true
  }

  auto_stop_configuration {
    enabled              = true
    idle_timeout_minutes = var.idle_minutes
  }

  network_configuration {
    subnet_ids         = [for subnet in aws_subnet.private : subnet.id]
    security_group_ids = [aws_security_group.this["workers"].id]
  }

  depends_on = [
    aws_vpc_endpoint.s3, aws_vpc_endpoint.service, aws_route_table_association.private,
    aws_vpc_security_group_egress_rule.inside, aws_vpc_security_group_egress_rule.s3,
    aws_vpc_security_group_ingress_rule.inside,
  ]
}
