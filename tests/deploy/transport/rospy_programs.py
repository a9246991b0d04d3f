"""The two ends of the tests over ROS 1: a robot and a runner through our transport, and programs that know Debian's rospy only."""

import sys
import threading
import time

from robolearn.deploy.transport.base import LATCHED
from tests.deploy.transport.peers import obey

GRIPPER = "control_msgs/action/GripperCommand"


def until(condition, timeout=10.0):
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("waited in vain")
        time.sleep(0.005)


class Robot:
    """Echoes joint states as trajectories, serves a switch and a gripper."""

    def __init__(self):
        from robolearn.deploy.transport.rospy_transport import Rospy

        self.transport = Rospy("robot", timeout=20.0)
        self.new = self.transport.messages.new
        self.goals = []
        self.echo = self.transport.publisher("/joint_trajectory", "trajectory_msgs/msg/JointTrajectory")
        self.transport.subscribe("/joint_states", "sensor_msgs/msg/JointState", self.answer)
        self.transport.publisher("/robot_mode", "std_msgs/msg/String", LATCHED).publish(self.new("std_msgs/msg/String", data="running"))
        self.transport.serve("/switch", "std_srvs/srv/SetBool", self.switch)
        self.transport.serve_action("/gripper", GRIPPER, lambda goal: goal.command.position >= 0, self.grip)

    def answer(self, received):
        state = received.message
        point = {"positions": state.position, "velocities": state.velocity, "time_from_start": {"sec": 1, "nanosec": 5}}
        self.echo.publish(self.new("trajectory_msgs/msg/JointTrajectory", header=state.header, joint_names=state.name, points=[point]))

    def switch(self, request):
        if request.data:
            return self.new("std_srvs/srv/SetBool_Response", success=True, message="on")
        raise ValueError("cannot be switched off")

    def grip(self, handle):
        """Closed goals succeed at once; a goal of 1 lasts until it is cancelled."""
        self.goals.append(handle)
        handle.feedback(self.new(f"{GRIPPER}_Feedback", position=0.5))
        done = self.new(f"{GRIPPER}_Result", position=handle.goal.command.position, reached_goal=True)
        if handle.goal.command.position < 1:
            handle.finish("succeeded", done)
        else:
            threading.Thread(target=self.hold, args=(handle, done)).start()

    def hold(self, handle, done):
        while not handle.cancel_requested:
            handle.feedback(self.new(f"{GRIPPER}_Feedback", position=0.5))
            time.sleep(0.02)
        handle.finish("canceled", done)

    def publish_wrongly(self):
        """A trajectory where the runner will want joint states."""
        self.wrong = self.transport.publisher("/wrong", "trajectory_msgs/msg/JointTrajectory", LATCHED)
        self.wrong.publish(self.new("trajectory_msgs/msg/JointTrajectory"))

    def diagnostics(self):
        return self.transport.diagnostics()


class Runner:
    """What a test asks of the robot."""

    def __init__(self):
        from robolearn.deploy.transport.rospy_transport import Rospy

        self.transport = Rospy("runner", timeout=20.0)
        self.new = self.transport.messages.new
        self.came = []
        self.states = self.transport.publisher("/joint_states", "sensor_msgs/msg/JointState")
        self.trajectories = self.transport.subscribe("/joint_trajectory", "trajectory_msgs/msg/JointTrajectory", self.came.append)

    def round_trips(self, count, hz):
        """Times [ms] of joint states that came back as trajectories."""
        until(lambda: self.states.readers and self.trajectories.writers)
        times = []
        for number in range(count):
            header = {"stamp": {"sec": 5, "nanosec": number}, "frame_id": "base"}
            names = [f"joint{joint}" for joint in range(7)]
            state = self.new("sensor_msgs/msg/JointState", header=header, name=names, position=[0.5] * 7, velocity=[0.0] * 7)
            begun, had = time.time_ns(), len(self.came)
            self.states.publish(state)
            until(lambda had=had: len(self.came) > had)
            times.append((self.came[-1].received - begun) / 1e6)
            time.sleep(max(0.0, 1 / hz - (time.time_ns() - begun) / 1e9))
        return times

    def grip(self, action, position, cancel=False, timeout=5.0):
        """Send a goal: whether it was accepted, how it ended, the result's position, and feedback."""
        client = self.transport.action_client(action, GRIPPER)
        until(lambda: client.ready)
        told = []
        goal = client.send(self.new(f"{GRIPPER}_Goal", command={"position": position}), lambda m: told.append(m.position))
        accepted = goal.accepted(timeout)
        if cancel:
            goal.cancel()
        status, result = goal.result(timeout)
        until(lambda: told)
        return [accepted, status, result.position, told]

    def call_in_a_callback(self):
        said = []

        def callback(_):
            try:
                client.call(self.new("std_srvs/srv/SetBool_Request", data=True), 5.0)
            except Exception as error:
                said.append(str(error))

        client = self.transport.client("/switch", "std_srvs/srv/SetBool")
        self.transport.subscribe("/robot_mode", "std_msgs/msg/String", callback)
        until(lambda: said)
        raise RuntimeError(said[0])

    def subscribe_wrongly(self):
        """Hear trajectories as joint states."""
        heard = []
        wrong = self.transport.subscribe("/wrong", "sensor_msgs/msg/JointState", heard.append)
        until(lambda: wrong.malformed > 0)
        return {"writers": wrong.writers, "heard": len(heard), "told": self.transport.diagnostics()}

    def publish_two_types(self):
        self.transport.publisher("/joint_states", "std_msgs/msg/String")

    def serve_what_is_served(self):
        self.transport.serve("/switch", "std_srvs/srv/SetBool", lambda request: request)

    def second_node(self):
        from robolearn.deploy.transport.rospy_transport import Rospy

        Rospy("second")

    def subscribe_to_ros2(self):
        self.transport.subscribe("/x", "action_msgs/msg/GoalStatusArray", print)

    def use_after_close(self):
        self.transport.close()
        self.transport.publisher("/late", "std_msgs/msg/String")


