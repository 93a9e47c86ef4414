variable "name" {
  description = "Prefix of the name of every resource, and the value of its tag `deployment`."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,29}$", var.name))
    error_message = "A name has 2 to 30 lower-case letters, digits and hyphens, and begins with a letter."
  }
}

variable "region" {
  description = "The region of all resources, in the European Union."
  type        = string
  default     = "eu-west-3"

  # A prefix would let London (eu-west-2) and Zurich (eu-central-2) pass. src/verger/cloud/regions.py has the same list.
  validation {
    condition = contains(
      ["eu-central-1", "eu-north-1", "eu-south-1", "eu-south-2", "eu-west-1", "eu-west-3"], var.region
    )
    error_message = "This region is not in the European Union. Allowed: eu-central-1, eu-north-1, eu-south-1, eu-south-2, eu-west-1, eu-west-3."
  }
}

variable "engine" {
  description = "emr: a cluster on EC2; serverless: EMR Serverless; none: only the bucket, its key, roles and the network."
  type        = string
  default     = "emr"

  validation {
    condition     = contains(["emr", "serverless", "none"], var.engine)
    error_message = "engine is one of emr, serverless, none."
  }
}

variable "release" {
  description = "EMR's release: emr-7.13.0 has Spark 3.5.6, emr-spark-8.0.0 Spark 4.0.2."
  type        = string
  default     = "emr-7.13.0"

  validation {
    condition     = contains(["emr-7.13.0", "emr-spark-8.0.0"], var.release)
    error_message = "release is one of emr-7.13.0, emr-spark-8.0.0: the package is built for these."
  }
}

variable "primary_machine" {
  description = "The instance type of the primary node, which runs the driver."
  type        = string
  default     = "m5.xlarge"
}

variable "machine" {
  description = "The instance type of the workers."
  type        = string
  default     = "m5.xlarge"
}

variable "workers" {
  description = "Number of permanent workers, on demand."
  type        = number
  default     = 1

  validation {
    condition     = var.workers >= 1 && floor(var.workers) == var.workers
    error_message = "A cluster has at least one worker."
  }
}

variable "max_workers" {
  description = "Maximum number of workers, with managed scaling; null: the number is constant."
  type        = number
  default     = null

  validation {
    condition     = coalesce(var.max_workers, var.workers) >= var.workers
    error_message = "max_workers is not below workers."
  }
}

variable "spot" {
  description = "Whether the workers that scaling adds are spot machines, which AWS may take back."
  type        = bool
  default     = true
}

variable "idle_minutes" {
  description = "The machines end after this time without work."
  type        = number
  default     = 15

  validation {
    condition     = var.idle_minutes >= 1 && var.idle_minutes <= 10080
    error_message = "idle_minutes is from 1 to 10080, which is a week."
  }
}

variable "max_hours" {
  description = "A cluster that has run for this time raises an alarm. It is not ended, since a job may need it."
  type        = number
  default     = 4

  # CloudWatch looks back seven days at most.
  validation {
    condition     = var.max_hours >= 1 && var.max_hours <= 168 && floor(var.max_hours) == var.max_hours
    error_message = "max_hours is a whole number from 1 to 168."
  }
}

variable "budget" {
  description = "Budget in US dollars per month; alerts at 50, 90 and 100 % go to email."
  type        = number
  default     = 10

  validation {
    condition     = var.budget > 0
    error_message = "A budget is above 0."
  }
}

variable "email" {
  description = "The address for alerts about costs and about clusters that run too long; null: none."
  type        = string
  default     = null

  validation {
    condition     = var.email == null || can(regex("^[^@ ]+@[^@ ]+$", var.email))
    error_message = "email is an address, or null."
  }
}

variable "package_dir" {
  description = "The folder written by `verger cloud package`; it becomes packages/ of the bucket. null: none."
  type        = string
  default     = null
}

variable "image" {
  description = "The image of EMR Serverless' workers, in the account's own registry (serverless/Dockerfile). null: AWS's image, without verger."
  type        = string
  default     = null
}

variable "notebook" {
  description = "Whether the cluster serves notebooks, kept in the bucket: by JupyterHub on EMR 7, by EMR Studio on emr-spark-8."
  type        = bool
  default     = false
}

variable "force_destroy" {
  description = "Whether terraform destroy empties the bucket first. Otherwise a bucket with objects is kept."
  type        = bool
  default     = false
}

variable "tags" {
  description = "Additional tags for all resources."
  type        = map(string)
  default     = {}
}
