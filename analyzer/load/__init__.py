"""Load generators: what drives a model while it is measured."""
