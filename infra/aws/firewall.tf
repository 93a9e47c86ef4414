# Allowed connections; all others are blocked: docs.aws.amazon.com/emr/latest/ManagementGuide/emr-man-sec-groups.html
# (private subnets). EMR adds its own rules between these groups; none of them allows other addresses.

locals {
  groups = {
    primary   = "The node that leads"
    workers   = "Core and task nodes, and the workers of EMR Serverless"
    service   = "The EMR service, where it enters the network"
    endpoints = "KMS"
  }

  nodes = ["primary", "workers"]

  # From, to, protocol, port (null: all).
  inside = concat(
    [for pair in setproduct(local.nodes, local.nodes) : [pair[0], pair[1], "-1", null]],
    [for node in local.nodes : [node, "endpoints", "tcp", 443]],
    # EMR 7: its manager connects to the nodes at 8443, and the primary connects to it at 9443.
    local.is_spark_8 ? [] : [["service", "primary", "tcp", 8443], ["service", "workers", "tcp", 8443]],
    local.is_spark_8 ? [] : [for node in local.nodes : [node, "service", "tcp", 9443]],
    local.is_spark_8 ? [for node in local.nodes : [node, "service", "tcp", 443]] : [],
  )

  rules = { for rule in local.inside : join("-", compact([rule[0], rule[1], rule[3]])) => rule }
}

resource "aws_security_group" "this" {
  #checkov:skip=CKV2_AWS_5:They are attached to the cluster, the application and the endpoints, which depend on the engine.
  for_each = local.groups

  name_prefix            = "${var.name}-${each.key}-"
  description            = each.value
  vpc_id                 = aws_vpc.main.id
  revoke_rules_on_delete = true # the groups refer to each other in EMR's rules, so none could be deleted first
  tags                   = merge(local.emr_tag, { Name = "${var.name}-${each.key}" })
}

resource "aws_vpc_security_group_egress_rule" "inside" {
  for_each = local.rules

  security_group_id            = aws_security_group.this[each.value[0]].id
  referenced_security_group_id = aws_security_group.this[each.value[1]].id
  description                  = "to ${each.value[1]}"
  ip_protocol                  = each.value[2]
  from_port                    = each.value[3]
  to_port                      = each.value[3]
}

resource "aws_vpc_security_group_ingress_rule" "inside" {
  for_each = local.rules

  security_group_id            = aws_security_group.this[each.value[1]].id
  referenced_security_group_id = aws_security_group.this[each.value[0]].id
  description                  = "from ${each.value[0]}"
  ip_protocol                  = each.value[2]
  from_port                    = each.value[3]
  to_port                      = each.value[3]
}

# To S3 through the gateway, which allows only the buckets in its policy.
resource "aws_vpc_security_group_egress_rule" "s3" {
  for_each = toset(local.nodes)

  security_group_id = aws_security_group.this[each.key].id
  prefix_list_id    = aws_vpc_endpoint.s3.prefix_list_id
  description       = "to S3"
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
}
