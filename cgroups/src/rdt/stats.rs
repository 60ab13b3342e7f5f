//! What a group may use and has used, in the shape of `intel_rdt` in runc's events. What the hardware does not have is
//! left out.

use std::path::Path;

use serde::Serialize;

use crate::dir::Dir;
use crate::error::{Error, Result};
use crate::rdt::ResctrlGroup;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RdtStats {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub l3_cache_info: Option<L3CacheInfo>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub l3_cache_schema_root: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub l3_cache_schema: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mem_bw_info: Option<MemoryBandwidthInfo>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub mem_bw_schema_root: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub mem_bw_schema: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub schemata: Vec<String>,
    /// One entry a cache, as the next one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mbm_stats: Option<Vec<MemoryBandwidth>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cmt_stats: Option<Vec<L3Occupancy>>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct L3CacheInfo {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub cbm_mask: String,
    pub min_cbm_bits: u64,
    pub num_closids: u64,
}

/// Percents.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct MemoryBandwidthInfo {
    pub bandwidth_gran: u64,
    pub delay_linear: u64,
    pub min_bandwidth: u64,
    pub num_closids: u64,
}

/// Bytes since the group was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct MemoryBandwidth {
    pub mbm_total_bytes: u64,
    pub mbm_local_bytes: u64,
}

/// Bytes in the cache now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct L3Occupancy {
    pub llc_occupancy: u64,
}

impl ResctrlGroup {
    /// Reads all statistics. Without a monitoring group of its own they are those of the whole group.
    ///
    /// # Errors
    /// A file that is there but cannot be read or understood.
    pub fn stats(&self) -> Result<RdtStats> {
        let (root, own) = (schemata(&self.root)?, schemata(&self.path)?);
        let line = |lines: &[String], kind: &str| {
            lines.iter().rfind(|line| line.contains(kind)).cloned().unwrap_or_default()
        };
        let mut stats = RdtStats::default();
        if let Some(dir) = open(&self.root.join("info/L3"))? {
            stats.l3_cache_info = Some(L3CacheInfo {
                cbm_mask: dir.read("cbm_mask")?.trim().to_owned(),
                min_cbm_bits: number(&dir, "min_cbm_bits")?,
                num_closids: number(&dir, "num_closids")?,
            });
            (stats.l3_cache_schema_root, stats.l3_cache_schema) = (line(&root, "L3"), line(&own, "L3"));
        }
        if let Some(dir) = open(&self.root.join("info/MB"))? {
            stats.mem_bw_info = Some(MemoryBandwidthInfo {
                bandwidth_gran: number(&dir, "bandwidth_gran")?,
                delay_linear: number(&dir, "delay_linear")?,
                min_bandwidth: number(&dir, "min_bandwidth")?,
                num_closids: number(&dir, "num_closids")?,
            });
            (stats.mem_bw_schema_root, stats.mem_bw_schema) = (line(&root, "MB"), line(&own, "MB"));
        }
        stats.schemata = own;
        self.add_monitoring(&mut stats)?;
        Ok(stats)
    }

    fn add_monitoring(&self, stats: &mut RdtStats) -> Result<()> {
        let Some(dir) = open(&self.root.join("info/L3_MON"))? else { return Ok(()) };
        let features = dir.read("mon_features")?;
        let has = |feature: &str| features.lines().any(|line| line == feature);
        let (total, local) = (has("mbm_total_bytes"), has("mbm_local_bytes"));
        let (mut bandwidths, mut occupancies) = (Vec::new(), Vec::new());
        let count = |dir: &Dir, file: &str, there: bool| if there { number(dir, file) } else { Ok(0) };
        let monitored = self.monitoring_path().unwrap_or(self.path()).join("mon_data");
        for cache in Dir::open(&monitored)?.subdirectories()? {
            let dir = Dir::open(&cache)?;
            let mbm_total_bytes = count(&dir, "mbm_total_bytes", total)?;
            bandwidths.push(MemoryBandwidth {
                mbm_total_bytes,
                mbm_local_bytes: count(&dir, "mbm_local_bytes", local)?,
            });
            occupancies
                .push(L3Occupancy { llc_occupancy: count(&dir, "llc_occupancy", has("llc_occupancy"))? });
        }
        stats.mbm_stats = (total || local).then_some(bandwidths);
        stats.cmt_stats = has("llc_occupancy").then_some(occupancies);
        Ok(())
    }
}

fn schemata(path: &Path) -> Result<Vec<String>> {
    Ok(Dir::open(path)?.read("schemata")?.lines().map(|line| line.trim().to_owned()).collect())
}

fn open(path: &Path) -> Result<Option<Dir>> {
    match Dir::open(path) {
        Err(error) if error.is_absent() => Ok(None),
        result => result.map(Some),
    }
}

fn number(dir: &Dir, file: &str) -> Result<u64> {
    let text = dir.read(file)?;
    let malformed = |_| Error::Malformed { file: dir.path().join(file), line: text.trim().to_owned() };
    text.trim().parse().map_err(malformed)
}
