# One key for all stored data: the bucket, the nodes' disks, the messages.

resource "aws_kms_key" "data" {
  description             = "verger ${var.name}: photos, results, disks and messages"
  enable_key_rotation     = true
  deletion_window_in_days = 7

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        # Without it the key could never be changed again; IAM defines who may use it (roles.tf).
        Sid       = "AccountGovernsByIAM"
        Effect    = "Allow"
        Principal = { AWS = "arn:aws:iam::${local.account}:root" }
        Action    = "kms:*"
        Resource  = "*"
      },
      {
        # An alarm can write to an encrypted topic only if the key allows CloudWatch:
        # docs.aws.amazon.com/sns/latest/dg/sns-key-management.html
        Sid       = "AlarmsAreEncrypted"
        Effect    = "Allow"
        Principal = { Service = "cloudwatch.amazonaws.com" }
        Action    = ["kms:Decrypt", "kms:GenerateDataKey"]
        Resource  = "*"
        Condition = { StringEquals = { "aws:SourceAccount" = local.account } }
      },
    ]
  })
}

resource "aws_kms_alias" "data" {
  name          = "alias/verger-${var.name}"
  target_key_id = aws_kms_key.data.key_id
}
