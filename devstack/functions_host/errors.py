"""The one exception that ends the host: what is wrong with the app or its settings, in a sentence."""


class HostError(Exception):
    """The app cannot run as it is configured. The message names what to change."""
