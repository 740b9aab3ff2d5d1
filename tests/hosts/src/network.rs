//! A host's wire, and what can go wrong on it.
//!
//! The rules are in the host's own network namespace, so they hold for what the lab sends as for what other hosts send, they
//! stay over reboots, and address resolution goes on: a packet is lost, not the neighbour. Faults add up until [`Host::heal`].

use crate::host::{Host, in_network};
use crate::machine::run;
use std::net::Ipv4Addr;
use std::path::Path;

/// Whether a host's cable is plugged in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cable {
    /// Its wire is connected.
    In,
    /// Nothing comes in or goes out.
    Out,
}

/// Both directions, before anything else sees a packet; the loopback interface is left alone.
const TABLE: &str = "add table inet faults
add chain inet faults in { type filter hook input priority -300; }
add chain inet faults out { type filter hook output priority -300; }
";

/// The wire's end in the bridge.
fn plug(address: Ipv4Addr) -> String {
    format!("host{}", address.octets()[3])
}

/// Makes a network namespace, which lasts as long as the lab, and connects it to the bridge.
pub(crate) fn wire(folder: &Path, address: Ipv4Addr) {
    let net = folder.join("net");
    std::fs::write(&net, "").unwrap();
    run("unshare", &[&format!("--net={}", net.display()), "true"]);
    let plug = plug(address);
    run("ip", &["link", "add", &plug, "type", "veth", "peer", "name", "eth0", "netns", net.to_str().unwrap()]);
    run("ip", &["link", "set", &plug, "master", "bridge", "up"]);
    let up = format!("ip link set lo up && ip addr add {address}/16 dev eth0 && ip link set eth0 up");
    in_network(folder, &["sh", "-c", &up]);
}

impl Host {
    /// Pulls the cable out, or puts it in again.
    pub fn cable(&self, cable: Cable) {
        let state = match cable {
            Cable::In => "up",
            Cable::Out => "down",
        };
        run("ip", &["link", "set", &plug(self.address()), state]);
    }

    /// Loses every packet that comes from there, a host or [`crate::Lab::ADDRESS`]. The other direction is open; for a
    /// partition call it on both sides.
    pub fn drop_from(&self, from: Ipv4Addr) {
        self.fault(&[&format!("in iifname eth0 ip saddr {from} drop")]);
    }

    /// Loses every packet that comes in from anywhere.
    pub fn drop_all(&self) {
        self.fault(&["in iifname eth0 drop"]);
    }

    /// Answers what comes in for a TCP port with a reset: new connections are refused, and those that are open end.
    pub fn refuse(&self, port: u16) {
        self.fault(&[&format!("in iifname eth0 tcp dport {port} reject with tcp reset")]);
    }

    /// Loses packets of both directions at random, each with this probability in percent.
    pub fn loss(&self, percent: u8) {
        // Of a number below 100 nft cannot ask whether it is below 100.
        let drawn = if percent < 100 { format!("numgen random mod 100 < {percent}") } else { String::new() };
        self.fault(&[&format!("in iifname eth0 {drawn} drop"), &format!("out oifname eth0 {drawn} drop")]);
    }

    /// Takes every fault back but for the cable's.
    pub fn heal(&self) {
        // Added first, so that there is something to delete.
        in_network(self.folder(), &["nft", "add table inet faults; delete table inet faults"]);
    }

    fn fault(&self, rules: &[&str]) {
        let rules: String = rules.iter().map(|rule| format!("add rule inet faults {rule}\n")).collect();
        in_network(self.folder(), &["nft", &format!("{TABLE}{rules}")]);
    }
}
