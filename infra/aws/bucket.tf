# raw/ packed/ results/ packages/ logs/ events/ tmp/: everything that is kept after the machines end.

resource "aws_s3_bucket" "data" {
  #checkov:skip=CKV_AWS_18:Access logs would need a second bucket, and be larger than the photos, with a line for each small object. CloudTrail's data events can log reads.
  #checkov:skip=CKV_AWS_144:Photos stay in one region of the EU, and the originals are elsewhere.
  #checkov:skip=CKV2_AWS_62:Nothing waits for new photos; jobs are submitted.
  bucket_prefix = "${var.name}-"
  force_destroy = var.force_destroy
}

resource "aws_s3_bucket_ownership_controls" "data" {
  bucket = aws_s3_bucket.data.id

  rule {
    object_ownership = "BucketOwnerEnforced"
  }
}

resource "aws_s3_bucket_public_access_block" "data" {
  bucket                  = aws_s3_bucket.data.id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_server_side_encryption_configuration" "data" {
  bucket = aws_s3_bucket.data.id

  rule {
    bucket_key_enabled = true # one KMS request for many objects

    apply_server_side_encryption_by_default {
      sse_algorithm     = "aws:kms"
      kms_master_key_id = aws_kms_key.data.arn
    }
  }
}

resource "aws_s3_bucket_versioning" "data" {
  bucket = aws_s3_bucket.data.id

  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket_policy" "data" {
  bucket     = aws_s3_bucket.data.id
  depends_on = [aws_s3_bucket_public_access_block.data]

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid       = "OnlyByTls"
        Effect    = "Deny"
        Principal = "*"
        Action    = "s3:*"
        Resource  = [aws_s3_bucket.data.arn, "${aws_s3_bucket.data.arn}/*"]
        Condition = { Bool = { "aws:SecureTransport" = "false" } }
      },
      {
        Sid       = "OnlyByModernTls"
        Effect    = "Deny"
        Principal = "*"
        Action    = "s3:*"
        Resource  = [aws_s3_bucket.data.arn, "${aws_s3_bucket.data.arn}/*"]
        Condition = { NumericLessThan = { "s3:TlsVersion" = "1.2" } }
      },
    ]
  })
}

resource "aws_s3_bucket_lifecycle_configuration" "data" {
  bucket     = aws_s3_bucket.data.id
  depends_on = [aws_s3_bucket_versioning.data]

  # Photos are read often at first, and kept for a long time. S3 does not move objects below 128 KiB, for which the
  # colder classes would cost more: packed/ has them in large shards.
  dynamic "rule" {
    for_each = toset(["raw", "packed"])

    content {
      id     = "${rule.key}-grows-cold"
      status = "Enabled"

      filter {
        prefix = "${rule.key}/"
      }

      transition {
        days          = 30
        storage_class = "STANDARD_IA"
      }

      transition {
        days          = 90
        storage_class = "GLACIER_IR"
      }
    }
  }

  dynamic "rule" {
    for_each = { tmp = 7, logs = 90, events = 90 }

    content {
      id     = "${rule.key}-expires"
      status = "Enabled"

      filter {
        prefix = "${rule.key}/"
      }

      expiration {
        days = rule.value
      }
    }
  }

  rule {
    id     = "leftovers-expire"
    status = "Enabled"

    filter {}

    noncurrent_version_expiration {
      noncurrent_days = 30
    }

    abort_incomplete_multipart_upload {
      days_after_initiation = 2
    }
  }
}

# The package for the nodes, and the program for spark-submit.
resource "aws_s3_object" "package" {
  for_each = var.package_dir == null ? toset([]) : fileset(var.package_dir, "**")

  bucket      = aws_s3_bucket.data.id
  key         = "packages/${each.value}"
  source      = "${var.package_dir}/${each.value}"
  source_hash = filesha256("${var.package_dir}/${each.value}")
  kms_key_id  = aws_kms_key.data.arn
  depends_on  = [aws_s3_bucket_versioning.data]
}

# Spark requires that the folder of the event log exists.
resource "aws_s3_object" "events" {
  bucket       = aws_s3_bucket.data.id
  key          = "events/"
  content      = ""
  content_type = "application/x-directory"
  kms_key_id   = aws_kms_key.data.arn
  depends_on   = [aws_s3_bucket_versioning.data]

  # It expires with the logs, and the next `up` creates it again.
}
