# A separate network for the machines: no public addresses, no inbound traffic, outbound only to Google's services.
# There is no gateway to the internet: the nodes install verger from the bucket.

resource "google_compute_network" "main" {
  count = local.computes ? 1 : 0

  name                    = local.title
  auto_create_subnetworks = false
  depends_on              = [google_project_service.used]
}

resource "google_compute_subnetwork" "main" {
  #checkov:skip=CKV_GCP_76:The network has no IPv6.
  count = local.computes ? 1 : 0

  name                     = local.title
  network                  = google_compute_network.main[0].id
  ip_cidr_range            = "10.20.0.0/20"
  private_ip_google_access = true

  log_config {
    aggregation_interval = "INTERVAL_10_MIN"
    flow_sampling        = 0.1
    metadata             = "EXCLUDE_ALL_METADATA"
  }
}

# The nodes communicate with each other: Dataproc requires all ports, see its page on the cluster's network.
resource "google_compute_firewall" "inside" {
  count = local.computes ? 1 : 0

  name          = "${local.title}-inside"
  network       = google_compute_network.main[0].id
  direction     = "INGRESS"
  source_ranges = [google_compute_subnetwork.main[0].ip_cidr_range]

  allow {
    protocol = "tcp"
    ports    = ["0-65535"]
  }

  allow {
    protocol = "udp"
    ports    = ["0-65535"]
  }

  allow {
    protocol = "icmp"
  }
}
