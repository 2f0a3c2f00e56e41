"""What make runs beside the app: set-up and builds as shell scripts, the package and its papers as Python."""
