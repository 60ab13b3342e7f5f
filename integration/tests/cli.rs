//! The command line as clients of runc use it: flags, formats, logs, versions.
#![allow(clippy::expect_used)] // a test ends where an expectation fails

use std::fs;
use std::process::Command;

use knarr_integration::leftovers::MARK;
use knarr_integration::{Answer, Value, World, cases, json};

/// The runtime with these arguments alone.
fn bare(world: &World, args: &[&str]) -> Answer {
    let mut command = world.bare_command();
    command.args(args);
    world.finish(command)
}

/// The runtime under another name.
fn named(world: &World, name: &str, args: &[&str]) -> Answer {
    let link = world.dir.join(name);
    if !link.exists() {
        std::os::unix::fs::symlink(world.program(), &link).expect("a link");
    }
    let mut command = Command::new(link);
    command.args(args).current_dir(world.bundle()).env_clear().env(MARK, &world.id);
    world.finish(command)
}

/// The names of a JSON object in the order of the text: parsing would sort them.
fn keys_in_order(text: &str, indent: &str) -> Vec<String> {
    let prefix = format!("{indent}\"");
    let names = text.lines().filter_map(|line| line.strip_prefix(&prefix));
    names.filter_map(|rest| rest.split_once("\":")).map(|(name, _)| name.to_owned()).collect()
}

#[track_caller]
fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("not JSON: {error}: {text}"))
}

/// RFC 3339 in UTC: `2026-01-02T03:04:05.678Z`.
#[track_caller]
fn assert_time(text: &str) {
    let shape: String = text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    assert!(shape.starts_with("0000-00-00T00:00:00") && shape.ends_with('Z'), "{text}");
}

