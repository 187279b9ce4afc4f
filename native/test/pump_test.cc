// Transfers of files to sockets: every way in which one can end, and that each ends exactly once.
#include "../core/pump.h"

#include <errno.h>
#include <sys/resource.h>

#include "../core/seam.h"
#include "pump_fixture.h"

namespace sealog::test {
namespace {

constexpr int64_t kStallMs = 200;

int OpenDescriptors() {
  int count = 0;
  for (int fd = 0; fd < 8192; fd++) count += fcntl(fd, F_GETFD) >= 0 ? 1 : 0;
  return count;
}

void TestSendsAll(Connection connection) {
  PumpRig rig;
  const size_t length = 6 * Pump::kTurnBytes + 12345;
  const int file = rig.MakeFile(length + 100);
  CHECK_EQ(rig.pump.Start(1, connection.near, file, 50, length, kLongMs), 0);
  CHECK(connection.Read(length) == rig.content.substr(50, length));
  const auto ending = rig.Await(1);
  CHECK_EQ(ending.status, 0.0);
  CHECK_EQ(ending.sent, static_cast<double>(length));
  // Neither end was closed: the connection goes on.
  CHECK_EQ(write(connection.near, "next", 4), ssize_t{4});
  CHECK_EQ(connection.Read(4), "next");
  connection.CloseBoth();
  CHECK(rig.pump.Stop(kPatienceMs));
}

void TestSendsResidentBytesAtOnce() {
  PumpRig rig;
  Connection connection = Connection::Unix();
  const int file = rig.MakeFile(4 << 20);
  rig.io.SetResident(file, 1);
  CHECK_EQ(rig.pump.Start(1, connection.near, file, 7, 10000, kLongMs), kSentAtOnce);
  CHECK(connection.Read(10000) == rig.content.substr(7, 10000));
  CHECK_EQ(rig.pump.Start(2, connection.near, file, 7, 0, kLongMs), kSentAtOnce);
  // More than the socket takes: the threads do the rest.
  CHECK_EQ(rig.pump.Start(3, connection.near, file, 0, 4 << 20, kLongMs), 0);
  CHECK(connection.Read(4 << 20) == rig.content);
  CHECK_EQ(rig.Await(3).sent, 4.0 * (1 << 20));
  // Behind the end of the file there is nothing to begin with.
  CHECK_EQ(rig.pump.Start(4, connection.near, file, 4 << 20, 1, kLongMs), -ENODATA);
  // And with a peer that is gone neither; no signal ends this process.
  connection.CloseFar();
  CHECK_EQ(rig.pump.Start(5, connection.near, file, 0, 10, kLongMs), -EPIPE);
  connection.CloseBoth();
  CHECK(rig.pump.Stop(kPatienceMs));
  rig.Drain();
  CHECK_EQ(rig.endings.size(), size_t{1});
}

void TestPeerCloses() {
  PumpRig rig;
  Connection connection = Connection::Tcp();
  const int file = rig.MakeFile(32 << 20);
  CHECK_EQ(rig.pump.Start(1, connection.near, file, 0, 32 << 20, kLongMs), 0);
  connection.Read(100000);
  connection.CloseFar();
  const auto ending = rig.Await(1);
  CHECK(ending.status == -EPIPE || ending.status == -ECONNRESET);
  CHECK(ending.sent >= 100000 && ending.sent < 32 << 20);
  connection.CloseBoth();
  CHECK(rig.pump.Stop(kPatienceMs));
}

void TestCancel() {
  PumpRig rig;
  Connection connection = Connection::Unix();
  const int file = rig.MakeFile(8 << 20);
  CHECK_EQ(rig.pump.Start(1, connection.near, file, 0, 8 << 20, kLongMs), 0);
  connection.Read(1000);
  CHECK_EQ(rig.pump.Start(1, connection.near, file, 0, 1, kLongMs), -EEXIST);
  // As when Node has closed its socket: the duplicate alone must let the peer know.
  connection.CloseNear();
  rig.pump.Cancel(1);
  const auto ending = rig.Await(1);
  CHECK_EQ(ending.status, static_cast<double>(-ECANCELED));
  CHECK_EQ(static_cast<double>(connection.Read(8 << 20).size() + 1000), ending.sent);
  rig.pump.Cancel(1);
  rig.pump.Cancel(77);
  connection.CloseBoth();
  CHECK(rig.pump.Stop(kPatienceMs));
  rig.Drain();
  CHECK_EQ(rig.endings.size(), size_t{1});
}

void TestCancelDuringASend() {
  PumpRig rig;
  Connection connection = Connection::Unix();
  const int file = rig.MakeFile(8 << 20);
  rig.io.Hold(file);
  CHECK_EQ(rig.pump.Start(1, connection.near, file, 0, 8 << 20, kLongMs), 0);
  rig.io.AwaitHeld();
  rig.pump.Cancel(1);
  CHECK(!rig.HasEnded(1));
  rig.io.Hold(-1);
  CHECK_EQ(rig.Await(1).status, static_cast<double>(-ECANCELED));
  connection.CloseBoth();
  CHECK(rig.pump.Stop(kPatienceMs));
}

void TestStall() {
  PumpRig rig;
  Connection connection = Connection::Unix();
  Connection patient = Connection::Unix();
  const int file = rig.MakeFile(8 << 20);
  CHECK_EQ(rig.pump.Start(1, patient.near, file, 0, 8 << 20, kLongMs), 0);
  // Sooner than what the threads wait for already.
  CHECK_EQ(rig.pump.Start(2, connection.near, file, 0, 8 << 20, 100), 0);
  CHECK_EQ(rig.Await(2).status, static_cast<double>(-ETIMEDOUT));
  CHECK(!rig.HasEnded(1));
  CHECK(patient.Read(8 << 20) == rig.content);
  CHECK_EQ(rig.Await(1).status, 0.0);
  connection.CloseBoth();
  patient.CloseBoth();
  CHECK(rig.pump.Stop(kPatienceMs));
}

void TestProgressIsNoStall() {
  PumpRig rig;
  Connection connection = Connection::Unix();
  const int file = rig.MakeFile(3 << 20);
  CHECK_EQ(rig.pump.Start(1, connection.near, file, 0, 3 << 20, 1500), 0);
  // Much slower as a whole than the timeout allows to stand still.
  size_t got = 0;
  while (got < 3 << 20) {
    usleep(120000);
    got += connection.Read(std::min<size_t>(150000, (3 << 20) - got)).size();
    if (rig.HasEnded(1)) break;
  }
  connection.Read((3 << 20) - got);
  CHECK_EQ(rig.Await(1).status, 0.0);
  connection.CloseBoth();
  CHECK(rig.pump.Stop(kPatienceMs));
}

void TestManyStalled() {
  constexpr int kTransfers = 1000;
  const int before = OpenDescriptors();
  {
    PumpRig rig;
    const int file = rig.MakeFile(1 << 20);
    std::vector<Connection> connections;
    for (int i = 1; i <= kTransfers; i++) {
      connections.push_back(Connection::Unix());
      CHECK_EQ(rig.pump.Start(i, connections.back().near, file, 0, 1 << 20, i % 2 == 0 ? 300 : kLongMs), 0);
    }
    // Among all those who do not read, one who does.
    Connection reader = Connection::Unix();
    CHECK_EQ(rig.pump.Start(5000, reader.near, file, 0, 1 << 20, kLongMs), 0);
    CHECK(reader.Read(1 << 20) == rig.content);
    CHECK_EQ(rig.Await(5000).status, 0.0);
    for (int i = 2; i <= kTransfers; i += 2) CHECK_EQ(rig.Await(i).status, static_cast<double>(-ETIMEDOUT));
    for (int i = 1; i <= kTransfers; i += 4) rig.pump.Cancel(i);
    CHECK(rig.pump.Stop(kPatienceMs));
    for (int i = 1; i <= kTransfers; i += 2) CHECK_EQ(rig.Await(i).status, static_cast<double>(-ECANCELED));
    rig.Drain();
    CHECK_EQ(rig.endings.size(), size_t{kTransfers + 1});
    for (Connection& connection : connections) connection.CloseBoth();
    reader.CloseBoth();
    close(file);
  }
  CHECK_EQ(OpenDescriptors(), before);
}

void TestShortFile() {
  PumpRig rig;
  Connection connection = Connection::Tcp();
  const int file = rig.MakeFile(100000);
  CHECK_EQ(rig.pump.Start(1, connection.near, file, 0, 200000, kLongMs), 0);
  // The peer gets what there is and then an end, it does not wait for the rest.
  CHECK(connection.Read(200000) == rig.content);
  const auto ending = rig.Await(1);
  CHECK_EQ(ending.status, static_cast<double>(-ENODATA));
  CHECK_EQ(ending.sent, 100000.0);
  connection.CloseBoth();
  CHECK(rig.pump.Stop(kPatienceMs));
}

void TestFaults() {
  PumpRig rig;
  Connection connection = Connection::Unix();
  const int file = rig.MakeFile(1 << 20);
  // Short sends.
  rig.faulting.Fault(IoKind::kSendFile, 1, 0, true, 10007);
  CHECK_EQ(rig.pump.Start(1, connection.near, file, 0, 1 << 20, kLongMs), 0);
  CHECK(connection.Read(1 << 20) == rig.content);
  CHECK_EQ(rig.Await(1).status, 0.0);
  CHECK(rig.faulting.Count(IoKind::kSendFile) > 100);
  rig.faulting.ClearFaults();
  // A socket that says it has room and then has none.
  rig.faulting.Fault(IoKind::kSendFile, 1, EAGAIN, false, 0);
  CHECK_EQ(rig.pump.Start(2, connection.near, file, 0, 1000, kLongMs), 0);
  CHECK_EQ(rig.Await(2).status, 0.0);
  connection.Read(1000);
  // A disk that fails in the middle, first seen by a thread and then at once.
  rig.faulting.Fault(IoKind::kSendFile, 1, 0, false, 4096);
  rig.faulting.Fault(IoKind::kSendFile, 2, EIO, false, 0);
  CHECK_EQ(rig.pump.Start(3, connection.near, file, 0, 1 << 20, kLongMs), 0);
  CHECK_EQ(rig.Await(3).status, static_cast<double>(-EIO));
  CHECK_EQ(rig.endings[3].sent, 4096.0);
  CHECK_EQ(connection.Read(1 << 20).size(), size_t{4096});
  connection.CloseBoth();
  connection = Connection::Unix();
  rig.io.SetResident(file, 1);
  rig.faulting.Fault(IoKind::kSendFile, 1, 0, false, 4096);
  rig.faulting.Fault(IoKind::kSendFile, 2, EIO, false, 0);
  CHECK_EQ(rig.pump.Start(4, connection.near, file, 0, 1 << 20, kLongMs), 0);
  CHECK_EQ(rig.Await(4).status, static_cast<double>(-EIO));
  CHECK_EQ(connection.Read(1 << 20).size(), size_t{4096});
  connection.CloseBoth();
  CHECK_EQ(rig.pump.Start(5, -1, file, 0, 1 << 20, kLongMs), -EBADF);
  CHECK(rig.pump.Stop(kPatienceMs));
}

// However many transfers have to wait for the disk, those that need not go on.
void TestColdFilesDoNotHoldUpOthers() {
  PumpRig rig;
  const int cold = rig.MakeFile(1 << 20);
  const int warm = rig.MakeFile(1 << 20);
  rig.io.SetResident(cold, 0);
  rig.io.Hold(cold);
  constexpr int kCold = 10;
  std::vector<Connection> connections;
  for (int i = 1; i <= kCold; i++) {
    connections.push_back(Connection::Tcp());
    CHECK_EQ(rig.pump.Start(i, connections.back().near, cold, 0, 1 << 20, kLongMs), 0);
  }
  rig.io.AwaitHeld();
  CHECK_EQ(rig.io.AheadOf(cold), uint64_t{1 << 20});
  Connection other = Connection::Tcp();
  CHECK_EQ(rig.pump.Start(100, other.near, warm, 0, 1 << 20, kLongMs), 0);
  CHECK(other.Read(1 << 20) == rig.content);
  CHECK_EQ(rig.Await(100).status, 0.0);
  CHECK_EQ(rig.io.Held(), 1);
  // One of those in the queue gives up.
  rig.pump.Cancel(kCold);
  rig.io.Hold(-1);
  for (int i = 1; i < kCold; i++) {
    CHECK(connections[static_cast<size_t>(i - 1)].Read(1 << 20) == rig.content);
    CHECK_EQ(rig.Await(i).status, 0.0);
  }
  for (Connection& connection : connections) connection.CloseBoth();
  other.CloseBoth();
  CHECK(rig.pump.Stop(kPatienceMs));
  rig.Drain();
  CHECK_EQ(rig.endings.size(), size_t{kCold + 1});
}

// The thread that goes to wait for a disk may be the only one that knew when a transfer will have stalled.
void TestStallBesideColdFile() {
  PumpRig rig;
  const int cold = rig.MakeFile(1 << 20);
  const int warm = rig.MakeFile(4 << 20);
  rig.io.SetResident(cold, 0);
  Connection stalled = Connection::Unix();
  rig.io.Hold(warm);
  CHECK_EQ(rig.pump.Start(1, stalled.near, warm, 0, 4 << 20, kStallMs), 0);
  rig.io.AwaitHeld();
  // The other thread sees nothing that could stall meanwhile, and waits without a deadline.
  usleep(2 * kStallMs * 1000);
  rig.io.Hold(cold);
  // The thread that sent waits with one now, and it is the first that the next transfer wakes.
  usleep(kStallMs * 1000 / 4);
  Connection other = Connection::Unix();
  CHECK_EQ(rig.pump.Start(2, other.near, cold, 0, 1 << 20, kLongMs), 0);
  rig.io.AwaitHeld();
  CHECK_EQ(rig.Await(1).status, static_cast<double>(-ETIMEDOUT));
  CHECK_EQ(rig.io.Held(), 1);
  rig.io.Hold(-1);
  CHECK_EQ(other.Read(1 << 20).size(), size_t{1 << 20});
  CHECK_EQ(rig.Await(2).status, 0.0);
  stalled.CloseBoth();
  other.CloseBoth();
  CHECK(rig.pump.Stop(kPatienceMs));
}

void TestStopCutsTransfers() {
  // Never freed: a thread is left behind that uses it.
  static PumpRig* left_behind = new PumpRig;
  PumpRig& rig = *left_behind;
  std::vector<Connection> connections;
  const int file = rig.MakeFile(8 << 20);
  const int held = rig.MakeFile(8 << 20);
  rig.io.Hold(held);
  for (int i = 1; i <= 20; i++) {
    connections.push_back(Connection::Unix());
    CHECK_EQ(rig.pump.Start(i, connections.back().near, i == 20 ? held : file, 0, 8 << 20, kLongMs), 0);
  }
  rig.io.AwaitHeld();
  // A thread that does not come back is left behind.
  CHECK(!rig.pump.Stop(50));
  rig.io.Hold(-1);
  for (int i = 1; i <= 20; i++) {
    CHECK(connections[static_cast<size_t>(i - 1)].Read(8 << 20).size() < 8 << 20);
    CHECK(rig.Await(i).status < 0);
  }
  CHECK_EQ(rig.pump.Start(21, connections[0].near, file, 0, 1, kLongMs), -ECANCELED);
  for (Connection& connection : connections) connection.CloseBoth();
  rig.directory.Remove();
}

}  // namespace
}  // namespace sealog::test

int main() {
  using namespace sealog::test;
  // TestManyStalled needs three descriptors per transfer.
  rlimit descriptors;
  getrlimit(RLIMIT_NOFILE, &descriptors);
  descriptors.rlim_cur = std::min<rlim_t>(descriptors.rlim_max, 8192);
  setrlimit(RLIMIT_NOFILE, &descriptors);
  TestSendsAll(Connection::Unix());
  TestSendsAll(Connection::Tcp());
  TestSendsResidentBytesAtOnce();
  TestPeerCloses();
  TestCancel();
  TestCancelDuringASend();
  TestStall();
  TestProgressIsNoStall();
  TestManyStalled();
  TestShortFile();
  TestFaults();
  TestColdFilesDoNotHoldUpOthers();
  TestStallBesideColdFile();
  TestStopCutsTransfers();
  return Finish();
}
