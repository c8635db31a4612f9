"""What a Run does to the world: one module a phase, in the order of a Run's life."""
