"""What Lava's process models and those who start them share."""
