"""The ledger: what became of every instance that was answered with Success, and of all that was made of it."""
