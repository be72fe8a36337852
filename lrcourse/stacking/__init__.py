"""Many models trained as one: what `lrcourse.sweeps` stands on."""
