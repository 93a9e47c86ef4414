output "bucket" {
  value = google_storage_bucket.data.name
}

output "cluster_name" {
  value = var.engine == "dataproc" ? local.title : null
}

output "service_account" {
  value = one(google_service_account.machines[*].email)
}

output "subnetwork" {
  value = one(google_compute_subnetwork.main[*].id)
}

output "autoscaling_policy" {
  value = one(google_dataproc_autoscaling_policy.main[*].id)
}

output "log_uri" {
  value = "gs://${google_storage_bucket.data.name}/logs/"
}

output "package_uri" {
  value = "gs://${google_storage_bucket.data.name}/packages"
}
