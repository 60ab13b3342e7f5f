//! Chain IDs: a layer together with all below it (image-spec config.md, "Layer ChainID").

use crate::Digest;

/// The chain ID of each layer; both lists begin with the lowest.
pub fn ids(diff_ids: impl IntoIterator<Item = Digest>) -> Vec<Digest> {
    let mut chains: Vec<Digest> = Vec::new();
    for diff_id in diff_ids {
        let chain = match chains.last() {
            None => diff_id,
            Some(below) => Digest::of(format!("{below} {diff_id}").as_bytes()),
        };
        chains.push(chain);
    }
    chains
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_is_the_digest_of_two_digests_as_text() {
        let (low, high) = (Digest::of(b"low"), Digest::of(b"high"));
        let both = Digest::of(format!("{low} {high}").as_bytes());
        assert_eq!(ids([low, high]), [low, both]);
        assert_eq!(ids([low, high, low])[2], Digest::of(format!("{both} {low}").as_bytes()));
        assert_eq!(ids([]), []);
    }
}
