"""Calls in a thread, of which the latest wins."""

import gc
import threading
import time
import weakref

from psygnal import emit_queued

from napari_nh2st.session.latest_call import LatestCall
from waiting import wait_until


def test_requests_that_come_too_fast_are_one() -> None:
    calls: list[int] = []
    work = LatestCall(calls.append, seconds=3600)
    work.request(1)
    wait_until(lambda: calls == [1])
    for number in (2, 3, 4):
        work.request(number)
    assert calls == [1]
    work.request(5, now=True)
    wait_until(lambda: work.is_idle)
    assert calls == [1, 5]


def test_what_is_returned_arrives_in_the_main_thread() -> None:
    threads: list[threading.Thread] = []
    arrived: list[tuple[int, threading.Thread]] = []

    def double(number: int) -> int:
        threads.append(threading.current_thread())
        return 2 * number

    work = LatestCall(double, seconds=0)
    work.done.connect(lambda result: arrived.append((result, threading.current_thread())))
    work.request(21)
    wait_until(lambda: work.is_idle)
    assert arrived == [(42, threading.main_thread())]
    assert threads != [threading.main_thread()]


def test_a_request_during_a_call_is_made_when_that_has_ended() -> None:
    begun, may_end = threading.Event(), threading.Event()
    calls: list[int] = []

    def work_on(number: int) -> None:
        calls.append(number)
        begun.set()
        assert may_end.wait(20)

    work = LatestCall(work_on, seconds=0)
    work.request(1)
    assert begun.wait(20)
    work.request(2)
    work.request(3)
    assert not work.is_idle
    may_end.set()
    wait_until(lambda: work.is_idle)
    assert calls == [1, 3]


def test_work_that_fails_says_so_and_goes_on() -> None:
    failures: list[Exception] = []
    results: list[float] = []

    def divide(number: int) -> float:
        return 1 / number

    work = LatestCall(divide, seconds=0)
    work.failed.connect(failures.append)
    work.done.connect(results.append)
    work.request(0)
    wait_until(lambda: work.is_idle)
    work.request(4)
    wait_until(lambda: work.is_idle)
    assert [type(failure) for failure in failures] == [ZeroDivisionError]
    assert results == [0.25]


def test_what_arrives_for_something_that_is_gone_is_dropped() -> None:
    threads: list[threading.Thread] = []
    work = LatestCall(lambda: threads.append(threading.current_thread()), seconds=0)
    there = weakref.ref(work)
    work.request()
    while not threads:
        time.sleep(0.001)
    threads.pop().join(20)  # its end waits in psygnal's queue
    del work
    gc.collect()
    assert there() is None
    emit_queued()
