"""The Prometheus metrics of this process."""

from prometheus_client import Counter, Gauge, Histogram

LONG = (0.05, 0.1, 0.5, 1, 5, 15, 60, 300, 900, 3600, 4 * 3600, 24 * 3600)
"""Histogram buckets in seconds, for durations from milliseconds to a day."""

database_connections = Gauge(
    "vk_comments_database_connections", "Connections of the pool by state: in_use, idle, overflow.", ["state"]
)
vk_requests = Counter("vk_comments_vk_requests", "HTTP requests to VK by outcome.", ["outcome"])
jobs_ended = Counter("vk_comments_jobs_ended", "Runs of jobs that ended, by kind and state.", ["kind", "state"])
job_waiting_seconds = Histogram(
    "vk_comments_job_waiting_seconds", "How long jobs waited for a worker, by kind.", ["kind"], buckets=LONG
)
job_run_seconds = Histogram(
    "vk_comments_job_run_seconds", "How long runs of jobs took, by kind and state.", ["kind", "state"], buckets=LONG
)
jobs_rescued = Counter("vk_comments_jobs_rescued", "Jobs that were claimed from a dead worker.", ["kind"])
jobs_restored = Counter("vk_comments_jobs_restored", "Jobs whose queue entry was lost, and created again.")
leases_lost = Counter("vk_comments_leases_lost", "Runs that lost their lease to another worker.")
unfinished_jobs = Gauge(
    "vk_comments_unfinished_jobs", "Jobs that wait or run, in all processes, by kind and state.", ["kind", "state"]
)
live_workers = Gauge("vk_comments_living_workers", "Workers with a recent heartbeat, in all processes.")
loop_blocked = Counter("vk_comments_loop_blocked", "How often the event loop was blocked.")
loop_blocked_seconds = Counter("vk_comments_loop_blocked_seconds", "How long the event loop was blocked.")
job_subscribers = Gauge(
    "vk_comments_job_subscribers", "Subscribers that follow one job or all, by subscription.", ["subscription"]
)
job_subscribers_dropped = Counter(
    "vk_comments_job_subscribers_dropped",
    "Subscribers that were dropped as too slow, by subscription.",
    ["subscription"],
)
unexpected_errors = Counter("vk_comments_unexpected_errors", "Errors that were masked from clients.")
foreign_events = Counter(
    "vk_comments_foreign_events", "Notifications of other programs on the notification channel, which were ignored."
)
