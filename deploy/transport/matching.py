"""Which publishers and subscriptions match, and words for those that do not."""

from __future__ import annotations

from collections.abc import Sequence

from robolearn.deploy.transport.base import QoS


def mismatch(offered: QoS, asked: QoS) -> str | None:
    """The first policy by which a publisher's offer falls short of what a subscription asks; None when they match."""
    if asked.reliability == "reliable" and offered.reliability == "best_effort":
        return "reliability"
    if asked.durability == "transient_local" and offered.durability == "volatile":
        return "durability"
    return None


def incompatible(topic: str, policy: str) -> str:
    """Words for two ends that do not match, the same on every backend."""
    wanted = {
        "reliability": "the publisher offers best_effort, the subscription asks reliable: offer reliable, or subscribe best_effort",
        "durability": "the publisher offers volatile, the subscription asks transient_local: offer transient_local, or subscribe volatile",
    }
    return f"{topic}: incompatible QoS, policy {policy}" + (f" ({wanted[policy]})" if policy in wanted else "")


def alone(topic: str, end: str) -> str:
    """Words for a topic without a counterpart."""
    return f"{topic}: no {'subscription' if end == 'publisher' else 'publisher'} for this {end}"


def unmatched(topic: str, end: str, type: str, qos: QoS, others: Sequence[tuple[str, QoS]]) -> list[str]:
    """What is wrong with one end of a topic, given the other ends' types and QoS."""
    if not others:
        return [] if "/_action/" in topic else [alone(topic, end)]  # few listen to an action's feedback and status
    told = {f"{topic}: this {end} has {type}, another participant {other}" for other, _ in others if other != type}
    for other, theirs in others:
        policy = mismatch(qos, theirs) if end == "publisher" else mismatch(theirs, qos)
        if other == type and policy is not None:
            told.add(incompatible(topic, policy))
    return sorted(told)
