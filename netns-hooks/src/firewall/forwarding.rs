//! Other people's rules in the way of forwarded packets. An accept in our table does not undo a drop in another.
//!
//! A FORWARD chain of iptables that drops by policy (dockerd, ufw) gets a jump at its end to a chain of ours, so that it
//! takes effect where no rule of theirs has decided. What else drops is reported, not changed.

use std::fmt::Write as _;

use super::chains::{self, Gate};
use super::{Table, run};
use crate::bridge::Bridge;
use crate::error::{During, Result};

/// Makes the way, and says what is still in it.
pub(super) fn open(table: &Table, bridges: &[Bridge]) -> Result<Vec<String>> {
    let forward = forward_chain();
    let known = forward.as_deref().is_some_and(|listing| jumps_to(listing, &chain_name(table)));
    let dropping = forward.as_deref().is_some_and(drops_by_policy);
    if known || dropping {
        let act = || format!("accept in the FORWARD chain of iptables what table {table} lets pass");
        let chain = chain_name(table);
        fill(&chain, bridges).during(act)?;
        if !known {
            run("iptables", &["--wait", "--append", "FORWARD", "--jump", &chain], None).during(act)?;
        }
    }
    let gates = chains::forward_gates()?;
    Ok(gates.iter().filter(|gate| !(dropping && gate.is_of_iptables())).filter_map(Gate::warning).collect())
}

/// Takes back what [`open`] has added.
pub(super) fn close(table: &Table) -> Result<()> {
    let chain = chain_name(table);
    if !forward_chain().is_some_and(|listing| jumps_to(&listing, &chain)) {
        return Ok(());
    }
    let act = || format!("remove chain {chain} of iptables");
    for arguments in [
        ["--wait", "--delete", "FORWARD", "--jump", &chain].as_slice(),
        &["--wait", "--flush", &chain],
        &["--wait", "--delete-chain", &chain],
    ] {
        run("iptables", arguments, None).during(act)?;
    }
    Ok(())
}

/// What iptables lists of FORWARD. None where there is no iptables, or none that works here: then nothing of it drops.
fn forward_chain() -> Option<String> {
    run("iptables", &["--wait", "--list-rules", "FORWARD"], None).ok()
}

fn jumps_to(listing: &str, chain: &str) -> bool {
    listing.lines().any(|line| line == format!("-A FORWARD -j {chain}"))
}

fn drops_by_policy(listing: &str) -> bool {
    listing.lines().any(|line| line == "-P FORWARD DROP")
}

fn chain_name(table: &Table) -> String {
    format!("{}-FWD", table.as_str().to_uppercase())
}

/// Replaces the chain in one commit.
fn fill(chain: &str, bridges: &[Bridge]) -> Result<()> {
    run("iptables-restore", &["--wait", "--noflush"], Some(&restore_text(chain, bridges))).map(drop)
}

fn restore_text(chain: &str, bridges: &[Bridge]) -> String {
    let mut text = format!("*filter\n:{chain} - [0:0]\n");
    for bridge in bridges {
        let name = &bridge.name;
        // Writing to a string does not fail.
        let _ = writeln!(text, "-A {chain} -i {name} -j ACCEPT\n-A {chain} -o {name} -j ACCEPT");
    }
    text.push_str("COMMIT\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_is_read_from_a_listing() {
        assert!(drops_by_policy("-P FORWARD DROP\n-A FORWARD -j DOCKER-USER\n"));
        assert!(!drops_by_policy("-P FORWARD ACCEPT\n-A FORWARD -j DROP\n"));
    }
}
