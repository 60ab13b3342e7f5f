//! Chains of other tables at the forward hook, as nf_tables lists them.

use super::nf_tables::{HEADER, NFTA_CHAIN_TABLE, NFTA_HOOK_HOOKNUM, message};
use super::nf_tables::{
    NFT_MSG_GETCHAIN, NFT_MSG_NEWCHAIN, NFTA_CHAIN_HOOK, NFTA_CHAIN_NAME, NFTA_CHAIN_POLICY,
};
use crate::error::Result;
use crate::netlink::{NLM_F_DUMP, Socket, attribute, to_text};

const NFPROTO_UNSPEC: u8 = 0;
const NFPROTO_INET: u8 = 1;
const NFPROTO_IPV4: u8 = 2;
const NF_INET_FORWARD: u32 = 2;
const NF_DROP: u32 = 0;

/// A chain that forwarded IPv4 packets go through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Gate {
    family: u8,
    table: String,
    chain: String,
    drops: bool,
}

impl Gate {
    /// The chain that `iptables` of the nf_tables kind calls FORWARD.
    pub(super) fn is_of_iptables(&self) -> bool {
        (self.family, self.table.as_str(), self.chain.as_str()) == (NFPROTO_IPV4, "filter", "FORWARD")
    }

    /// What an administrator should know about it.
    pub(super) fn warning(&self) -> Option<String> {
        let Self { table, chain, .. } = self;
        if table == "firewalld" {
            return Some("firewalld rejects forwarded packets of bridges that are in none of its zones: add them to zone trusted".into());
        }
        let family = if self.family == NFPROTO_INET { "inet" } else { "ip" };
        let text = format!(
            "chain {chain} of nftables table {family} {table} drops forwarded packets by policy: accept those of the bridges there"
        );
        self.drops.then_some(text)
    }
}

/// All of them, ours included.
pub(super) fn forward_gates() -> Result<Vec<Gate>> {
    let request = message(NFPROTO_UNSPEC, NFT_MSG_GETCHAIN, NLM_F_DUMP, "NFT_MSG_GETCHAIN".to_owned());
    let mut gates = Vec::new();
    Socket::netfilter()?.ask(&request, |answer| {
        if answer.kind & 0xff == NFT_MSG_NEWCHAIN {
            gates.extend(gate(answer.body));
        }
    })?;
    Ok(gates)
}

fn gate(body: &[u8]) -> Option<Gate> {
    let family = *body.first()?;
    let fields = body.get(HEADER..)?;
    let hook = attribute(fields, NFTA_CHAIN_HOOK)?;
    let forwards = number(attribute(hook, NFTA_HOOK_HOOKNUM)?)? == NF_INET_FORWARD;
    if !forwards || !matches!(family, NFPROTO_INET | NFPROTO_IPV4) {
        return None;
    }
    Some(Gate {
        family,
        table: to_text(attribute(fields, NFTA_CHAIN_TABLE)?),
        chain: to_text(attribute(fields, NFTA_CHAIN_NAME)?),
        drops: attribute(fields, NFTA_CHAIN_POLICY).and_then(number) == Some(NF_DROP),
    })
}

fn number(value: &[u8]) -> Option<u32> {
    value.try_into().ok().map(u32::from_be_bytes)
}
