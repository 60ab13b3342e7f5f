//! `knarr`, an OCI runtime.
fn main() {}
