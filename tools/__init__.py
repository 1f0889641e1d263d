"""What makes and checks the documentation; not part of the package."""
