# Roles and their permissions. No role may access another bucket, key or deployment.

locals {
  # The permissions on a key that EBS needs for EMR: docs.aws.amazon.com/emr/latest/ManagementGuide (local disk encryption).
  disk_actions = [
    "kms:Encrypt", "kms:Decrypt", "kms:ReEncryptFrom", "kms:ReEncryptTo", "kms:GenerateDataKey",
    "kms:GenerateDataKeyWithoutPlaintext", "kms:DescribeKey",
  ]

  # A job runs on EC2 nodes or on EMR Serverless.
  job_principal = local.on_serverless ? "emr-serverless.amazonaws.com" : "ec2.amazonaws.com"
  job_writes    = concat(["packed", "results", "tmp", "logs", "events"], var.notebook ? ["jupyter"] : [])
}

# The EMR service: it starts, stops and tags machines in our network.

resource "aws_iam_role" "service" {
  count = local.on_emr ? 1 : 0

  name_prefix = "${var.name}-emr-"

  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "elasticmapreduce.amazonaws.com" }
      Action    = "sts:AssumeRole"
      Condition = {
        StringEquals = { "aws:SourceAccount" = local.account }
        ArnLike      = { "aws:SourceArn" = "arn:aws:elasticmapreduce:${var.region}:${local.account}:*" }
      }
    }]
  })
}

# AWS maintains it; it allows only resources with local.emr_tag.
resource "aws_iam_role_policy_attachment" "service" {
  count = local.on_emr ? 1 : 0

  role       = aws_iam_role.service[0].name
  policy_arn = "arn:aws:iam::aws:policy/service-role/AmazonEMRServicePolicy_v2"
}

resource "aws_iam_role_policy" "service" {
  count = local.on_emr ? 1 : 0

  name = "nodes-and-disks"
  role = aws_iam_role.service[0].id

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid       = "GiveNodesTheirRole"
        Effect    = "Allow"
        Action    = "iam:PassRole"
        Resource  = aws_iam_role.job.arn
        Condition = { StringEquals = { "iam:PassedToService" = "ec2.amazonaws.com" } }
      },
      {
        Sid      = "EncryptDisks"
        Effect   = "Allow"
        Action   = local.disk_actions
        Resource = aws_kms_key.data.arn
      },
      {
        Sid       = "LetDisksUseTheKey"
        Effect    = "Allow"
        Action    = "kms:CreateGrant"
        Resource  = aws_kms_key.data.arn
        Condition = { Bool = { "kms:GrantIsForAWSResource" = "true" } }
      },
      {
        # An account that never had a spot machine lacks this role, and AmazonEMRServicePolicy_v2 lacks this permission.
        Sid       = "LetSpotMachinesCome"
        Effect    = "Allow"
        Action    = "iam:CreateServiceLinkedRole"
        Resource  = "arn:aws:iam::*:role/aws-service-role/spot.amazonaws.com/AWSServiceRoleForEC2Spot*"
        Condition = { StringLike = { "iam:AWSServiceName" = "spot.amazonaws.com" } }
      },
    ]
  })
}

# A job: reads photos, writes results. It cannot write raw/ and packages/.

resource "aws_iam_role" "job" {
  name_prefix = "${var.name}-job-"

  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = local.job_principal }
      Action    = "sts:AssumeRole"
    }]
  })
}

resource "aws_iam_role_policy" "job" {
  name = "photos-and-results"
  role = aws_iam_role.job.id

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid      = "List"
        Effect   = "Allow"
        Action   = ["s3:ListBucket", "s3:GetBucketLocation", "s3:ListBucketMultipartUploads"]
        Resource = aws_s3_bucket.data.arn
      },
      {
        Sid      = "Read"
        Effect   = "Allow"
        Action   = ["s3:GetObject", "s3:GetObjectVersion"]
        Resource = "${aws_s3_bucket.data.arn}/*"
      },
      {
        # Spark renames by copy and delete; a result is published in the same way.
        Sid      = "Write"
        Effect   = "Allow"
        Action   = ["s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"]
        Resource = [for folder in local.job_writes : "${aws_s3_bucket.data.arn}/${folder}/*"]
      },
      {
        Sid      = "EncryptAndDecrypt"
        Effect   = "Allow"
        Action   = local.disk_actions
        Resource = aws_kms_key.data.arn
      },
    ]
  })
}

