"""TFKT and TFKT V2: one quality score, 0–4, for each slice, from a CNN on whose features a transformer looks again."""
