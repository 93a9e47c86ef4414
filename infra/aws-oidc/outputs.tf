output "role_arn" {
  description = "The repository's variable AWS_DEPLOY_ROLE."
  value       = aws_iam_role.deploy.arn
}
