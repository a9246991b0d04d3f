"""Why nobody is at a topic's other end is asked rarely, and never waited for."""

import threading
import time

from robolearn.deploy.transport.reasons import Reasons
from tests.deploy.transport.conftest import until


class Graph:
    """A transport that says ``lines`` once it is let."""

    def __init__(self, *lines):
        self.lines, self.asked, self.go = lines, 0, threading.Event()

    def diagnostics(self):
        self.asked += 1
        assert self.go.wait(5.0)
        if not self.lines:
            raise RuntimeError("closed")
        return list(self.lines)


def test_what_is_wrong_with_a_topic_is_told_when_it_is_known():
    graph = Graph("/a: no subscription for this publisher", "/a: incompatible QoS, policy durability", "/ab: 3 malformed messages")
    reasons = Reasons(graph)
    begun = time.monotonic()
    assert [reasons.why("/a") for _ in range(100)] == [""] * 100
    assert time.monotonic() - begun < 1.0
    graph.go.set()
    until(lambda: reasons.why("/a") == "incompatible QoS, policy durability")
    assert reasons.why("/ab") == "3 malformed messages" and reasons.why("/b") == ""
    assert graph.asked == 1


def test_it_is_asked_again_while_it_is_of_interest_and_forgotten_when_it_is_over():
    graph = Graph("/a: 1 malformed messages")
    graph.go.set()
    reasons = Reasons(graph, every_s=0.02)
    until(lambda: reasons.why("/a") == "1 malformed messages")
    graph.lines = ("/a: 2 malformed messages",)
    until(lambda: reasons.why("/a") == "2 malformed messages")
    graph.lines = ()
    until(lambda: reasons.why("/a") == "")
    graph.lines = ("/a: 3 malformed messages",)
    until(lambda: reasons.why("/a") == "3 malformed messages")
    time.sleep(0.1)
    graph.go.clear()
    assert reasons.why("/a") == ""
    graph.go.set()
