"""What stands between the outbox and the broker's acknowledgement, told for as long as it does."""

from edged.delivery.broker.inflight import InFlight
from edged.faults import StandingFault, to_standing

_NAMED = 3  # messages that are set aside and named


def to_faults(flight: InFlight, topics: dict[str, tuple[str, int]], events: list[tuple[str, int]]) -> list[StandingFault]:
    """topics, events: what was refused, by topic and of the events: why, and how often. Pure."""
    aside = flight.suspects.aside
    found = [to_standing("topic_refused", topic=topic, reason=why, count=count) for topic, (why, count) in sorted(topics.items())]
    found += [to_standing("events_refused", reason=why, count=count) for why, count in events]
    if flight.put_off:
        found.append(to_standing("put_off", code=f"0x{flight.put_off_code:02x}", count=flight.put_off))
    if flight.silent:
        found.append(to_standing("unanswered", count=flight.silent, limit_s=flight.silent_s))
    if count := flight.suspects.path:
        found.append(to_standing("path", count=count))
    found += [to_standing("set_aside", name=one.sent.title, size_bytes=one.sent.size, reason=one.why) for one in aside[:_NAMED]]
    if len(aside) > _NAMED:
        found.append(to_standing("set_aside_more", count=len(aside) - _NAMED))
    return found
