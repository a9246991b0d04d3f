"""What a robosuite world can be made with: what is no such thing is said, and control rates are robosuite's."""

import numpy as np
import pytest

from robolearn.errors import UserError
from robolearn.sim.robosuite.env import RobosuiteEnv
from robolearn.sim.robosuite.host import draw_start, make_host


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"task": "lifted"}, r"no robosuite task 'lifted'.*did you mean 'lift'"),
        ({"input_type": "deltas"}, r"no input type 'deltas'.*did you mean 'delta'"),
        ({"autoreset": "same"}, r"no autoreset mode 'same'"),
        ({"autoreset": None}, r"no autoreset mode None; there are disabled, same_step"),
        *(({"num_envs": rows}, rf"num_envs must be a whole number, got {rows!r}") for rows in (2.5, 2.0, "2", True, None)),
        ({"max_episode_steps": 99.5}, r"max_episode_steps must be a whole number, got 99\.5"),
        ({"threads": "all"}, r"threads must be a whole number, got 'all'"),
        ({"options": {"table_frictions": 1.0}}, r"robosuite's Lift has no option 'table_frictions'; did you mean 'table_friction'\?"),
        ({"task": "can", "options": {"z_offsets": 0.0}}, r"PickPlaceCan has no option 'z_offsets'; did you mean 'z_offset'\?"),
        ({"task": "can", "options": {"object_type": "milk"}}, r"PickPlaceCan has no option 'object_type'"),
        ({"options": {"weather": "mild"}}, r"Lift has no option 'weather'; there are robots, env_configuration, .*, seed"),
        *(
            ({"options": {"control_freq": rate}}, rf"control_freq is a number above 0 and up to 500, .* not {rate!r}")
            for rate in (0, -20, 501, "20", None, True, float("nan"))
        ),
        ({"options": {"robots": "Pandaa"}}, r"Lift in batches has 1 of the robot Panda, robots='Panda', not 'Pandaa'"),
        ({"options": {"robots": ["Panda", "Panda"]}}, r"has 1 of the robot Panda, .* not \['Panda', 'Panda'\]"),
        ({"task": "transport", "options": {"robots": "Panda"}}, r"robots=\['Panda', 'Panda'\], not 'Panda'"),
        ({"options": {"gripper_types": "RethinkGripper"}}, r"with its own gripper, PandaGripper, not Panda with RethinkGripper"),
        ({"options": {"controller_configs": "OSC_POSE"}}, r"robosuite cannot make Lift with controller_configs='OSC_POSE': .* leave out"),
        ({"options": {"table_full_size": 3}}, r"robosuite cannot make Lift with table_full_size=3: TypeError 'int' .* leave out"),
    ],
)
def test_what_is_not_there_is_said_with_what_is(options, message):
    with pytest.raises(UserError, match=message):
        RobosuiteEnv(**{"task": "lift", "num_envs": 1, **options})


@pytest.mark.parametrize("rate", [30, 180, 500])
def test_a_control_step_has_as_many_physics_steps_as_robosuites(rate):
    options = {"control_freq": rate}
    env, host = RobosuiteEnv("lift", 1, input_type="delta", threads=1, options=options), make_host("lift", "delta", options)
    env.reset(seed=0)
    draw_start(host, 0)
    begun = env.engine.view("time")[0].item(), host.sim.data.time
    env.step(np.zeros((1, 7)))
    host.step(np.zeros(7))
    taken = env.engine.view("time")[0].item() - begun[0]
    assert taken == pytest.approx(host.sim.data.time - begun[1])
    assert env.env_spec.control_hz == pytest.approx(1 / taken)
    env.close()
    host.close()
