"""What a process that works on strangers' data may take at most (setrlimit(2))."""

import resource


def limit(kind: int, most: int) -> None:
    """At most so much of it, from now on; where whoever started us allows less, that holds. kind: `resource.RLIMIT_…`."""
    _, hard = resource.getrlimit(kind)
    most = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(kind, (most, most))
