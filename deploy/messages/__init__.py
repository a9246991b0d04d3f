"""ROS messages without ROS."""

from robolearn.deploy.messages.codec import MalformedError, Messages

__all__ = ["MalformedError", "Messages"]