class Debian:
    """A program that knows nothing of robolearn's transports: Debian's rospy, message classes and actionlib."""

    def __init__(self):
        from robolearn.deploy.transport.rospy_node import import_rospy

        rospy = self.rospy = import_rospy()
        import actionlib
        from genpy.dynamic import generate_dynamic
        from sensor_msgs.msg import JointState
        from std_srvs.srv import SetBool
        from trajectory_msgs.msg import JointTrajectory

        rospy.init_node("debian", anonymous=True, disable_signals=True)
        threading.Thread(target=self.shut_down_with_main, daemon=True).start()
        self.lib, self.JointState, self.SetBool = actionlib, JointState, SetBool
        self.types = generate_dynamic("control_msgs/GripperCommandAction", GRIPPER_ACTION)
        self.came = []
        rospy.Subscriber("/joint_trajectory", JointTrajectory, self.came.append)
        self.states = rospy.Publisher("/joint_states", JointState, queue_size=1)

    def type(self, name):
        return self.types[f"control_msgs/{name}"]

    def gripper_action_md5(self):
        return self.type("GripperCommandAction")._md5sum

    def echo(self):
        """Send one joint state, and see the trajectory that comes of it."""
        until(lambda: self.states.get_num_connections())
        state = self.JointState(name=["a", "b"], position=[1.0, 2.0], velocity=[3.0, 4.0])
        state.header.frame_id, state.header.stamp = "base", self.rospy.Time(7, 8)
        had = len(self.came)
        self.states.publish(state)
        until(lambda: len(self.came) > had)
        back = self.came[-1]
        stamp = back.header.stamp
        return [back.joint_names, list(back.points[0].velocities), back.header.frame_id, stamp.secs, stamp.nsecs]

    def call(self):
        response = self.rospy.ServiceProxy("/switch", self.SetBool)(True)
        return [response.success, response.message]

    def call_in_vain(self):
        self.rospy.ServiceProxy("/switch", self.SetBool)(False)

    def grip(self, position, cancel=False):
        """Send our server a goal through actionlib's own client."""
        client = self.lib.SimpleActionClient("/gripper", self.type("GripperCommandAction"))
        assert client.wait_for_server(self.rospy.Duration(10))
        goal = self.type("GripperCommandGoal")()
        goal.command.position = position
        told = []
        client.send_goal(goal, feedback_cb=lambda feedback: told.append(feedback.position))
        if cancel:
            until(lambda: told and client.get_state() == self.lib.GoalStatus.ACTIVE)
            client.cancel_goal()
        assert client.wait_for_result(self.rospy.Duration(10))
        result = client.get_result()
        return [client.get_state(), result.position if result else None, told[:1]]

    def serve_gripper(self):
        """Actionlib's own server, in our server's place on /debian/gripper."""
        self.server = self.lib.SimpleActionServer("/debian/gripper", self.type("GripperCommandAction"), self.execute, auto_start=False)
        self.server.start()

    def execute(self, goal):
        result, feedback = self.type("GripperCommandResult")(), self.type("GripperCommandFeedback")()
        result.position, feedback.position = goal.command.position, 0.5
        self.server.publish_feedback(feedback)
        if goal.command.position >= 1:
            until(self.server.is_preempt_requested)
            self.server.set_preempted(result)
        elif goal.command.position < 0:
            self.server.set_aborted(result)
        else:
            self.server.set_succeeded(result)

    def publish_hostile(self, payloads):
        """Bytes that are no joint state, behind the right type's name."""
        from rospy import AnyMsg

        for payload in payloads:
            message = AnyMsg()
            message._buff = bytes(payload)
            self.states.publish(message)
            time.sleep(0.02)

    def shut_down_with_main(self):
        threading.main_thread().join()
        self.rospy.signal_shutdown("done")


GRIPPER_ACTION = "\n".join(
    [
        "GripperCommandActionGoal action_goal",
        "GripperCommandActionResult action_result",
        "GripperCommandActionFeedback action_feedback",
    ]
)


def gripper_action():
    """The definition of control_msgs/GripperCommandAction with all that is in it, as genpy wants it."""
    from robolearn.deploy.messages.ros1 import definition

    texts, line = {}, "=" * 80
    for part in ("Goal", "Result", "Feedback"):
        whole = f"MSG: control_msgs/GripperCommandAction{part}\n" + definition(f"control_msgs/msg/GripperCommandAction{part}")[0]
        for text in whole.split(line + "\n"):
            texts[text.splitlines()[0]] = text
    return f"\n{line}\n".join([GRIPPER_ACTION, *(text.strip() for text in texts.values())]) + "\n"


if __name__ == "__main__":
    GRIPPER_ACTION = gripper_action()
    program = {"robot": Robot, "runner": Runner, "debian": Debian}[sys.argv[1]]()
    obey({name: getattr(program, name) for name in dir(program) if not name.startswith("_")})
