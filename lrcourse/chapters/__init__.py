"""Apparatus that one chapter needs: nothing else in the package imports it but its exercises."""
