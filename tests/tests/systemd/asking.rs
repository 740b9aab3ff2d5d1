//! As whom a binary is asked about itself.

use crate::node::Node;
use cutover_ledger_simulator::pack;
use cutover_test_hosts::Lab;
use cutover_tests::house::program;

/// Notes who runs it, in which groups, and becomes the release.
const NOTES: &str =
    "#!/bin/sh\necho $(id --user --name) $(id --groups --name) >> /var/lib/asked\nexec /usr/local/lib/numary \"$@\"\n";

/// Puts the script in the release's place, as whoever publishes a release could put anything there.
const PUBLISH: &str = "cd /srv/numary-releases/v1.4.6 && tar --create --gzip --file numary_1.4.6_Linux-64bit.tar.gz \
                       --directory /root/release numary && sha256sum *.tar.gz > checksums_linux.txt";

#[test]
fn a_release_is_asked_about_itself_as_the_units_user_with_all_of_its_groups_and_not_as_root() {
    Lab::run(|lab| {
        let node = Node::new(lab, "1.3.1", "1.4.6");
        let host = &node.host;
        // What `User=` gives a unit's own process as well.
        host.run(&["groupadd", "--system", "ledgerdata"]);
        host.run(&["usermod", "--append", "--groups", "ledgerdata", "ledger"]);
        let release = lab.folder().join("numary-1.4.6");
        pack::install(&program("numary"), "1.4.6", &release).unwrap();
        host.copy_in(&release, "/usr/local/lib/numary");
        host.put("/root/release/numary", NOTES, 0o755);
        host.put("/var/lib/asked", "", 0o666);
        host.run(&["sh", "-c", PUBLISH]);
        let plan = node.voice.plan_when_ready("prod", "1.4.6");
        let asked = host.read("/var/lib/asked");
        assert!(!asked.is_empty() && asked.lines().all(|who| who == "ledger ledger ledgerdata"), "{asked}\n{plan:#?}");
        let left = host.run(&["sh", "-c", "ls -A /opt/cutover/releases"]);
        assert_eq!(left, "", "nothing is left of the questions");
    });
}
