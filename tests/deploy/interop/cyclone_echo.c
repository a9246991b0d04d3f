/* Answers each JointState on /joint_states with a JointTrajectory of one point on /joint_trajectory, through Eclipse Cyclone DDS in C,
   which is what rmw_cyclonedds stands on. Domain and network come from CYCLONEDDS_URI. Ends when its standard input does.
     cyclone_echo DOMAIN */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "Ros2.h"
#include "dds/dds.h"

#define TAKEN 16

typedef sensor_msgs_msg_dds__JointState_ State;
typedef trajectory_msgs_msg_dds__JointTrajectory_ Trajectory;
typedef trajectory_msgs_msg_dds__JointTrajectoryPoint_ Point;

static dds_entity_t check(dds_entity_t entity, const char *what)
{
  if (entity < 0) {
    fprintf(stderr, "%s: %s\n", what, dds_strretcode(-entity));
    exit(1);
  }
  return entity;
}

/* The parts of the answer are the request's own: nothing is copied, and nothing is freed. */
static void answer(dds_entity_t writer, const State *state)
{
  Point point = {0};
  Trajectory trajectory = {0};
  memcpy(&point.positions, &state->position, sizeof(point.positions));
  memcpy(&point.velocities, &state->velocity, sizeof(point.velocities));
  memcpy(&point.effort, &state->effort, sizeof(point.effort));
  point.time_from_start.sec = 1;
  point.time_from_start.nanosec = 500000000;
  trajectory.header = state->header;
  memcpy(&trajectory.joint_names, &state->name, sizeof(trajectory.joint_names));
  trajectory.points._buffer = &point;
  trajectory.points._length = trajectory.points._maximum = 1;
  check(dds_write(writer, &trajectory), "write");
}

static void take_and_answer(dds_entity_t reader, dds_entity_t writer)
{
  void *samples[TAKEN] = {NULL};
  dds_sample_info_t infos[TAKEN];
  const dds_return_t count = check(dds_take(reader, samples, infos, TAKEN, TAKEN), "take");
  for (dds_return_t i = 0; i < count; i++) {
    if (infos[i].valid_data) answer(writer, samples[i]);
  }
  dds_return_loan(reader, samples, count);
}

static int input_ended(void)
{
  struct pollfd input = {.fd = 0, .events = POLLIN};
  char byte;
  return poll(&input, 1, 0) > 0 && fread(&byte, 1, 1, stdin) == 0;
}

int main(int argc, char **argv)
{
  const dds_entity_t participant = check(dds_create_participant(argc > 1 ? (dds_domainid_t)atoi(argv[1]) : 0, NULL, NULL), "participant");
  dds_qos_t *qos = dds_create_qos(); /* as rclcpp's default: reliable, volatile, the last ten */
  dds_qset_reliability(qos, DDS_RELIABILITY_RELIABLE, DDS_MSECS(100));
  dds_qset_history(qos, DDS_HISTORY_KEEP_LAST, 10);
  const dds_entity_t states =
      check(dds_create_topic(participant, &sensor_msgs_msg_dds__JointState__desc, "rt/joint_states", NULL, NULL), "topic");
  const dds_entity_t trajectories =
      check(dds_create_topic(participant, &trajectory_msgs_msg_dds__JointTrajectory__desc, "rt/joint_trajectory", NULL, NULL), "topic");
  const dds_entity_t writer = check(dds_create_writer(participant, trajectories, qos, NULL), "writer");
  const dds_entity_t reader = check(dds_create_reader(participant, states, qos, NULL), "reader");
  const dds_entity_t waitset = check(dds_create_waitset(participant), "waitset");
  check(dds_waitset_attach(waitset, check(dds_create_readcondition(reader, DDS_ANY_STATE), "condition"), reader), "attach");

  puts("ready");
  fflush(stdout);
  while (!input_ended()) {
    dds_attach_t woken;
    if (dds_waitset_wait(waitset, &woken, 1, DDS_MSECS(100)) > 0) take_and_answer(reader, writer);
  }
  dds_delete_qos(qos);
  dds_delete(participant);
  return 0;
}
