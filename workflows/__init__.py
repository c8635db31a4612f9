"""What a Run is: its workflow, its states, its causes. Deterministic, no I/O."""
