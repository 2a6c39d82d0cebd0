"""Ages and dates when the wall clock jumps."""

from edged.system.clock import Clock, kernel_boot, kernel_synced


class Times:
    """A machine's two clocks, and whether the wall one was set."""

    def __init__(self) -> None:
        self.wall_s, self.monotonic_ns, self.synced = 100.0, 5 * 10**9, False

    def pass_s(self, seconds: float) -> None:
        self.wall_s += seconds
        self.monotonic_ns += int(seconds * 1e9)

    def clock(self) -> Clock:
        return Clock(wall_s=lambda: self.wall_s, monotonic_ns=lambda: self.monotonic_ns, synced=lambda: self.synced)


def test_a_jump_of_the_wall_clock_moves_dates_and_not_ages() -> None:
    times = Times()
    clock = times.clock()
    happened_ns = clock.monotonic_ns()
    times.pass_s(30)
    times.wall_s += 10 * 365 * 86400
    assert clock.monotonic_ns() - happened_ns == 30 * 10**9
    assert clock.to_wall(happened_ns) == times.wall_s - 30


def test_whether_it_is_synced_is_asked_at_most_once_a_second() -> None:
    times = Times()
    clock = times.clock()
    assert not clock.synced()
    times.synced = True
    assert not clock.synced()
    times.pass_s(1)
    assert clock.synced()


def test_each_start_has_its_own_boot() -> None:
    boots = {Clock().boot for _ in range(100)}
    assert len(boots) == 100
    assert all(len(boot) == 8 and int(boot, 16) >= 0 for boot in boots)


def test_the_kernel_answers() -> None:
    assert kernel_synced() in (True, False)
    assert len(kernel_boot()) == 36
