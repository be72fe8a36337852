"""A doctor for logs of training: what the rate and the loss show, with the evidence for it."""