resource "aws_iam_instance_profile" "node" {
  count = local.on_emr ? 1 : 0

  name_prefix = "${var.name}-node-"
  role        = aws_iam_role.job.name
}

# The submitter of jobs, who also fetches results. Users and programs of this account can assume the role if their own
# policy allows it; it can neither create nor remove anything.

resource "aws_iam_role" "submitter" {
  name_prefix = "${var.name}-submitter-"

  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { AWS = "arn:aws:iam::${local.account}:root" }
      Action    = "sts:AssumeRole"
    }]
  })
}

resource "aws_iam_role_policy" "submitter" {
  name = "photos-in-results-out"
  role = aws_iam_role.submitter.id

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid      = "List"
        Effect   = "Allow"
        Action   = ["s3:ListBucket", "s3:GetBucketLocation", "s3:ListBucketMultipartUploads"]
        Resource = aws_s3_bucket.data.arn
      },
      {
        Sid      = "Fetch"
        Effect   = "Allow"
        Action   = "s3:GetObject"
        Resource = [for folder in ["raw", "packed", "results", "logs", "events"] : "${aws_s3_bucket.data.arn}/${folder}/*"]
      },
      {
        # And the weights that `verger cloud submit` uploads.
        Sid      = "BringPhotos"
        Effect   = "Allow"
        Action   = ["s3:PutObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"]
        Resource = [for folder in ["raw", "packages/files"] : "${aws_s3_bucket.data.arn}/${folder}/*"]
      },
      {
        Sid       = "ThroughS3Alone"
        Effect    = "Allow"
        Action    = ["kms:Decrypt", "kms:GenerateDataKey"]
        Resource  = aws_kms_key.data.arn
        Condition = { StringEquals = { "kms:ViaService" = "s3.${var.region}.amazonaws.com" } }
      },
    ]
  })
}

# A cluster that has ended is created again with another id, so the tag identifies it, not the id.
resource "aws_iam_role_policy" "submitter_emr" {
  count = local.on_emr ? 1 : 0

  name = "steps-of-our-cluster"
  role = aws_iam_role.submitter.id

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid    = "Steps"
      Effect = "Allow"
      Action = [
        "elasticmapreduce:AddJobFlowSteps", "elasticmapreduce:CancelSteps", "elasticmapreduce:DescribeCluster",
        "elasticmapreduce:DescribeStep", "elasticmapreduce:ListSteps", "elasticmapreduce:ListInstanceFleets",
      ]
      Resource  = "arn:aws:elasticmapreduce:${var.region}:${local.account}:cluster/*"
      Condition = { StringEquals = { "elasticmapreduce:ResourceTag/deployment" = var.name } }
    }]
  })
}

resource "aws_iam_role_policy" "submitter_serverless" {
  count = local.on_serverless ? 1 : 0

  name = "runs-of-our-application"
  role = aws_iam_role.submitter.id

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid    = "Runs"
        Effect = "Allow"
        Action = [
          "emr-serverless:GetApplication", "emr-serverless:StartApplication", "emr-serverless:StartJobRun",
          "emr-serverless:GetJobRun", "emr-serverless:ListJobRuns", "emr-serverless:CancelJobRun",
          "emr-serverless:TagResource",
        ]
        Resource = [
          aws_emrserverless_application.this[0].arn, "${aws_emrserverless_application.this[0].arn}/jobruns/*",
        ]
      },
      {
        Sid       = "GiveJobsTheirRole"
        Effect    = "Allow"
        Action    = "iam:PassRole"
        Resource  = aws_iam_role.job.arn
        Condition = { StringEquals = { "iam:PassedToService" = "emr-serverless.amazonaws.com" } }
      },
    ]
  })
}
