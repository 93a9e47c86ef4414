# The lasting resources of a deployment of verger on Google Cloud, inside the European Union. Google's client creates
# and removes the machines, which cost (src/verger/cloud/gcp). `verger cloud up` runs this in a copy; by hand:
# terraform init && terraform apply -var name=orchard -var project=my-project-123456

terraform {
  required_version = ">= 1.11"

  required_providers {
    google = {
      source  = "hashicorp/google"
      version = "6.50.0"
    }
  }
}

provider "google" {
  project               = var.project
  region                = var.region
  default_labels        = local.labels
  user_project_override = true # budgets need to know the project for the quota
  billing_project       = var.project
}

locals {
  title    = "verger-${var.name}"
  labels   = merge(var.labels, { project = "verger", deployment = var.name })
  computes = var.engine != "none"
  grows    = var.engine == "dataproc" && coalesce(var.max_workers, var.workers) > var.workers

  # serviceusage must be enabled already: it enables the others.
  services = toset([
    "cloudresourcemanager.googleapis.com", "compute.googleapis.com", "dataproc.googleapis.com",
    "iam.googleapis.com", "storage.googleapis.com",
  ])
  # Cloud Billing reports the project's billing account.
  alerting = toset(var.email == null ? [] : [
    "billingbudgets.googleapis.com", "cloudbilling.googleapis.com", "monitoring.googleapis.com",
  ])
}

# The billing account, which only a budget needs.
data "google_project" "this" {
  count = var.email == null ? 0 : 1

  project_id = var.project
  depends_on = [google_project_service.used]
}

resource "google_project_service" "used" {
  for_each = setunion(local.services, local.alerting)

  service            = each.value
  disable_on_destroy = false # other programs in the project may use them
}
