"""Which chapters are told again, in the second edition: what it asks of a chapter binds these."""

TOLD_AGAIN: set[str] = {"20_scheduler_reference"}  # by the name of their file, without its ending
