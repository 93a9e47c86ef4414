# Alerts about costs, and about machines that run too long.

# The budget counts resources by their tag. This works only after `deployment` was activated as a cost allocation tag,
# once per account (Billing, Cost allocation tags); until then the budget counts nothing.
resource "aws_budgets_budget" "month" {
  name         = "verger-${var.name}"
  budget_type  = "COST"
  time_unit    = "MONTHLY"
  limit_amount = format("%.2f", var.budget)
  limit_unit   = "USD"

  cost_filter {
    name   = "TagKeyValue"
    values = [format("user:deployment$%s", var.name)]
  }

  dynamic "notification" {
    for_each = var.email == null ? [] : [50, 90, 100]

    content {
      comparison_operator        = "GREATER_THAN"
      notification_type          = "ACTUAL"
      threshold                  = notification.value
      threshold_type             = "PERCENTAGE"
      subscriber_email_addresses = [var.email]
    }
  }
}

resource "aws_sns_topic" "alarms" {
  count = var.email == null ? 0 : 1

  name              = "verger-${var.name}"
  kms_master_key_id = aws_kms_key.data.arn
}

# AWS sends a confirmation request to the address once.
resource "aws_sns_topic_subscription" "alarms" {
  count = var.email == null ? 0 : 1

  topic_arn = aws_sns_topic.alarms[0].arn
  protocol  = "email"
  endpoint  = var.email
}

# There is no metric of a cluster's age. But a running cluster reports every five minutes whether it is idle, at least
# 12 times an hour, and an ended one reports nothing. So the alarm checks for reports in each of the last max_hours
# hours (one may be missing). EMR Serverless needs no alarm: it stops by itself, and a job has a time limit.
resource "aws_cloudwatch_metric_alarm" "long_life" {
  count = local.on_emr && var.email != null ? 1 : 0

  alarm_name          = "verger-${var.name}-lives-long"
  alarm_description   = "Cluster ${aws_emr_cluster.this[0].id} has run for ${var.max_hours} hours. If it is not needed: verger cloud down --name ${var.name}"
  namespace           = "AWS/ElasticMapReduce"
  metric_name         = "IsIdle"
  dimensions          = { JobFlowId = aws_emr_cluster.this[0].id }
  statistic           = "SampleCount"
  period              = 3600
  evaluation_periods  = var.max_hours
  datapoints_to_alarm = var.max_hours
  comparison_operator = "GreaterThanOrEqualToThreshold"
  threshold           = 11
  treat_missing_data  = "notBreaching"
  alarm_actions       = [aws_sns_topic.alarms[0].arn]
}
