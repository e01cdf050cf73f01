"""VK's API: the meaning of requests and replies (wire), transport (client, batch) and rate limits (pace)."""
