"""What the benchmarks share: timing, the machine in words, tables, JSON, and the page that is written of them."""
