variable "name" {
  description = "Part of the name of every resource, and the value of its label `deployment`."
  type        = string

  # A service account's name has 30 characters at most, and begins with verger- here.
  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,18}[a-z0-9]$", var.name))
    error_message = "A name has 3 to 20 lower-case letters, digits and hyphens, begins with a letter and ends with none."
  }
}

variable "project" {
  description = "The id of the Google Cloud project: my-project-123456."
  type        = string
}

variable "region" {
  description = "The region of all resources, in the European Union."
  type        = string
  default     = "europe-west9"

  # A prefix would let London (europe-west2) and Zurich (europe-west6) pass. src/verger/cloud/regions.py has the same list.
  validation {
    condition = contains(
      [
        "europe-central2", "europe-north1", "europe-north2", "europe-southwest1", "europe-west1", "europe-west10",
        "europe-west12", "europe-west3", "europe-west4", "europe-west8", "europe-west9",
      ], var.region
    )
    error_message = "This region is not in the European Union. Allowed: europe-central2, europe-north1, europe-north2, europe-southwest1, europe-west1, europe-west10, europe-west12, europe-west3, europe-west4, europe-west8, europe-west9."
  }
}

variable "engine" {
  description = "dataproc: for clusters, which verger starts; batch: for Dataproc Serverless; none: only the bucket."
  type        = string
  default     = "dataproc"

  validation {
    condition     = contains(["dataproc", "batch", "none"], var.engine)
    error_message = "engine is one of dataproc, batch, none."
  }
}

variable "workers" {
  description = "Number of permanent workers of a cluster; at least two."
  type        = number
  default     = 2

  validation {
    condition     = var.workers >= 2 && floor(var.workers) == var.workers
    error_message = "A cluster has at least two workers."
  }
}

variable "max_workers" {
  description = "Maximum number of workers, with autoscaling; null: the number is constant."
  type        = number
  default     = null
}

variable "budget" {
  description = "Budget per month, in the currency of the billing account; alerts at 50, 90 and 100 % go to email."
  type        = number
  default     = 10

  validation {
    condition     = var.budget > 0
    error_message = "A budget is above 0."
  }
}

variable "email" {
  description = "The address for cost alerts; null: none, and no budget is created."
  type        = string
  default     = null

  validation {
    condition     = var.email == null || can(regex("^[^@ ]+@[^@ ]+$", var.email))
    error_message = "email is an address, or null."
  }
}

variable "kms_key" {
  description = "Your own key for the bucket, projects/P/locations/REGION/keyRings/R/cryptoKeys/K; null: Google's."
  type        = string
  default     = null
}

variable "force_destroy" {
  description = "Whether terraform destroy empties the bucket first. Otherwise a bucket with objects is kept."
  type        = bool
  default     = false
}

variable "labels" {
  description = "Additional labels for all resources."
  type        = map(string)
  default     = {}
}
