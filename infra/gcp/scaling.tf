# The autoscaling policy of clusters. It adds and removes only spot workers.

resource "google_dataproc_autoscaling_policy" "main" {
  count = local.grows ? 1 : 0

  policy_id  = local.title
  location   = var.region
  depends_on = [google_project_service.used]

  worker_config {
    min_instances = var.workers
    max_instances = var.workers
  }

  secondary_worker_config {
    min_instances = 0
    max_instances = var.max_workers - var.workers
  }

  basic_algorithm {
    cooldown_period = "120s"

    yarn_config {
      graceful_decommission_timeout = "600s"
      scale_up_factor               = 1.0
      scale_down_factor             = 1.0
    }
  }
}
