"""Taking a bundle to a board host over ssh, running it there, and bringing the result back."""
