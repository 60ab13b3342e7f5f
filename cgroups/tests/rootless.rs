//! Without privileges: each test below `inside` runs as a user who may make no cgroup.

#![allow(clippy::unwrap_used)]

mod world;

use std::process::Command;

#[test]
fn as_a_user_without_any_permission() {
    assert!(rustix::process::geteuid().is_root(), "only root can become somebody else");
    // A copy, since the build directory may be closed to the user.
    let copy = std::env::temp_dir().join(format!("knarr-rootless-{}", std::process::id()));
    std::fs::copy(std::env::current_exe().unwrap(), &copy).unwrap();
    let output = Command::new("setpriv")
        .args(["--reuid", "65534", "--regid", "65534", "--clear-groups", "--inh-caps=-all"])
        .arg(&copy)
        .arg("--ignored")
        .current_dir("/")
        .output()
        .unwrap();
    std::fs::remove_file(&copy).unwrap();
    let text =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
    assert!(text.contains("3 passed"), "{text}");
}

mod inside {
    use knarr_cgroups::{Already, Cgroup, DeviceRules, Hierarchies, Limits, Mode, Request};

    use crate::world::text;

    fn located(cgroups_path: &str) -> Cgroup {
        let id = format!("knarr-rootless-{}", std::process::id());
        let request = Request { id: &id, cgroups_path, rootless: true, ..Request::default() };
        Cgroup::locate(&Hierarchies::discover().unwrap(), &request).unwrap()
    }

    fn limits(json: &str) -> Limits {
        let mode = Hierarchies::discover().unwrap().mode();
        Limits::compile(&serde_json::from_str(json).unwrap(), mode, DeviceRules::Apply).unwrap()
    }

    #[test]
    #[ignore = "run by as_a_user_without_any_permission"]
    fn no_limits_and_no_path_need_no_cgroup() {
        let mut cgroup = located("");
        let limits = limits("{}");
        cgroup.create(&limits).unwrap();
        assert!(cgroup.paths().is_empty(), "{:?}", cgroup.paths());
        cgroup.join(rustix::process::getpid(), Already::Nowhere).unwrap();
        cgroup.apply(&limits).unwrap();
        cgroup.delete().unwrap();
    }

    #[test]
    #[ignore = "run by as_a_user_without_any_permission"]
    fn a_path_that_was_asked_for_must_be_had() {
        let error = text(&located("/knarr-rootless-path").create(&limits("{}")).unwrap_err());
        assert!(error.starts_with("create cgroup /") && error.ends_with(": permission denied"), "{error}");
    }

    #[test]
    #[ignore = "run by as_a_user_without_any_permission"]
    fn limits_that_were_asked_for_must_be_had() {
        let mut cgroup = located("");
        let limits = limits(r#"{"pids":{"limit":5}}"#);
        let error = cgroup.create(&limits).and_then(|()| cgroup.apply(&limits)).unwrap_err();
        let unified = Hierarchies::discover().unwrap().mode() == Mode::Unified;
        let expected = if unified {
            "rootless needs no limits + no cgrouppath when no permission is granted for cgroups: create cgroup "
        } else {
            "cannot set pids limit: container could not join or create cgroup"
        };
        assert!(text(&error).starts_with(expected), "{}", text(&error));
    }
}
