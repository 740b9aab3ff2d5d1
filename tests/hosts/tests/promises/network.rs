//! The wire and its faults.

use crate::{BRIEFLY, GREETER, SOON, greeting, greeting_at, install_greeter};
use cutover_test_hosts::{Cable, Host, Lab};
use std::io::{ErrorKind, Read as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};

/// How many of so many datagrams from a host come to the lab. The kernel keeps about 250 until they are read.
fn heard(socket: &UdpSocket, host: &Host, sent: u32) -> u32 {
    let to = socket.local_addr().unwrap();
    let send = format!("exec 3>/dev/udp/{}/{}; for i in {{1..{sent}}}; do echo $i >&3; done; true", to.ip(), to.port());
    host.run(&["bash", "-c", &send]);
    socket.set_read_timeout(Some(BRIEFLY)).unwrap();
    let mut heard = 0;
    while heard < sent && socket.recv(&mut [0; 16]).is_ok() {
        heard += 1;
    }
    heard
}

fn ear() -> UdpSocket {
    UdpSocket::bind((Lab::ADDRESS, 0)).unwrap()
}

#[test]
fn hosts_and_the_lab_reach_each_other_and_nothing_else() {
    Lab::run(|lab| {
        let hosts = lab.hosts(2);
        hosts.iter().for_each(install_greeter);
        assert_eq!(greeting(&hosts[0], SOON).unwrap(), "h1");
        assert_eq!(greeting_at(&hosts[1], &hosts[0], SOON).as_deref(), Some("h1"));
        assert_eq!(greeting_at(&hosts[0], &hosts[1], SOON).as_deref(), Some("h2"));
        assert_eq!(heard(&ear(), &hosts[0], 10), 10);
        let mut by_name = String::new();
        TcpStream::connect(("h2", GREETER)).unwrap().read_to_string(&mut by_name).unwrap();
        assert_eq!(by_name, "h2\n");
        assert!(hosts[1].run(&["getent", "hosts", "h1", "lab"]).starts_with("10.77.0.1 "), "hosts have names");
        let outside = TcpStream::connect((Ipv4Addr::new(192, 0, 2, 1), 80)).unwrap_err();
        assert_eq!(outside.kind(), ErrorKind::NetworkUnreachable);
        assert!(hosts[0].run(&["ip", "route"]).lines().all(|route| route.starts_with("10.77.0.0/16 ")));
    });
}

#[test]
fn a_pulled_cable_cuts_a_host_off_until_it_is_in_again() {
    Lab::run(|lab| {
        let hosts = lab.hosts(2);
        install_greeter(&hosts[0]);
        assert_eq!(greeting(&hosts[0], SOON).unwrap(), "h1");
        hosts[0].cable(Cable::Out);
        assert!(greeting(&hosts[0], BRIEFLY).is_err());
        assert_eq!(greeting_at(&hosts[1], &hosts[0], BRIEFLY), None);
        assert_eq!(hosts[0].run(&["hostname"]), "h1", "it runs on");
        hosts[0].cable(Cable::In);
        assert_eq!(greeting(&hosts[0], SOON).unwrap(), "h1");
    });
}

#[test]
fn a_partition_in_one_direction_lets_the_other_through() {
    Lab::run(|lab| {
        let hosts = lab.hosts(3);
        hosts.iter().for_each(install_greeter);
        hosts[0].drop_from(Lab::ADDRESS);
        assert!(greeting(&hosts[0], BRIEFLY).is_err(), "it hears the lab");
        assert_eq!(heard(&ear(), &hosts[0], 10), 10, "the lab does not hear it");
        assert_eq!(greeting_at(&hosts[1], &hosts[0], SOON).as_deref(), Some("h1"), "another host is cut off too");
        hosts[0].drop_from(hosts[1].address());
        assert_eq!(greeting_at(&hosts[1], &hosts[0], BRIEFLY), None);
        assert_eq!(greeting_at(&hosts[2], &hosts[0], SOON).as_deref(), Some("h1"));
        hosts[0].drop_all();
        assert_eq!(greeting_at(&hosts[2], &hosts[0], BRIEFLY), None);
        let within = hosts[0].run(&["bash", "-c", &format!("cat < /dev/tcp/127.0.0.1/{GREETER}")]);
        assert_eq!(within, "h1", "it is deaf to itself");
        hosts[0].reboot();
        hosts[0].wait_running();
        assert_eq!(greeting_at(&hosts[2], &hosts[0], BRIEFLY), None, "the fault is the network's, not the boot's");
        hosts[0].heal();
        assert_eq!(greeting(&hosts[0], SOON).unwrap(), "h1");
    });
}

#[test]
fn a_refused_port_refuses_and_ends_what_is_open() {
    Lab::run(|lab| {
        let host = &lab.hosts(1)[0];
        install_greeter(host);
        // A service that says nothing until it is told something.
        host.put(
            "/etc/systemd/system/greet@.service.d/slow.conf",
            "[Service]\nExecStart=\nExecStart=cat\nStandardInput=socket\n",
            0o644,
        );
        host.run(&["systemctl", "daemon-reload"]);
        let mut open = TcpStream::connect_timeout(&SocketAddr::from((host.address(), GREETER)), SOON).unwrap();
        open.set_read_timeout(Some(SOON)).unwrap();
        host.refuse(GREETER);
        assert_eq!(greeting(host, SOON).unwrap_err().kind(), ErrorKind::ConnectionRefused);
        std::io::Write::write_all(&mut open, b"hello\n").unwrap();
        assert_eq!(open.read(&mut [0; 8]).unwrap_err().kind(), ErrorKind::ConnectionReset);
        host.heal();
        assert!(TcpStream::connect_timeout(&SocketAddr::from((host.address(), GREETER)), SOON).is_ok());
    });
}

#[test]
fn a_lossy_wire_loses_its_share_and_tcp_gets_through() {
    Lab::run(|lab| {
        let host = &lab.hosts(1)[0];
        install_greeter(host);
        let ear = ear();
        host.loss(50);
        let through = heard(&ear, host, 200);
        assert!((60..140).contains(&through), "half of 200 is not {through}");
        host.heal();
        assert_eq!(heard(&ear, host, 200), 200);
        host.loss(10);
        assert_eq!(greeting(host, SOON * 6).unwrap(), "h1");
        host.loss(100);
        assert!(greeting(host, BRIEFLY).is_err());
    });
}
