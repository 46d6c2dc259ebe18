"""What runs on the board host; each script on its own, with the standard library to start."""
