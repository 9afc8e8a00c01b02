"""Why a bundle was not made."""


class BundleError(Exception):
    """Says what cannot be bundled, the rule, and what to do."""
