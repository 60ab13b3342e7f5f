//! The nf_tables dialect of netlink (linux/netfilter/nf_tables.h): its numbers, and transactions.

use super::Table;
use crate::netlink::{Message, NLM_F_ACK};

const NFNL_SUBSYS_NFTABLES: u16 = 10;
const NFNL_MSG_BATCH_BEGIN: u16 = 0x10;
const NFNL_MSG_BATCH_END: u16 = 0x11;

pub(super) const NFT_MSG_DELTABLE: u16 = 2;
pub(super) const NFT_MSG_NEWCHAIN: u16 = 3;
pub(super) const NFT_MSG_GETCHAIN: u16 = 4;
pub(super) const NFT_MSG_NEWSETELEM: u16 = 12;
pub(super) const NFT_MSG_GETSETELEM: u16 = 13;
pub(super) const NFT_MSG_DELSETELEM: u16 = 14;

pub(super) const NFTA_TABLE_NAME: u16 = 1;
pub(super) const NFTA_CHAIN_TABLE: u16 = 1;
pub(super) const NFTA_CHAIN_NAME: u16 = 3;
pub(super) const NFTA_CHAIN_HOOK: u16 = 4;
pub(super) const NFTA_CHAIN_POLICY: u16 = 5;
pub(super) const NFTA_HOOK_HOOKNUM: u16 = 1;
pub(super) const NFTA_SET_ELEM_LIST_TABLE: u16 = 1;
pub(super) const NFTA_SET_ELEM_LIST_SET: u16 = 2;
pub(super) const NFTA_SET_ELEM_LIST_ELEMENTS: u16 = 3;
pub(super) const NFTA_LIST_ELEM: u16 = 1;
pub(super) const NFTA_SET_ELEM_KEY: u16 = 1;
pub(super) const NFTA_SET_ELEM_DATA: u16 = 2;
pub(super) const NFTA_DATA_VALUE: u16 = 1;

pub(super) const NFPROTO_IPV4: u8 = 2;
/// Size of struct nfgenmsg.
pub(super) const HEADER: usize = 4;

pub(super) fn message(family: u8, act: u16, flags: u16, call: String) -> Message {
    Message::new(NFNL_SUBSYS_NFTABLES << 8 | act, flags, &[family, 0, 0, 0], call)
}

/// The brackets around messages that take effect together or not at all. Their header names the subsystem in network byte
/// order, and they ask for no answer.
pub(super) fn transaction(messages: Vec<Message>) -> Vec<Message> {
    let [high, low] = NFNL_SUBSYS_NFTABLES.to_be_bytes();
    let bracket = |kind| Message::new(kind, 0, &[0, 0, high, low], "nf_tables transaction");
    let mut whole = vec![bracket(NFNL_MSG_BATCH_BEGIN)];
    whole.extend(messages);
    whole.push(bracket(NFNL_MSG_BATCH_END));
    whole
}

/// The transaction that deletes a table.
pub(super) fn delete_table(table: &Table) -> Vec<Message> {
    let call = format!("NFT_MSG_DELTABLE({table})");
    transaction(vec![
        message(NFPROTO_IPV4, NFT_MSG_DELTABLE, NLM_F_ACK, call).text(NFTA_TABLE_NAME, table.as_str()),
    ])
}
