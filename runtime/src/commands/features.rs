//! placeholder
use crate::cli::Globals;
use crate::error::Result;
use std::process::ExitCode;
pub(crate) fn run(_: &Globals) -> Result<ExitCode> {
    Ok(ExitCode::SUCCESS)
}
