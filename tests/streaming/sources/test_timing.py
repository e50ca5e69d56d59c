"""Decisions about time: mapping, sampling, pacing, catching up, backing off; hours pass without waiting."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streaming.clock import NS_PER_S
from streaming.sources.timing import Backlog, Backoff, BackoffSettings, Pacer, PtsMap, Rate, Sampler, Verdict

MS = 1_000_000
FRAME = 100 * MS  # 10 fps


def run(times, arrivals, *, waited_ns=FRAME // 2):
    """Feed (pts, arrival) pairs; the ages."""
    return [times.observe(pts, now, waited_ns=waited_ns) for pts, now in arrivals]


class TestPtsMap:
    def test_a_steady_camera_is_always_fresh(self):
        """Without any delay every age is 0."""
        assert set(run(PtsMap(), [(i * FRAME, 7 + i * FRAME) for i in range(600)])) == {0}

    def test_jitter_becomes_age_and_not_time(self):
        """arrival - age is the time the picture was taken, but for the least delay of the transport."""
        jitter = random.Random(1)
        delays = [0, *(jitter.randrange(80 * MS) for _ in range(299))]
        times = PtsMap()
        for index, delay in enumerate(delays):
            now = index * FRAME + delay
            age = times.observe(index * FRAME, now, waited_ns=50 * MS)
            assert abs((now - age) - index * FRAME) <= (0 if index < 50 else 20 * MS)

    def test_an_hour_back_starts_over(self):
        """A PTS that jumps back an hour makes the picture new, not an hour old; the ones after it follow evenly."""
        times, hour = PtsMap(), 3600 * NS_PER_S
        run(times, [(hour + i * FRAME, i * FRAME) for i in range(100)])
        ages = run(times, [(i * FRAME, (100 + i) * FRAME) for i in range(100)])
        assert set(ages) == {0}
        assert times.jumps == 1

    def test_an_hour_ahead_starts_over(self):
        """A PTS that leaps ahead cannot be in the future: it is new."""
        times, hour = PtsMap(), 3600 * NS_PER_S
        run(times, [(i * FRAME, i * FRAME) for i in range(10)])
        assert set(run(times, [(hour + i * FRAME, i * FRAME) for i in range(10, 20)])) == {0}
        assert times.jumps == 1

    @pytest.mark.parametrize(("bits", "rate_hz"), [(32, 90_000), (33, 90_000)])
    def test_a_wrapped_counter_is_only_a_step_back(self, bits, rate_hz):
        """RTP wraps after 13 hours, MPEG-TS after 26: no picture gets an age from it."""
        times, top = PtsMap(), (1 << bits) * NS_PER_S // rate_hz
        ages = run(times, [((top - 50 * FRAME + i * FRAME) % top, i * FRAME) for i in range(100)])
        assert set(ages) == {0}

    def test_a_missing_pts_is_new_and_harms_nothing(self):
        """None counts as just taken, and the pictures around it keep their ages."""
        times = PtsMap()
        assert run(times, [(0, 0), (None, FRAME), (2 * FRAME, 2 * FRAME + 30 * MS)]) == [0, 0, 30 * MS]

    def test_a_queue_that_grows_slowly_is_seen(self):
        """A reader that is 5 % too slow and never waits is later and later, and knows by how much."""
        times = PtsMap()
        arrivals = [(i * FRAME, round(i * FRAME * 1.05)) for i in range(1200)]  # 2 minutes
        age = run(times, arrivals, waited_ns=0)[-1]
        assert age == arrivals[-1][1] - arrivals[-1][0] > 5 * NS_PER_S

    def test_a_slow_crystal_is_not_taken_for_a_queue(self):
        """A camera clock that loses 1 % stays fresh for an hour, because the reader has time to wait."""
        times = PtsMap()
        ages = run(times, [(i * FRAME, round(i * FRAME * 1.01)) for i in range(36_000)])
        assert max(ages) < 120 * MS

    def test_a_source_that_paused_is_fresh_again_soon(self):
        """PTS that go on where they stopped are believed within two windows."""
        times = PtsMap(window_s=5)
        run(times, [(i * FRAME, i * FRAME) for i in range(100)])
        ages = run(times, [((100 + i) * FRAME, (100 + i) * FRAME + 3 * NS_PER_S) for i in range(101)])
        assert ages[0] == 3 * NS_PER_S
        assert ages[-1] == 0

    @given(st.lists(st.tuples(st.one_of(st.none(), st.integers(-(2**50), 2**50)), st.integers(0, 2**36)), max_size=50))
    def test_no_age_is_negative_or_older_than_what_was_seen(self, steps):
        """Whatever the stream claims, an age is at least 0 and at most the time since the first picture, and a jump."""
        times, now = PtsMap(), 0
        for pts, step in steps:
            now += step
            assert 0 <= times.observe(pts, now) <= now + NS_PER_S


class TestSampler:
    @pytest.mark.parametrize("fps_in", [2, 5, 7.5, 10, 12.5, 24, 25, 29.97, 30, 60])
    @pytest.mark.parametrize("fps", [0.5, 1, 2, 5])
    def test_keeps_the_rate_without_drift(self, fps_in, fps):
        """An hour at fps_in leaves fps pictures a second, within one picture, or all of a slower source."""
        sampler, seconds = Sampler(fps), 600
        taken = sum(sampler.take(round(i * NS_PER_S / fps_in)) for i in range(round(seconds * fps_in)))
        assert taken == pytest.approx(min(fps, fps_in) * seconds, abs=1 + seconds * min(fps, fps_in) * 0.002)

    def test_a_camera_at_the_sampled_rate_loses_nothing_to_jitter(self):
        """10 fps sampled at 10 fps with 4 ms of jitter keeps every picture."""
        jitter, sampler = random.Random(2), Sampler(10)
        assert all(sampler.take(i * FRAME + jitter.randrange(4 * MS)) for i in range(1000))

    @given(st.floats(0.1, 30), st.lists(st.integers(-(10**12), 10**12), max_size=80))
    def test_steps_of_the_clock_cost_at_most_two_pictures(self, fps, steps):
        """After a step back or ahead a picture is taken within two periods."""
        sampler, at = Sampler(fps), 0
        for step in steps:
            at += step
            sampler.take(at)
            period = round(NS_PER_S / fps)
            assert any([sampler.take(at + period), sampler.take(at + 2 * period), sampler.take(at + 3 * period)])
            at += 3 * period

    def test_a_rate_of_nothing_is_refused(self):
        """fps must be above 0, and a number."""
        for fps in (0, -1, float("nan")):
            with pytest.raises(ValueError, match="above 0"):
                Sampler(fps)


class TestRate:
    def test_knows_the_rate_after_a_stretch(self):
        """0 until enough was seen, then the true rate."""
        rate = Rate(over_s=2)
        seen = [rate.add(i * FRAME) for i in range(50)]
        assert seen[:20] == [0.0] * 20
        assert seen[-1] == pytest.approx(10)

    def test_a_step_back_starts_a_new_stretch(self):
        """Time that goes back yields no negative or huge rate."""
        rate = Rate(over_s=1)
        for at in [*range(0, 50 * FRAME, FRAME), *range(0, 50 * FRAME, FRAME)]:
            assert 0 <= rate.add(at) <= 10.01


class TestPacer:
    def test_errors_do_not_add_up(self):
        """An hour of pictures, each shown a little late: the last is due exactly an hour after the first."""
        pacer, now, late = Pacer(), 0, random.Random(3)
        for index in range(36_000):
            now += late.randrange(30 * MS)
            now += pacer.wait_ns(index * FRAME, now)
            assert index * FRAME <= now <= index * FRAME + 30 * MS

    def test_a_reader_that_fell_behind_does_not_rush(self):
        """After a stall longer than slip_s the recording goes on from there at its own speed."""
        pacer = Pacer(slip_s=1)
        assert pacer.wait_ns(0, 0) == 0
        assert pacer.wait_ns(FRAME, 5 * NS_PER_S) == 0
        assert pacer.wait_ns(2 * FRAME, 5 * NS_PER_S) == FRAME

    @pytest.mark.parametrize("leap_s", [-3600, -1, 3600])
    def test_a_leap_of_the_media_clock_is_not_waited_for(self, leap_s):
        """An hour ahead or back is shown at once."""
        pacer, base = Pacer(), 7200 * NS_PER_S
        pacer.wait_ns(base, 0)
        assert pacer.wait_ns(base + leap_s * NS_PER_S, FRAME) == 0
        assert pacer.wait_ns(base + leap_s * NS_PER_S + FRAME, FRAME) == FRAME


class TestBacklog:
    def test_decodes_all_while_in_time(self):
        """Under max_lag_s nothing is dropped, key frame or not."""
        backlog = Backlog(max_lag_s=2)
        assert {backlog.packet(2 * NS_PER_S, i, keyframe=False) for i in range(10)} == {Verdict.DECODE}

    def test_late_packets_are_dropped_up_to_a_key_frame_in_time(self):
        """What is skipped is skipped undecoded, and decoding goes on where it can."""
        backlog = Backlog(max_lag_s=2)
        assert backlog.packet(3 * NS_PER_S, 0, keyframe=False) is Verdict.DROP
        assert backlog.packet(2 * NS_PER_S, 1, keyframe=True) is Verdict.DROP
        assert backlog.packet(1, 2, keyframe=False) is Verdict.DROP
        assert backlog.packet(1, 3, keyframe=True) is Verdict.DECODE
        assert backlog.packet(1, 4, keyframe=False) is Verdict.DECODE
        assert backlog.dropped == 3

    def test_a_pause_of_the_source_is_told_from_a_queue(self):
        """As late as before after a second of doing nothing but reading: the clock is to be learnt anew."""
        backlog = Backlog(max_lag_s=2, patience_s=1)
        assert backlog.packet(3 * NS_PER_S, 0, keyframe=True) is Verdict.DROP
        assert backlog.packet(3 * NS_PER_S, NS_PER_S, keyframe=True) is Verdict.RESTART
        assert backlog.packet(0, NS_PER_S + 1, keyframe=False) is Verdict.DECODE

    def test_without_a_key_frame_only_a_new_connection_helps(self):
        """A stream that never sends another key frame is not skipped for ever."""
        backlog = Backlog(max_lag_s=2, give_up_s=10)
        assert backlog.packet(3 * NS_PER_S, 0, keyframe=False) is Verdict.DROP
        assert backlog.packet(3 * NS_PER_S, 10 * NS_PER_S, keyframe=False) is Verdict.RECONNECT


class TestBackoff:
    def test_doubles_to_the_most_and_starts_over(self):
        """Without jitter: 0.5 1 2 4 … 30 30, and 0.5 after a reset."""
        backoff = Backoff(BackoffSettings(0.5, 30, jitter=0), random.Random(0))
        assert [backoff.next_s() for _ in range(9)] == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]
        backoff.reset()
        assert backoff.next_s() == 0.5

    @given(st.integers(), st.integers(1, 200))
    def test_jitter_stays_in_its_bounds(self, seed, attempts):
        """Every wait is within a quarter of its step, and never above the most, after any number of failures."""
        backoff = Backoff(BackoffSettings(0.5, 30), random.Random(seed))
        for attempt in range(attempts):
            step = min(0.5 * 2**attempt, 30)
            assert step * 0.75 <= backoff.next_s() <= min(step * 1.25, 30)
