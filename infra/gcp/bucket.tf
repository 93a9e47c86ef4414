# raw/ packed/ results/ packages/ logs/ events/ tmp/: everything that is kept after the machines end.

resource "google_storage_bucket" "data" {
  #checkov:skip=CKV_GCP_62:Access logs would need a second bucket, and be larger than the photos, with a line for each small object. Cloud Audit can log reads.
  name                        = "${local.title}-${var.project}"
  location                    = upper(var.region)
  storage_class               = "STANDARD"
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"
  force_destroy               = var.force_destroy
  depends_on                  = [google_project_service.used]

  versioning {
    enabled = true
  }

  # Versions are kept for 30 days already: Google would keep deleted objects for another seven, and bill them.
  soft_delete_policy {
    retention_duration_seconds = 0
  }

  dynamic "encryption" {
    for_each = var.kms_key == null ? [] : [var.kms_key]

    content {
      default_kms_key_name = encryption.value
    }
  }

  # Photos are read often at first, and kept for a long time.
  dynamic "lifecycle_rule" {
    for_each = { NEARLINE = 30, ARCHIVE = 365 }

    content {
      action {
        type          = "SetStorageClass"
        storage_class = lifecycle_rule.key
      }

      condition {
        age            = lifecycle_rule.value
        matches_prefix = ["raw/", "packed/"]
      }
    }
  }

  # Dataproc stores the drivers' output under its own prefix.
  dynamic "lifecycle_rule" {
    for_each = { "tmp/" = 7, "logs/" = 90, "events/" = 90, "google-cloud-dataproc-metainfo/" = 90 }

    content {
      action {
        type = "Delete"
      }

      condition {
        age            = lifecycle_rule.value
        matches_prefix = [lifecycle_rule.key]
      }
    }
  }

  lifecycle_rule {
    action {
      type = "Delete"
    }

    condition {
      days_since_noncurrent_time = 30
    }
  }

  lifecycle_rule {
    action {
      type = "AbortIncompleteMultipartUpload"
    }

    condition {
      age = 2
    }
  }
}
