//! Compiles `cutover/v1` without protoc, and keeps the descriptor set for reflection.

use prost::Message as _;
use std::{env, error::Error, fs, path::PathBuf};

const FILES: &[&str] = &["types", "plan", "status", "agent_link", "upgrades", "fleet"];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=cutover");
    let files = FILES.iter().map(|name| format!("cutover/v1/{name}.proto"));
    let descriptors = protox::compile(files, ["."])?;
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("OUT_DIR is not set: this runs under cargo only")?);
    fs::write(out.join("cutover.v1.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure().btree_map(".").bytes(".").compile_fds(descriptors)?;
    Ok(())
}
