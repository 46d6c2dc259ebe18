"""What evaluates a network in this process."""
