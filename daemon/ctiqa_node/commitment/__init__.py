"""Storage Commitment: asking the destinations for it, and answering the senders that ask us."""
