//! Kernel parameters of the container's namespaces (sysctl(8)), written through the private procfs.

/// One parameter, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sysctl {
    /// With dots, for messages.
    pub(crate) name: String,
    /// Its file, relative to /proc/sys.
    pub(crate) path: String,
    pub(crate) value: String,
}

/// stub
pub(crate) fn write(proc: &crate::proc::Proc, sysctl: &Sysctl) -> crate::error::Result<()> {
    Ok(proc.write(&format!("sys/{}", sysctl.path), sysctl.value.as_bytes())?)
}
