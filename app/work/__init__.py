"""What jobs of each kind do."""
