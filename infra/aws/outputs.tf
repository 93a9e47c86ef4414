output "bucket" {
  value = aws_s3_bucket.data.bucket
}

output "kms_key_arn" {
  value = aws_kms_key.data.arn
}

output "cluster_id" {
  value = one(aws_emr_cluster.this[*].id)
}

output "application_id" {
  value = one(aws_emrserverless_application.this[*].id)
}

output "job_role_arn" {
  value = aws_iam_role.job.arn
}

output "submitter_role_arn" {
  value = aws_iam_role.submitter.arn
}

output "log_uri" {
  value = "s3://${aws_s3_bucket.data.bucket}/logs/"
}

output "package_uri" {
  value = "s3://${aws_s3_bucket.data.bucket}/packages"
}

output "vpc_id" {
  value = aws_vpc.main.id
}
