"""What builds and checks the course: no notebook imports it, and no hand-out holds it."""