cases! {
    everywhere fn version(world) {
        for flag in ["--version", "-v"] {
            let answer = bare(world, &[flag]).assert_ok();
            let first = answer.out.lines().next().expect("a line").to_owned();
            assert!(first.starts_with(&format!("{} version ", world.runtime.name())), "{first}");
            assert!(answer.out.lines().any(|line| line.starts_with("spec: 1.")), "{answer}");
            assert!(answer.out.lines().any(|line| line.starts_with("commit: ")), "{answer}");
        }
    }

    knarr("it is about a name for ours") fn version_under_another_name(world) {
        let answer = named(world, "runc", &["--version"]).assert_ok();
        assert!(answer.out.starts_with("runc version 1."), "{answer}");
        for start in ["commit: ", "spec: 1."] {
            assert!(answer.out.lines().any(|line| line.starts_with(start)), "{start}: {answer}");
        }
    }

    knarr("it is about a name for ours") fn version_under_a_third_name(world) {
        let answer = named(world, "crun", &["--version"]).assert_ok();
        assert!(answer.out.starts_with("crun version 1."), "{answer}");
        for start in ["commit: ", "rundir: ", "spec: 1."] {
            assert!(answer.out.lines().any(|line| line.starts_with(start)), "{start}: {answer}");
        }
        assert!(answer.out.lines().any(|line| line.starts_with('+')), "{answer}");
    }

    everywhere fn help(world) {
        for args in [&["--help"][..], &["-h"], &["help"]] {
            let answer = bare(world, args).assert_ok();
            assert!(answer.out.starts_with("NAME:\n"), "{answer}");
            assert!(answer.out.contains("- Open Container Initiative runtime"), "{answer}");
        }
    }

    everywhere fn help_of_each_command(world) {
        for name in ["create", "start", "run", "exec", "state", "kill", "delete", "list", "ps", "pause", "resume",
            "spec", "features"] {
            if world.is_runc() && name == "features" {
                continue; // newer
            }
            let answer = bare(world, &[name, "--help"]).assert_ok();
            assert!(answer.out.starts_with("NAME:\n"), "{answer}");
            assert!(answer.out.contains(&format!(" {name} - ")), "{answer}");
        }
    }

    everywhere fn an_unknown_command_fails(world) {
        bare(world, &["conjure"]).assert_fails_with("No help topic for 'conjure'");
    }

    everywhere fn an_unknown_flag_fails(world) {
        let answer = bare(world, &["list", "--no-such-flag"]);
        assert!(!answer.status.success(), "{answer}");
        assert!(format!("{}{}", answer.out, answer.err).contains("no-such-flag"), "{answer}");
    }

    everywhere fn a_wrong_number_of_arguments(world) {
        for name in ["create", "start", "state", "delete", "pause", "resume", "run"] {
            let answer = world.call(&[name]).assert_code(1);
            let text = format!("\"{name}\" requires exactly 1 argument(s)");
            assert!(answer.said().contains(&text), "{answer}");
            assert!(answer.out.starts_with("Incorrect Usage.\n\nNAME:"), "{answer}");
        }
        let answer = world.call(&["kill"]);
        assert!(answer.said().contains("requires a minimum of 1 argument(s)"), "{answer}");
    }

    everywhere fn flags_in_all_their_forms(world) {
        world.probe(&["exit", "0"]).write_config();
        let bundle = world.bundle().to_str().expect("utf-8").to_owned();
        let with_equals = format!("--bundle={bundle}");
        let single_dash = format!("-bundle={bundle}");
        let forms: [&[&str]; 5] = [
            &["--bundle", &bundle], &[&with_equals], &["-b", &bundle], &["-bundle", &bundle], &[&single_dash],
        ];
        for form in forms {
            let mut command = world.command(&[&["run"], form, &[world.id.as_str()]].concat());
            command.current_dir("/");
            world.finish(command).assert_ok();
        }
    }

    everywhere fn booleans_take_values(world) {
        world.probe(&["block", "wait"]).write_config();
        world.call(&["run", "--detach=true", &world.id]).assert_ok();
        world.delete_force().assert_ok();
        world.probe(&["exit", "9"]).write_config();
        world.call(&["run", "--detach=false", &world.id]).assert_code(9);
    }

    everywhere fn the_root_may_not_be_slash(world) {
        let answer = bare(world, &["--root", "/", "list"]);
        if world.is_runc() && answer.status.success() {
            return; // newer
        }
        answer.assert_fails_with("Option --root argument should not be set to /");
    }

    everywhere fn a_relative_root(world) {
        world.probe(&["exit", "0"]).write_config();
        let mut command = world.bare_command();
        command.args(["--root", "../relative-state", "run", &world.id]);
        world.finish(command).assert_ok();
        assert!(world.dir.join("relative-state").is_dir());
    }

    everywhere fn the_state_directory_is_private(world) {
        use std::os::unix::fs::PermissionsExt;
        world.create().assert_ok();
        let mode = |path: &std::path::Path| fs::metadata(path).expect("a directory").permissions().mode() & 0o777;
        assert_eq!(mode(&world.root()), 0o700);
        assert_eq!(mode(&world.state_dir()) & 0o066, 0);
        assert!(world.state_dir().join("state.json").is_file());
        assert!(world.state_dir().join("exec.fifo").exists());
        world.start().assert_ok();
        assert!(!world.state_dir().join("exec.fifo").exists());
    }

    everywhere fn the_state_file_is_in_the_known_shape(world) {
        world.set("/annotations", json!({"org.example.key": "value"})).up_waiting();
        let state = parsed(&fs::read_to_string(world.state_dir().join("state.json")).expect("state.json"));
        assert_eq!(state["id"], world.id.as_str());
        assert_eq!(state["init_process_pid"], world.pid());
        let stat = fs::read_to_string(format!("/proc/{}/stat", world.pid())).expect("its stat");
        let start: u64 = stat.rsplit(')').next().expect("fields").split_whitespace().nth(19).expect("a field")
            .parse().expect("a number");
        assert_eq!(state["init_process_start"], start);
        assert_time(state["created"].as_str().expect("a time"));
        let namespaces = state["namespace_paths"].as_object().expect("namespaces");
        assert_eq!(namespaces["NEWNET"], format!("/proc/{}/ns/net", world.pid()));
        let paths = state["cgroup_paths"].as_object().expect("cgroups");
        assert!(paths.values().all(|path| path.as_str().is_some_and(|p| p.ends_with(&world.cgroup))), "{paths:?}");
        let config = &state["config"];
        assert_eq!(config["rootfs"], world.rootfs().canonicalize().expect("rootfs").to_str().expect("utf-8"));
        let labels = config["labels"].to_string();
        assert!(labels.contains("org.example.key=value") && labels.contains("bundle="), "{labels}");
    }

    everywhere fn state_is_what_clients_parse(world) {
        world.set("/annotations", json!({"org.example.key": "value"})).up_waiting();
        let answer = world.call(&["state", &world.id]).assert_ok();
        assert!(answer.out.starts_with("{\n  \"ociVersion\": \""), "{answer}");
        assert!(answer.out.ends_with('}'), "no newline at the end: {:?}", answer.out);
        let order = ["ociVersion", "id", "pid", "status", "bundle", "rootfs", "created", "annotations", "owner"];
        assert_eq!(keys_in_order(&answer.out, "  "), order);
        let state = parsed(&answer.out);
        assert_eq!(state["bundle"], world.bundle().canonicalize().expect("a path").to_str().expect("utf-8"));
        assert_eq!(state["rootfs"], world.rootfs().canonicalize().expect("a path").to_str().expect("utf-8"));
        assert_eq!(state["annotations"], json!({"org.example.key": "value"}));
        assert_eq!(state["owner"], "");
        assert_time(state["created"].as_str().expect("a time"));
    }

    everywhere fn state_without_annotations_has_no_such_field(world) {
        world.up_waiting();
        assert_eq!(world.state().get("annotations"), None);
    }

    everywhere fn list_as_a_table(world) {
        world.up_waiting();
        let answer = world.call(&["list"]).assert_ok();
        let mut lines = answer.out.lines();
        let header: Vec<&str> = lines.next().expect("a header").split_whitespace().collect();
        assert_eq!(header, ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"]);
        let row: Vec<&str> = lines.next().expect("a row").split_whitespace().collect();
        let pid = world.pid().to_string();
        let bundle = world.bundle().canonicalize().expect("a path");
        assert_eq!(row[..4], [world.id.as_str(), &pid, "running", bundle.to_str().expect("utf-8")]);
        assert_time(row[4]);
        assert_eq!(row[5], "root");
        assert_eq!(lines.next(), None);
        // Columns are aligned: tabwriter with minwidth 12, padding 3.
        let pid_column = answer.out.lines().next().and_then(|line| line.find("PID"));
        assert_eq!(pid_column, Some((world.id.len() + 3).max(12)));
    }

    everywhere fn list_quietly(world) {
        world.up_waiting();
        for flag in ["-q", "--quiet"] {
            assert_eq!(world.call(&["list", flag]).assert_ok().out, format!("{}\n", world.id));
        }
    }

    everywhere fn list_as_json(world) {
        world.up_waiting();
        let answer = world.call(&["list", "--format", "json"]).assert_ok();
        assert_eq!(answer.out.lines().count(), 1, "{answer}");
        let list = parsed(&answer.out);
        assert_eq!(list[0]["id"], world.id.as_str());
        assert_eq!(list[0]["status"], "running");
        assert_eq!(list[0]["pid"], world.pid());
        assert_eq!(list[0]["owner"], "root");
    }

    everywhere fn list_of_nothing(world) {
        fs::create_dir(world.root()).expect("a state root");
        assert_eq!(world.call(&["list", "-f", "json"]).assert_ok().out, "null\n");
        assert_eq!(world.call(&["list", "-q"]).assert_ok().out, "");
        assert_eq!(world.call(&["list"]).assert_ok().out.trim_end(),
            "ID          PID         STATUS      BUNDLE      CREATED     OWNER");
    }

    everywhere fn list_in_an_unknown_format_fails(world) {
        world.call(&["list", "--format", "xml"]).assert_fails_with("invalid format option");
    }

    everywhere fn list_goes_on_past_a_broken_state(world) {
        world.up_waiting();
        fs::create_dir(world.root().join("broken")).expect("a directory");
        let answer = world.call(&["list", "-q"]).assert_ok();
        assert!(answer.out.contains(&world.id), "{answer}");
        let answer = world.call(&["list"]).assert_ok();
        assert!(answer.out.contains(&world.id) && answer.err.contains("load container broken"), "{answer}");
    }

    everywhere fn list_shows_stopped_containers(world) {
        world.up_waiting();
        world.stop();
        let list = parsed(&world.call(&["list", "-f", "json"]).assert_ok().out);
        assert_eq!((&list[0]["status"], &list[0]["pid"]), (&json!("stopped"), &json!(0)));
    }

    everywhere fn ps_as_a_table(world) {
        world.up_waiting();
        let answer = world.call(&["ps", &world.id]).assert_ok();
        let mut lines = answer.out.lines();
        assert!(lines.next().expect("a header").split_whitespace().any(|word| word == "PID"), "{answer}");
        let row = lines.next().expect("a row");
        assert!(row.contains(&world.pid().to_string()) && row.contains("/bin/probe"), "{answer}");
        assert_eq!(lines.next(), None);
    }

    everywhere fn ps_with_options_of_ps(world) {
        world.up_waiting();
        let answer = world.call(&["ps", &world.id, "-o", "pid,comm"]).assert_ok();
        let words: Vec<&str> = answer.out.split_whitespace().collect();
        let pid = world.pid().to_string();
        assert_eq!(words, ["PID", "COMMAND", pid.as_str(), "probe"]);
    }

    everywhere fn ps_as_json(world) {
        world.up_waiting();
        let answer = world.call(&["ps", "--format", "json", &world.id]).assert_ok();
        assert_eq!(answer.out, format!("[{}]\n", world.pid()));
    }

    everywhere fn ps_sees_processes_of_exec(world) {
        world.up_waiting();
        let exec = world.begin(world.command(&["exec", &world.id, "/bin/probe", "echo", "ready", "wait"]));
        exec.wait_for("ready");
        let list = parsed(&world.call(&["ps", "-f", "json", &world.id]).assert_ok().out);
        assert_eq!(list.as_array().map(Vec::len), Some(2));
    }

    everywhere fn ps_of_an_unknown_container_fails(world) {
        world.call(&["ps", &world.id]).assert_fails_with("container does not exist");
    }

    everywhere fn spec(world) {
        bare(world, &["spec"]).assert_ok();
        let text = fs::read_to_string(world.bundle().join("config.json")).expect("config.json");
        assert!(text.starts_with("{\n\t\"ociVersion\": \"1."), "indented by tabs");
        let order = ["ociVersion", "process", "root", "hostname", "mounts", "linux"];
        assert_eq!(keys_in_order(&text, "\t"), order);
        let config = parsed(&text);
        assert_eq!(config["process"]["args"], json!(["sh"]));
        assert_eq!(config["process"]["terminal"], true);
        assert_eq!(config["process"]["noNewPrivileges"], true);
        assert_eq!(config["root"], json!({"path": "rootfs", "readonly": true}));
        assert_eq!(config["mounts"].as_array().map(Vec::len), Some(7));
        let caps = json!(["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]);
        assert_eq!(config["process"]["capabilities"]["bounding"], caps);
        let kinds: Vec<&str> = config["linux"]["namespaces"].as_array().expect("namespaces").iter()
            .filter_map(|entry| entry["type"].as_str()).collect();
        let cgroup: &[&str] = if world.is_v1() { &[] } else { &["cgroup"] };
        assert_eq!(kinds, [&["pid", "network", "ipc", "uts", "mount"], cgroup].concat());
        assert_eq!(config["linux"]["maskedPaths"].as_array().map(|list| list.len() >= 9), Some(true));
    }

    everywhere fn spec_does_not_overwrite(world) {
        fs::write(world.bundle().join("config.json"), "mine").expect("a config");
        bare(world, &["spec"]).assert_fails_with("File config.json exists. Remove it first");
        assert_eq!(fs::read_to_string(world.bundle().join("config.json")).expect("a config"), "mine");
    }

    everywhere fn spec_for_another_bundle(world) {
        let other = world.folder("other");
        bare(world, &["spec", "--bundle", other.to_str().expect("utf-8")]).assert_ok();
        assert!(other.join("config.json").is_file());
        assert!(!world.bundle().join("config.json").exists());
    }

    everywhere fn spec_rootless(world) {
        bare(world, &["spec", "--rootless"]).assert_ok();
        let config = parsed(&fs::read_to_string(world.bundle().join("config.json")).expect("config.json"));
        let kinds = config["linux"]["namespaces"].to_string();
        assert!(kinds.contains("user") && !kinds.contains("network"), "{kinds}");
        assert_eq!(config["linux"]["uidMappings"], json!([{"containerID": 0, "hostID": 0, "size": 1}]));
        assert_eq!(config["linux"]["resources"], json!(null));
        let sys = config["mounts"].as_array().expect("mounts").iter().find(|m| m["destination"] == "/sys").cloned();
        assert_eq!(sys.expect("/sys")["options"], json!(["rbind", "nosuid", "noexec", "nodev", "ro"]));
        assert!(!config["mounts"].to_string().contains("gid=5"));
    }

    knarr("runc 1.1 has no features") fn features(world) {
        let answer = bare(world, &["features"]).assert_ok();
        assert!(answer.out.starts_with("{\n    \"ociVersionMin\": \"1.0.0\",\n    \"ociVersionMax\": \"1.3.0\""), "{answer}");
        let features = parsed(&answer.out);
        assert_eq!(features["hooks"].as_array().map(Vec::len), Some(6));
        let options = features["mountOptions"].as_array().expect("options");
        let mut sorted: Vec<&str> = options.iter().filter_map(Value::as_str).collect();
        sorted.sort_unstable();
        assert_eq!(json!(sorted), features["mountOptions"], "sorted");
        for option in ["ro", "rro", "tmpcopyup", "rbind", "runbindable", "nosymfollow"] {
            assert!(sorted.contains(&option), "{option}");
        }
        let linux = &features["linux"];
        assert_eq!(linux["namespaces"].as_array().map(Vec::len), Some(8));
        assert!(linux["capabilities"].to_string().contains("CAP_CHECKPOINT_RESTORE"));
        assert_eq!(linux["mountExtensions"]["idmap"]["enabled"], true);
        assert_eq!(linux["cgroup"]["v1"], true);
        assert_eq!(linux["cgroup"]["v2"], true);
        assert!(linux["seccomp"]["enabled"].is_boolean());
        assert!(features["potentiallyUnsafeConfigAnnotations"].is_array());
    }

    everywhere fn the_log_as_json(world) {
        let log = world.dir.join("log.json");
        let mut command = world.bare_command();
        command.arg("--log").arg(&log).args(["--log-format", "json", "--root"]).arg(world.root());
        command.args(["create", &world.id]);
        let answer = world.finish(command).assert_fails_with("config.json not found");
        let text = fs::read_to_string(&log).expect("a log");
        let lines: Vec<Value> = text.lines().map(parsed).collect();
        let errors: Vec<&Value> = lines.iter().filter(|line| line["level"] == "error").collect();
        assert_eq!(errors.len(), 1, "{text}");
        assert_eq!(errors[0]["msg"], "runc create failed: JSON specification file config.json not found");
        assert!(errors[0]["time"].is_string());
        assert!(text.starts_with("{\"level\":\"error\",\"msg\":"), "the order of logrus: {text}");
        assert_eq!(answer.err.trim_end(), errors[0]["msg"], "the raw text on stderr");
    }

    everywhere fn the_log_as_text(world) {
        let log = world.dir.join("log");
        let mut command = world.bare_command();
        command.arg("--log").arg(&log).arg("--root").arg(world.root()).args(["start", &world.id]);
        world.finish(command).assert_fails_with("container does not exist");
        let text = fs::read_to_string(&log).expect("a log");
        assert!(text.starts_with("time=\"2"), "{text}");
        assert!(text.ends_with("level=error msg=\"container does not exist\"\n"), "{text}");
    }

    everywhere fn the_log_is_appended_to(world) {
        let log = world.file("log", "before\n");
        let mut command = world.bare_command();
        command.arg("--log").arg(&log).arg("--root").arg(world.root()).args(["start", &world.id]);
        world.finish(command);
        assert!(fs::read_to_string(&log).expect("a log").starts_with("before\ntime="));
    }

    everywhere fn an_unknown_log_format_fails(world) {
        let answer = bare(world, &["--log-format", "xml", "list"]);
        assert!(!answer.status.success(), "{answer}");
        assert!(answer.said().contains("xml"), "{answer}");
    }

    everywhere fn a_log_that_cannot_be_opened_fails(world) {
        bare(world, &["--log", "/no/such/dir/log", "list"]).assert_fails_with("no such file or directory");
    }

    everywhere fn quiet_on_success(world) {
        world.probe(&["block", "wait"]);
        let created = world.create().assert_ok();
        assert_eq!((created.answer.out.as_str(), created.answer.err.as_str()), ("", ""));
        for answer in [world.start(), world.kill("KILL")] {
            assert_eq!((answer.out.as_str(), answer.err.as_str()), ("", ""), "{answer}");
        }
        world.wait_status("stopped");
        let answer = world.delete().assert_ok();
        assert_eq!((answer.out.as_str(), answer.err.as_str()), ("", ""), "{answer}");
    }

    everywhere fn debug_logs_and_works(world) {
        world.write_config();
        let mut command = world.bare_command();
        command.args(["--debug", "--root"]).arg(world.root()).args(["run", &world.id]);
        let answer = world.finish(command).assert_ok();
        assert!(answer.err.contains("level=debug"), "{answer}");
        assert!(!answer.err.contains("level=error"), "{answer}");
    }

    everywhere fn rootless_takes_its_three_values(world) {
        for value in ["true", "false", "auto"] {
            let mut command = world.bare_command();
            command.args(["--rootless", value, "--root"]).arg(world.root()).args(["list", "-q"]);
            let root = world.folder("state");
            world.finish(command).assert_ok();
            fs::remove_dir(root).expect("an empty state root");
        }
    }

    knarr("they are flags of crun") fn flags_of_crun(world) {
        world.probe(&["exit", "0"]).write_config();
        let mut command = world.bare_command();
        command.args(["--cgroup-manager", "cgroupfs", "--log-level", "error", "--root"]).arg(world.root());
        command.args(["run", &world.id]);
        world.finish(command).assert_ok();
        fs::rename(world.bundle().join("config.json"), world.bundle().join("other.json")).expect("rename");
        world.call(&["run", "--config", "other.json", &world.id]).assert_ok();
        world.assert_nothing_left();
    }

    knarr("they are flags of crun") fn kill_and_delete_by_pattern(world) {
        world.up_waiting();
        world.call(&["kill", "--regex", &format!("^{}$", world.id), "KILL"]).assert_ok();
        world.wait_status("stopped");
        world.call(&["delete", "--regex", &format!("{}.*", world.id)]).assert_ok();
        world.assert_nothing_left();
    }

    everywhere fn create_takes_the_flags_of_a_shim(world) {
        world.probe(&["block", "wait"]).write_config();
        let log = world.dir.join("log.json");
        let pid = world.dir.join("init.pid");
        let bundle = world.bundle();
        let mut command = world.bare_command();
        command.arg("--root").arg(world.root()).arg("--log").arg(&log).args(["--log-format", "json", "create"]);
        command.arg("--bundle").arg(&bundle).arg("--pid-file").arg(&pid).args(["--no-pivot", "--no-new-keyring"]);
        command.args(["--preserve-fds", "0", &world.id]);
        world.finish(command).assert_ok();
        assert_eq!(fs::read_to_string(pid).expect("a pid"), world.pid().to_string());
        assert_eq!(fs::read_to_string(log).unwrap_or_default(), "");
    }
}
