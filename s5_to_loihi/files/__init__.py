"""Reading and writing files: whole, strictly, within bounds."""
