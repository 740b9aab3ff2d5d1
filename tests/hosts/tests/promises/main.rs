//! What the hosts promise to the tests that live on them.
#![allow(clippy::disallowed_methods, reason = "deadlines of tests")]

mod clock;
mod disk;
mod lab;
mod network;
mod postgres;
mod power;

use cutover_test_hosts::Host;
use std::io::Read as _;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// A service that tells its host's name to whoever connects.
const GREETER: u16 = 700;

fn install_greeter(host: &Host) {
    host.put(
        "/etc/systemd/system/greet.socket",
        format!(
            "[Socket]\nListenStream={GREETER}\nAccept=yes\nTriggerLimitBurst=0\n[Install]\nWantedBy=sockets.target\n"
        ),
        0o644,
    );
    host.put(
        "/etc/systemd/system/greet@.service",
        "[Unit]\nCollectMode=inactive-or-failed\n[Service]\nExecStart=cat /etc/hostname\nStandardOutput=socket\n",
        0o644,
    );
    host.run(&["systemctl", "daemon-reload"]);
    host.run(&["systemctl", "enable", "--now", "--quiet", "greet.socket"]);
}

/// The greeting, as the lab hears it.
fn greeting(host: &Host, deadline: Duration) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&SocketAddr::from((host.address(), GREETER)), deadline)?;
    stream.set_read_timeout(Some(deadline))?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text.trim_end().to_owned())
}

/// The greeting, as another host hears it.
fn greeting_at(listener: &Host, host: &Host, deadline: Duration) -> Option<String> {
    let call = format!("cat < /dev/tcp/{}/{GREETER}", host.address());
    let output = listener.exec(&["timeout", &deadline.as_secs_f32().to_string(), "bash", "-c", &call]);
    output.status.success().then(|| String::from_utf8(output.stdout).unwrap().trim_end().to_owned())
}

/// Long enough for an answer, short enough to wait for none.
const SOON: Duration = Duration::from_secs(10);
const BRIEFLY: Duration = Duration::from_secs(1);
