"""VK Comments: collects the comments of VK communities and serves them over GraphQL."""
