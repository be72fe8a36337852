"""Which chapters are told again, in the second edition: what it asks of a chapter binds these."""

# By the names of their files, without the ending.
TOLD_AGAIN = {"03_schedules_in_pytorch", "04_steps"}
REFERENCE = {"20_scheduler_reference"}  # to look up: none to work through
