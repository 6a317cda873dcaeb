"""What to do about it: which model, in which variant, goes on which device."""
