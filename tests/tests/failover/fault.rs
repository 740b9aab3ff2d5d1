//! What breaks of three coordinators on three members of etcd.

use cutover_test_hosts::off_by;
use cutover_tests::fleet::{Coordinator, Fleet, LEASE, MEMBERS};
use cutover_tests::until;
use rustix::process::Signal;
use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

/// How long what stops an upgrade is looked at while it stops it.
const LASTS: Duration = Duration::from_secs(1);
/// How long a coordinator may take to answer, or to log what it does.
const ANSWERS_WITHIN: Duration = Duration::from_secs(10);
/// How far a wrong clock is off, in seconds.
const OFF: i64 = 600;

/// What breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// The leader is killed.
    LeaderKilled,
    /// The leader is stopped for longer than its lease, and continued while another one leads.
    LeaderStopped,
    /// Nothing passes between the leader and etcd.
    LeaderWithoutEtcd,
    /// The leader's connections to agents are cut, and none can be made.
    LeaderWithoutAgents,
    /// A member of etcd that follows is killed.
    EtcdFollowerKilled,
    /// The member that leads etcd is killed.
    EtcdLeaderKilled,
    /// Two of three members are killed, for three times the lease.
    QuorumLost,
    /// Etcd forgets everything old while one coordinator is cut off from it, and another one has to lead.
    Compacted,
    /// Etcd takes no writes, as its quota is reached.
    QuotaReached,
    /// All members of etcd are killed and started.
    EtcdRestarted,
    /// A coordinator whose clock is ten minutes ahead has to lead.
    ClockAhead,
    /// The leader is killed, and the next one too.
    TwoFailovers,
}
impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

/// A fault that lasts.
pub struct Broken {
    fault: Fault,
    /// Who led when it began, and under which epoch.
    leader: usize,
    epoch: u64,
    /// Who leads since, where another one had to.
    next: Option<u64>,
    /// What of etcd was killed.
    members: BTreeSet<usize>,
}

impl Fault {
    /// Each.
    pub const ALL: [Self; 12] = [
        Self::LeaderKilled,
        Self::EtcdFollowerKilled,
        Self::QuorumLost,
        Self::Compacted,
        Self::LeaderStopped,
        Self::EtcdLeaderKilled,
        Self::QuotaReached,
        Self::ClockAhead,
        Self::LeaderWithoutEtcd,
        Self::LeaderWithoutAgents,
        Self::EtcdRestarted,
        Self::TwoFailovers,
    ];

    /// Whether the upgrade goes on while it lasts.
    pub fn lets_on(self) -> bool {
        match self {
            Self::LeaderWithoutAgents | Self::QuorumLost | Self::QuotaReached => false,
            Self::LeaderKilled
            | Self::LeaderStopped
            | Self::LeaderWithoutEtcd
            | Self::EtcdFollowerKilled
            | Self::EtcdLeaderKilled
            | Self::Compacted
            | Self::EtcdRestarted
            | Self::ClockAhead
            | Self::TwoFailovers => true,
        }
    }

    /// Does it. Where another coordinator has to lead, it does by the end of this.
    pub fn begin(self, fleet: &mut Fleet) -> Broken {
        let (leader, epoch) = fleet.coordinators.until_led(0);
        let (follower, third) = ((leader + 1) % 3, (leader + 2) % 3);
        let all = &mut fleet.coordinators.all;
        let mut broken = Broken { fault: self, leader, epoch, next: None, members: BTreeSet::new() };
        match self {
            Self::LeaderKilled => {
                all[leader].kill();
                broken.next = Some(fleet.coordinators.until_led(epoch).1);
            }
            Self::LeaderStopped => {
                all[leader].signal(Signal::STOP);
                broken.next = Some(fleet.coordinators.until_led(epoch).1);
            }
            Self::LeaderWithoutEtcd => {
                all[leader].to_etcd.iter().for_each(|proxy| proxy.cut());
                let (now, next) = fleet.coordinators.until_led(epoch);
                broken.next = Some(next);
                let [old, new] = [leader, now].map(|number| &fleet.coordinators.all[number]);
                let ended = until_said(old, &format!(" does not lead any more epoch={epoch} "));
                let began = until_said(new, &format!(" leads epoch={next} "));
                // One of them may have a wrong clock.
                let comparable = old.env.is_empty() && new.env.is_empty();
                assert!(!comparable || ended <= began, "two lead, {ended} and {began}:\n{}", fleet.logs());
            }
            Self::LeaderWithoutAgents => links(fleet, leader).for_each(|link| link.cut()),
            Self::EtcdFollowerKilled => {
                let member = (fleet.coordinators.etcd().leader() + 1) % MEMBERS;
                broken.kill(fleet, [member]);
            }
            Self::EtcdLeaderKilled => {
                let member = fleet.coordinators.etcd().leader();
                broken.kill(fleet, [member]);
            }
            Self::QuorumLost => {
                let member = fleet.coordinators.etcd().leader();
                broken.kill(fleet, [member, (member + 1) % MEMBERS]);
            }
            Self::Compacted => {
                all[follower].to_etcd.iter().for_each(|proxy| proxy.cut());
                fleet.coordinators.etcd().compact(0);
                fleet.coordinators.all[leader].kill();
                broken.next = Some(fleet.coordinators.until_led(epoch).1);
            }
            Self::QuotaReached => fleet.coordinators.etcd().raise_alarm(0),
            Self::EtcdRestarted => {
                broken.kill(fleet, 0..MEMBERS);
                broken.mend_etcd(fleet);
            }
            Self::ClockAhead => {
                all.iter_mut().for_each(|one| one.env.clear());
                all[follower].kill();
                all[follower].env = off_by(OFF);
                all[follower].start();
                let one = &fleet.coordinators.all[follower];
                until("the one with the wrong clock follows", Duration::from_secs(10), || one.follows().then_some(()));
                fleet.coordinators.all[third].kill();
                fleet.coordinators.all[leader].kill();
                let (now, next) = fleet.coordinators.until_led(epoch);
                assert_eq!(now, follower);
                broken.next = Some(next);
            }
            Self::TwoFailovers => {
                all[leader].kill();
                let (second, next) = fleet.coordinators.until_led(epoch);
                fleet.coordinators.all[second].kill();
                broken.next = Some(fleet.coordinators.until_led(next).1);
            }
        }
        broken
    }
}

