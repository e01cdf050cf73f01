"""VK's API: what requests and replies mean (wire), how they travel (client), how often (pace), how many at once (batch)."""
