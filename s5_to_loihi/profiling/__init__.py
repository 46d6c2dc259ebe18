"""What a network costs on the chip: estimated with ranges, or measured on a board."""
