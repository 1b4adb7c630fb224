"""What every training loop shares: what it is asked, its checkpoint, its log."""
