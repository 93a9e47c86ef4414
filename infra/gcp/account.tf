# The machines' service account: they run Dataproc's agent, and read and write this bucket.

resource "google_service_account" "machines" {
  count = local.computes ? 1 : 0

  account_id   = local.title
  display_name = "verger: the machines of ${var.name}"
  depends_on   = [google_project_service.used]
}

# The role that Dataproc requires for its machines; no narrower one is documented. It can access other buckets of
# the project too: use a separate project.
resource "google_project_iam_member" "worker" {
  count = local.computes ? 1 : 0

  project = var.project
  role    = "roles/dataproc.worker"
  member  = google_service_account.machines[0].member

  depends_on = [google_project_service.used]
}

resource "google_storage_bucket_iam_member" "objects" {
  count = local.computes ? 1 : 0

  bucket = google_storage_bucket.data.name
  role   = "roles/storage.objectAdmin"
  member = google_service_account.machines[0].member
}
