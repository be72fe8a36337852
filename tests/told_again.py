"""Which chapters are told again, in the second edition: what it asks of a chapter binds these."""

TOLD_AGAIN = {"01_gradient_descent", "04_steps"}  # by the name of their file, without its ending
REFERENCE = {"20_scheduler_reference"}  # to look up: none to work through
