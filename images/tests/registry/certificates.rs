//! A certificate authority of a test's own, made by openssl.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

/// A folder with `ca.crt`, and what it has issued.
pub(crate) struct Authority {
    folder: TempDir,
}

/// A certificate and its key.
pub(crate) struct Pair {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        openssl(
            folder.path(),
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout ca.key -out ca.crt -days 2 -subj /CN=authority",
        );
        Self { folder }
    }

    pub(crate) fn certificate(&self) -> PathBuf {
        self.folder.path().join("ca.crt")
    }

    /// `names` as in subjectAltName: `IP:0.0.0.0,DNS:a.b`.
    pub(crate) fn issue(&self, file: &str, names: &str) -> Pair {
        let at = self.folder.path();
        std::fs::write(at.join("extensions"), format!("subjectAltName={names}\n")).unwrap();
        openssl(
            at,
            &format!(
                "req -new -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout {file}.key -out {file}.csr -subj /CN={file}"
            ),
        );
        openssl(
            at,
            &format!(
                "x509 -req -in {file}.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -extfile extensions -out {file}.crt"
            ),
        );
        Pair { certificate: at.join(format!("{file}.crt")), key: at.join(format!("{file}.key")) }
    }
}

fn openssl(at: &Path, arguments: &str) {
    let output = Command::new("openssl")
        .args(arguments.split(' '))
        .current_dir(at)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(output.status.success(), "openssl {arguments}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A folder certs.d with `files` for one registry: name and origin.
pub(crate) fn certs_dir(registry: &str, files: &[(&str, &Path)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let own = folder.path().join(registry);
    std::fs::create_dir(&own).unwrap();
    for (name, origin) in files {
        std::fs::copy(origin, own.join(name)).unwrap();
    }
    folder
}
