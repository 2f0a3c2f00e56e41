"""The naive function as a function app of its own, for the path that the app takes."""
