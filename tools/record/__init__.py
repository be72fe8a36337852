"""How recordings are made and rechecked: `python -m tools.record`."""
