# Cost alerts. A cluster that lives too long needs no alarm: Google ends it (lifecycle_config).

resource "google_monitoring_notification_channel" "email" {
  count = var.email == null ? 0 : 1

  display_name = local.title
  type         = "email"
  labels       = { email_address = var.email }
  depends_on   = [google_project_service.used]
}

# The user who applies this needs roles/billing.costsManager on the billing account.
resource "google_billing_budget" "month" {
  count = var.email == null ? 0 : 1

  billing_account = data.google_project.this[0].billing_account
  display_name    = local.title

  budget_filter {
    projects = ["projects/${data.google_project.this[0].number}"]
    labels   = { deployment = var.name }
  }

  amount {
    specified_amount {
      units = tostring(ceil(var.budget))
    }
  }

  dynamic "threshold_rules" {
    for_each = [0.5, 0.9, 1.0]

    content {
      threshold_percent = threshold_rules.value
    }
  }

  all_updates_rule {
    monitoring_notification_channels = google_monitoring_notification_channel.email[*].id
  }
}
