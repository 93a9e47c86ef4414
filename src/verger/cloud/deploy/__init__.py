"""Deployments: packaged, planned, made with Terraform, used and removed; one protocol for every cloud."""
