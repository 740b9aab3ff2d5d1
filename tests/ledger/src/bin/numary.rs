//! The simulated ledger. Which release it is, its trailer says.

use cutover_ledger_simulator::{command, trailer};

fn main() {
    command::run(trailer::running(), std::env::args().skip(1))
}
