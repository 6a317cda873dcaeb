"""What is known: measurements of models, devices, and their storage."""
