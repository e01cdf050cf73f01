"""VK's API: what requests and replies mean (wire), how they travel (client, batch), how often (pace)."""
