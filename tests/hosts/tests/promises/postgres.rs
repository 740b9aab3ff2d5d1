//! A server for the hosts of a lab.

use cutover_test_hosts::{Lab, skipped};
use cutover_trial_postgres::{ClusterError, PASSWORD, SUPERUSER, Stop};

#[test]
fn every_host_reaches_the_server_of_its_lab_until_it_is_cut_off() {
    Lab::run(|lab| {
        let server = match lab.postgres("") {
            Ok(server) => server,
            Err(ClusterError::Missing(missing)) => return skipped(&missing.to_string()),
            Err(error) => panic!("{error}"),
        };
        server.sql("postgres", "CREATE TABLE kept(n int)").unwrap();
        let hosts = lab.hosts(2);
        let url = format!("{}?connect_timeout=2", server.url(SUPERUSER, PASSWORD, "postgres"));
        for host in &hosts {
            host.run(&["psql", &url, "-qc", "INSERT INTO kept VALUES (7)"]);
        }
        hosts[0].drop_from(Lab::ADDRESS);
        assert!(!hosts[0].exec(&["psql", &url, "-qc", "SELECT 1"]).status.success(), "it is not cut off");
        hosts[1].run(&["psql", &url, "-qc", "SELECT 1"]);
        hosts[0].heal();
        server.stop(Stop::Immediate).unwrap();
        server.start().unwrap();
        assert_eq!(hosts[0].run(&["psql", &url, "-Atc", "SELECT count(*) FROM kept"]), "2");
    });
}
