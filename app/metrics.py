"""The numbers this process counts and measures, in Prometheus' terms."""

from prometheus_client import Counter, Gauge

database_connections = Gauge(
    "vk_comments_database_connections", "Connections of the pool by state: in_use, idle, overflow.", ["state"]
)
vk_requests = Counter("vk_comments_vk_requests", "HTTP requests to VK by outcome.", ["outcome"])
jobs_ended = Counter("vk_comments_jobs_ended", "Runs of jobs that ended, by kind and state.", ["kind", "state"])
unexpected_errors = Counter("vk_comments_unexpected_errors", "Errors that were masked from clients.")
