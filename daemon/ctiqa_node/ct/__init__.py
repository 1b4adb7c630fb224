"""CT series: choosing them, loading them in Hounsfield units, and writing simulated ones."""
