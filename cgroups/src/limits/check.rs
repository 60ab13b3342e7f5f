//! Rules that hold on both versions, checked before anything else.

use crate::error::Refusal;
use crate::resources::{BlockIo, Resources};

pub(super) fn check(resources: &Resources) -> Result<(), Refusal> {
    if let Some(swappiness) = swappiness(resources).filter(|value| *value > 100) {
        return Err(Refusal::Swappiness(swappiness));
    }
    if let Some(block_io) = &resources.block_io {
        check_weights(block_io)?;
    }
    for (index, limit) in resources.hugepage_limits.iter().enumerate() {
        if !is_page_size(&limit.page_size) {
            return Err(Refusal::PageSize { index, size: limit.page_size.clone() });
        }
    }
    for (device, limit) in &resources.rdma {
        if limit.hca_handles.is_none() && limit.hca_objects.is_none() {
            return Err(Refusal::EmptyRdma(device.clone()));
        }
        check_word("rdma", device)?;
    }
    for priority in resources.network.iter().flat_map(|network| &network.priorities) {
        check_word("network.priorities", &priority.name)?;
    }
    Ok(())
}

/// -1, that is all bits set, means "as it is" to older callers.
pub(super) fn swappiness(resources: &Resources) -> Option<u64> {
    resources.memory.as_ref()?.swappiness.filter(|value| *value != u64::MAX)
}

fn check_weights(block_io: &BlockIo) -> Result<(), Refusal> {
    check_weight(|| "weight".to_owned(), block_io.weight)?;
    check_weight(|| "leafWeight".to_owned(), block_io.leaf_weight)?;
    for (index, device) in block_io.weight_device.iter().enumerate() {
        check_weight(|| format!("weightDevice[{index}].weight"), device.weight)?;
        check_weight(|| format!("weightDevice[{index}].leafWeight"), device.leaf_weight)?;
    }
    Ok(())
}

/// 0 is "not set".
fn check_weight(field: impl Fn() -> String, weight: Option<u16>) -> Result<(), Refusal> {
    match weight {
        None | Some(0 | 10..=1000) => Ok(()),
        Some(value) => Err(Refusal::Weight { field: field(), value }),
    }
}

/// As `hugetlb_cgroup` names its files: digits, then `KB`, `MB` or `GB`.
fn is_page_size(size: &str) -> bool {
    let digits = ["KB", "MB", "GB"].iter().find_map(|unit| size.strip_suffix(unit));
    digits.is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()))
}

/// The kernel splits these files at spaces and lines: a name with one would write something else.
fn check_word(field: &str, value: &str) -> Result<(), Refusal> {
    if value.is_empty() || value.contains(char::is_whitespace) {
        return Err(Refusal::Words { field: field.to_owned(), value: value.to_owned() });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(json: &str) -> String {
        check(&serde_json::from_str(json).unwrap()).unwrap_err().to_string()
    }

    #[test]
    fn refusals_name_field_value_and_rule() {
        for (json, text) in [
            (
                r#"{"memory":{"swappiness":101}}"#,
                "invalid memory swappiness value: 101 (valid range is 0-100)",
            ),
            (r#"{"blockIO":{"weight":9}}"#, "linux.resources.blockIO.weight: 9 is not in the range 10-1000"),
            (
                r#"{"blockIO":{"weightDevice":[{"major":8,"minor":0,"leafWeight":1001}]}}"#,
                "linux.resources.blockIO.weightDevice[0].leafWeight: 1001 is not in the range 10-1000",
            ),
            (
                r#"{"hugepageLimits":[{"pageSize":"2MB","limit":1},{"pageSize":"../x","limit":1}]}"#,
                "linux.resources.hugepageLimits[1].pageSize: \"../x\" is not a size such as \"2MB\"",
            ),
            (
                r#"{"rdma":{"mlx5":{}}}"#,
                "linux.resources.rdma[\"mlx5\"]: neither hcaHandles nor hcaObjects is given",
            ),
            (
                r#"{"network":{"priorities":[{"name":"a b","priority":1}]}}"#,
                "linux.resources.network.priorities: \"a b\" is empty or holds white space",
            ),
        ] {
            assert_eq!(refused(json), text);
        }
    }

    #[test]
    fn unset_values_pass() {
        let json =
            r#"{"memory":{"swappiness":18446744073709551615},"blockIO":{"weight":0,"leafWeight":null}}"#;
        assert_eq!(check(&serde_json::from_str(json).unwrap()), Ok(()));
    }
}
