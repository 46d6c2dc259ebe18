"""From floats to integers: our own quantizer, its range proofs and its report."""
