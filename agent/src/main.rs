//! `cutover-agent`: the daemon of a host, its worker processes, and the break-glass commands.

fn main() {}
