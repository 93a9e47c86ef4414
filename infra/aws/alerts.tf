# Who is told, and of what: money spent, and machines that live too long.

# AWS counts what carries the tag only after somebody has made `deployment` a cost allocation tag, once for the
# account (Billing, Cost allocation tags); until then this budget sees nothing spent.
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

# AWS asks the address once whether it wants them.
resource "aws_sns_topic_subscription" "alarms" {
  count = var.email == null ? 0 : 1

  topic_arn = aws_sns_topic.alarms[0].arn
  protocol  = "email"
  endpoint  = var.email
}

# No metric tells a cluster's age. But while one lives it says every five minutes whether it is idle, at least 12
# times an hour, and says nothing once it has ended: so in each of the last max_hours hours it has spoken (once less
# is forgiven). EMR Serverless needs none: it stops by itself, and a job has a time limit.
resource "aws_cloudwatch_metric_alarm" "long_life" {
  count = local.on_emr && var.email != null ? 1 : 0

  alarm_name          = "verger-${var.name}-lives-long"
  alarm_description   = "Cluster ${aws_emr_cluster.this[0].id} has lived for ${var.max_hours} hours. If nobody needs it: verger cloud down --name ${var.name}"
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