impl Broken {
    fn kill(&mut self, fleet: &mut Fleet, members: impl IntoIterator<Item = usize>) {
        for member in members {
            fleet.coordinators.etcd().kill(member);
            self.members.insert(member);
        }
    }
    fn mend_etcd(&mut self, fleet: &mut Fleet) {
        if self.members.is_empty() {
            return;
        }
        let etcd = fleet.coordinators.etcd();
        std::mem::take(&mut self.members).into_iter().for_each(|member| etcd.start_member(member));
        etcd.healthy();
    }

    /// Waits as long as it is to stop the upgrade. The reason why nothing goes on is the true one.
    pub fn lasts(&self, fleet: &Fleet, logged: &[String]) {
        match self.fault {
            Fault::QuorumLost => std::thread::sleep(3 * LEASE),
            Fault::LeaderWithoutAgents => {
                std::thread::sleep(LASTS);
                assert_eq!(who_leads(fleet), (self.leader, self.epoch), "etcd hears it as before");
            }
            Fault::QuotaReached => {
                let leader = &fleet.coordinators.all[self.leader];
                until("the leader says that etcd takes no writes", Duration::from_secs(20), || {
                    leader.log()[logged[self.leader].len()..].contains("NOSPACE").then_some(())
                });
                assert_eq!(who_leads(fleet), (self.leader, self.epoch), "leases are renewed as before");
            }
            Fault::LeaderKilled
            | Fault::LeaderStopped
            | Fault::LeaderWithoutEtcd
            | Fault::EtcdFollowerKilled
            | Fault::EtcdLeaderKilled
            | Fault::Compacted
            | Fault::EtcdRestarted
            | Fault::ClockAhead
            | Fault::TwoFailovers => {}
        }
    }

    /// Makes all of it whole. A former leader knows that it leads no more.
    pub fn end(mut self, fleet: &mut Fleet) {
        self.mend_etcd(fleet);
        let former = self.leader;
        match self.fault {
            Fault::LeaderStopped => fleet.coordinators.all[former].signal(Signal::CONT),
            Fault::QuotaReached => fleet.coordinators.etcd().disarm(0),
            Fault::LeaderWithoutAgents => links(fleet, former).for_each(|link| link.mend()),
            Fault::LeaderWithoutEtcd | Fault::Compacted => {
                let proxies = fleet.coordinators.all.iter().flat_map(|one| &one.to_etcd);
                proxies.for_each(|proxy| proxy.mend());
            }
            Fault::LeaderKilled
            | Fault::EtcdFollowerKilled
            | Fault::EtcdLeaderKilled
            | Fault::QuorumLost
            | Fault::EtcdRestarted
            | Fault::ClockAhead
            | Fault::TwoFailovers => {}
        }
        fleet.coordinators.all.iter_mut().for_each(Coordinator::start);
        let Some(next) = self.next else { return };
        let one = &fleet.coordinators.all[former];
        until("the former leader leads no more", Duration::from_secs(20), || {
            one.leads().is_none_or(|epoch| epoch > self.epoch).then_some(())
        });
        let (_, epoch) = fleet.coordinators.until_led(0);
        assert!(epoch >= next, "epoch {epoch} after {next}");
    }
}

/// Who says that it leads, and under which epoch. None may answer for a moment.
fn who_leads(fleet: &Fleet) -> (usize, u64) {
    until("somebody says that it leads", ANSWERS_WITHIN, || fleet.coordinators.leader())
}

/// Waits until a coordinator has logged these words; when it did, as its lines begin.
fn until_said(one: &Coordinator, words: &str) -> String {
    until(&format!("it logs {words:?}"), ANSWERS_WITHIN, || {
        let log = one.log();
        let line = log.lines().find(|line| line.contains(words))?;
        line.split_whitespace().next().map(str::to_owned)
    })
}

/// A coordinator's connections to agents.
fn links(fleet: &Fleet, coordinator: usize) -> impl Iterator<Item = &cutover_tests::link::Link> {
    (1..=fleet.hosts.len()).filter_map(move |agent| fleet.breakable.link(coordinator, agent))
}
