// Answers each JointState on /joint_states with a JointTrajectory of one point on /joint_trajectory, through eProsima's Fast DDS:
// the middleware that ROS 2 uses unless told otherwise. Loopback only, without multicast. Ends when its standard input does.
//   fastdds_echo DOMAIN
#include <cstdlib>
#include <iostream>
#include <memory>
#include <string>

#include <fastdds/dds/domain/DomainParticipant.hpp>
#include <fastdds/dds/domain/DomainParticipantFactory.hpp>
#include <fastdds/dds/publisher/DataWriter.hpp>
#include <fastdds/dds/publisher/Publisher.hpp>
#include <fastdds/dds/subscriber/DataReader.hpp>
#include <fastdds/dds/subscriber/DataReaderListener.hpp>
#include <fastdds/dds/subscriber/SampleInfo.hpp>
#include <fastdds/dds/subscriber/Subscriber.hpp>
#include <fastdds/dds/topic/TypeSupport.hpp>
#include <fastdds/rtps/transport/UDPv4TransportDescriptor.h>
#include <fastrtps/utils/IPLocator.h>

#include "Ros2PubSubTypes.h"

using namespace eprosima::fastdds::dds;
using State = sensor_msgs::msg::dds_::JointState_;
using Trajectory = trajectory_msgs::msg::dds_::JointTrajectory_;
using Point = trajectory_msgs::msg::dds_::JointTrajectoryPoint_;

class Echo : public DataReaderListener {
 public:
  explicit Echo(DataWriter* writer) : writer_(writer) {}

  void on_data_available(DataReader* reader) override {
    State state;
    SampleInfo info;
    while (reader->take_next_sample(&state, &info) == ReturnCode_t::RETCODE_OK) {
      if (info.valid_data) answer(state);
    }
  }

 private:
  void answer(const State& state) {
    Point point;
    point.positions(state.position());
    point.velocities(state.velocity());
    point.effort(state.effort());
    point.time_from_start().sec(1);
    point.time_from_start().nanosec(500000000);
    Trajectory trajectory;
    trajectory.header(state.header());
    trajectory.joint_names(state.name());
    trajectory.points({point});
    writer_->write(&trajectory);
  }

  DataWriter* writer_;
};

DomainParticipant* loopback_participant(int domain) {
  DomainParticipantQos qos;
  qos.name("fastdds_echo");
  auto udp = std::make_shared<eprosima::fastdds::rtps::UDPv4TransportDescriptor>();
  udp->interfaceWhiteList.push_back("127.0.0.1");
  qos.transport().use_builtin_transports = false;
  qos.transport().user_transports.push_back(udp);
  eprosima::fastrtps::rtps::Locator_t peer;  // port 0: the well-known ports of the domain's first participants
  eprosima::fastrtps::rtps::IPLocator::setIPv4(peer, "127.0.0.1");
  qos.wire_protocol().builtin.initialPeersList.push_back(peer);
  return DomainParticipantFactory::get_instance()->create_participant(domain, qos);
}

int main(int argc, char** argv) {
  DomainParticipant* participant = loopback_participant(argc > 1 ? std::atoi(argv[1]) : 0);
  if (participant == nullptr) return 1;
  TypeSupport state_type(new sensor_msgs::msg::dds_::JointState_PubSubType());
  TypeSupport trajectory_type(new trajectory_msgs::msg::dds_::JointTrajectory_PubSubType());
  state_type.register_type(participant);
  trajectory_type.register_type(participant);

  DataWriterQos offered;  // as rclcpp's default: reliable, volatile, the last ten
  offered.reliability().kind = RELIABLE_RELIABILITY_QOS;
  offered.history().depth = 10;
  offered.endpoint().history_memory_policy = eprosima::fastrtps::rtps::PREALLOCATED_WITH_REALLOC_MEMORY_MODE;
  DataReaderQos asked;
  asked.reliability().kind = RELIABLE_RELIABILITY_QOS;
  asked.history().depth = 10;
  asked.endpoint().history_memory_policy = eprosima::fastrtps::rtps::PREALLOCATED_WITH_REALLOC_MEMORY_MODE;

  Topic* trajectories = participant->create_topic("rt/joint_trajectory", trajectory_type.get_type_name(), TOPIC_QOS_DEFAULT);
  Topic* states = participant->create_topic("rt/joint_states", state_type.get_type_name(), TOPIC_QOS_DEFAULT);
  DataWriter* writer = participant->create_publisher(PUBLISHER_QOS_DEFAULT)->create_datawriter(trajectories, offered);
  Echo echo(writer);
  DataReader* reader = participant->create_subscriber(SUBSCRIBER_QOS_DEFAULT)->create_datareader(states, asked, &echo);
  if (writer == nullptr || reader == nullptr) return 1;

  std::cout << "ready" << std::endl;
  std::string line;
  while (std::getline(std::cin, line)) {
  }
  participant->delete_contained_entities();
  DomainParticipantFactory::get_instance()->delete_participant(participant);
  return 0;
}
