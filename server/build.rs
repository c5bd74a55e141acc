//! Builds again when a migration is added: the programs carry them all.

fn main() {
    println!("cargo:rerun-if-changed=../migrations");
}
