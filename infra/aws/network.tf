# Only private subnets, without a gateway to the internet. Nodes reach S3, KMS and the EMR service.

resource "aws_vpc" "main" {
  #checkov:skip=CKV2_AWS_11:All traffic goes through the endpoints below; CloudTrail logs the use of S3 and KMS.
  cidr_block           = "10.20.0.0/20"
  enable_dns_hostnames = true
  enable_dns_support   = true
  tags                 = merge(local.emr_tag, { Name = var.name })
}

# The default security group allows no traffic.
resource "aws_default_security_group" "closed" {
  vpc_id = aws_vpc.main.id
}

# Three zones, so that EMR can choose one with free machines: every region of the list has a, b and c.
resource "aws_subnet" "private" {
  for_each = { a = 0, b = 1, c = 2 }

  vpc_id            = aws_vpc.main.id
  availability_zone = "${var.region}${each.key}"
  cidr_block        = cidrsubnet(aws_vpc.main.cidr_block, 2, each.value)
  tags              = merge(local.emr_tag, { Name = "${var.name}-${each.key}" })
}

resource "aws_route_table" "private" {
  vpc_id = aws_vpc.main.id
}

resource "aws_route_table_association" "private" {
  for_each = aws_subnet.private

  subnet_id      = each.value.id
  route_table_id = aws_route_table.private.id
}

# Free. It allows our bucket, and the buckets from which EMR installs and to which it writes its logs, in this region:
# docs.aws.amazon.com/emr/latest/ManagementGuide/private-subnet-iampolicy.html. dnf finds Python in the first.
resource "aws_vpc_endpoint" "s3" {
  vpc_id          = aws_vpc.main.id
  service_name    = "com.amazonaws.${var.region}.s3"
  route_table_ids = [aws_route_table.private.id]

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid       = "OurBucket"
        Effect    = "Allow"
        Principal = "*"
        Action    = "s3:*"
        Resource  = [aws_s3_bucket.data.arn, "${aws_s3_bucket.data.arn}/*"]
      },
      {
        Sid       = "Repositories"
        Effect    = "Allow"
        Principal = "*"
        Action    = "s3:GetObject"
        Resource = [
          "arn:aws:s3:::al2023-repos-${var.region}-de612dc2/*",
          "arn:aws:s3:::repo.${var.region}.emr.amazonaws.com/*",
          "arn:aws:s3:::aws157-instance-data-0-prod-${var.region}/*",
          "arn:aws:s3:::aws157-instance-data-1-prod-${var.region}/*",
        ]
      },
      {
        Sid       = "SystemLogsOfEmr"
        Effect    = "Allow"
        Principal = "*"
        Action    = ["s3:PutObject", "s3:AbortMultipartUpload"]
        Resource  = "arn:aws:s3:::aws157-logs-prod-${var.region}/*"
      },
    ]
  })
}

# Each costs by the hour until the deployment is removed, even after the cluster has ended. Therefore they exist only
# with an engine, and in one zone, which the others can reach.
# kms: nodes request the keys for their disks from it
#      (docs.aws.amazon.com/kms/latest/developerguide/services-emr.html).
# emr: connects nodes of emr-spark-8 with the EMR service. EMR 7 has its own network interface.
# No sts: nodes get their roles from the instance's metadata. No logs: they go to the bucket.
resource "aws_vpc_endpoint" "service" {
  for_each = merge(
    local.computes ? { kms = "com.amazonaws.${var.region}.kms" } : {},
    local.on_emr && local.is_spark_8 ? { emr = "aws.api.${var.region}.emr-service-cell01" } : {},
  )

  vpc_id              = aws_vpc.main.id
  service_name        = each.value
  vpc_endpoint_type   = "Interface"
  private_dns_enabled = true
  subnet_ids          = [aws_subnet.private["a"].id]
  security_group_ids  = [aws_security_group.this[each.key == "emr" ? "service" : "endpoints"].id]
  tags                = merge(local.emr_tag, { Name = "${var.name}-${each.key}" })
}
