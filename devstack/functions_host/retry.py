"""When a failed invocation is tried again. Pure: the caller waits, and supplies the random number.

Rule (Microsoft Learn, "Azure Functions error handling and retries", retry strategies): a fixed delay; or an
exponential backoff whose first retry waits for the minimum interval and whose later ones add exponentially to
it, with some randomisation, up to the maximum interval. A maximum count of -1 means without end.
"""

from dataclasses import dataclass

UNLIMITED = -1
_JITTER = 0.2
# 2**62 times any interval is beyond every maximum; without a bound the power would leave the floats' range.
_MAX_EXPONENT = 62


@dataclass(frozen=True)
class RetryPolicy:
    """`minimum` and `maximum` are seconds; for a fixed delay they are equal."""

    max_retry_count: int
    minimum: float
    maximum: float

    def allows(self, retry: int) -> bool:
        """Whether retry number `retry` (1 is the first) may be made."""
        return self.max_retry_count == UNLIMITED or retry <= self.max_retry_count

    def delay(self, retry: int, chance: float) -> float:
        """Seconds to wait before retry number `retry`; `chance` in [0, 1) moves the added part by up to 20%."""
        if retry <= 1 or self.minimum == self.maximum:
            return min(self.minimum, self.maximum)
        factor = 1 - _JITTER + 2 * _JITTER * chance
        added = self.minimum * 2.0 ** min(retry - 2, _MAX_EXPONENT) * factor
        return min(self.minimum + added, self.maximum)
