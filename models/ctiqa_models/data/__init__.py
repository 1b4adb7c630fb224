"""What is trained and measured on: slices, photographs, and which patients no training may see."""
