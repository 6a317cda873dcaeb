"""What is shown of measurements and layouts."""
