//! The grammar, form by form, and each command's arguments.

use std::path::Path;

use knarr_cgroups::Driver;

use super::line::MANUALS;
use super::*;
use crate::log::{Format, Level, Target};

fn parse_as(argv0: &str, line: &str) -> Result<Invocation, Reply> {
    let words =
        line.split(' ').filter(|word| !word.is_empty()).map(|word| if word == "''" { "" } else { word });
    let args: Vec<String> = std::iter::once(argv0).chain(words).map(str::to_owned).collect();
    parse(&args)
}

fn command(line: &str) -> Command {
    match parse_as("knarr", line) {
        Ok(invocation) => invocation.command,
        Err(reply) => panic!("{line:?}: {reply:?}"),
    }
}

fn globals(line: &str) -> Globals {
    parse_as("knarr", line).unwrap_or_else(|reply| panic!("{line:?}: {reply:?}")).globals
}

fn misuse(line: &str) -> Misuse {
    match parse_as("/opt/bin/knarr", line) {
        Err(Reply::Misuse(misuse)) => *misuse,
        other => panic!("{line:?}: {other:?}"),
    }
}

fn text(argv0: &str, line: &str) -> String {
    match parse_as(argv0, line) {
        Err(Reply::Text(text)) => text,
        other => panic!("{line:?}: {other:?}"),
    }
}

fn create(line: &str) -> CreateArgs {
    match command(line) {
        Command::Create(args) | Command::Run(args) => args,
        other => panic!("{line:?}: {other:?}"),
    }
}

fn exec(line: &str) -> ExecArgs {
    match command(line) {
        Command::Exec(args) => args,
        other => panic!("{line:?}: {other:?}"),
    }
}

#[test]
fn a_value_comes_after_a_space_or_an_equals_sign_with_one_dash_or_two() {
    for line in [
        "create --bundle /b id",
        "create --bundle=/b id",
        "create -bundle /b id",
        "create -bundle=/b id",
        "create -b /b id",
        "create -b=/b id",
        "create --b /b id",
        "create id --bundle /b",
        "create id -b=/b",
        "create --bundle /a --bundle /b id",
        "create --bundle /b -- id",
    ] {
        let args = create(line);
        assert_eq!((args.id.as_str(), args.bundle.as_path()), ("id", Path::new("/b")), "{line:?}");
    }
}

#[test]
fn a_value_may_be_empty_hold_equals_signs_or_look_like_a_flag() {
    assert_eq!(create("create --bundle= id").bundle, Path::new("."));
    assert_eq!(create("create --bundle '' id").bundle, Path::new("."));
    assert_eq!(create("create --bundle=a=b id").bundle, Path::new("a=b"));
    assert_eq!(create("create --bundle --pid-file id").bundle, Path::new("--pid-file"));
    assert_eq!(create("create --pid-file= id").pid_file, None);
}

#[test]
fn a_switch_takes_go_s_words_after_an_equals_sign_only() {
    for (form, on) in [
        ("--no-pivot", true),
        ("-no-pivot", true),
        ("--no-pivot=", true),
        ("--no-pivot=true", true),
        ("--no-pivot=T", true),
        ("--no-pivot=1", true),
        ("--no-pivot=false", false),
        ("--no-pivot=0", false),
        ("--no-pivot --no-pivot=false", false),
    ] {
        assert_eq!(create(&format!("create {form} id")).no_pivot, on, "{form}");
    }
    assert_eq!(create("create --no-pivot true").id, "true");
    assert_eq!(
        misuse("create --no-pivot=yes id").error.line(),
        "invalid value \"yes\" for flag -no-pivot: neither true nor false"
    );
}

#[test]
fn short_flags_do_not_cluster() {
    assert_eq!(misuse("exec -td id sh").error.line(), "flag provided but not defined: -td");
    let args = exec("exec -t -d id sh");
    assert!(args.tty && args.detach);
}

#[test]
fn every_flag_of_create_and_run_arrives() {
    let line = "run -b /b -f /c --console-socket /s --pidfd-socket /p --pid-file /f --no-pivot --no-new-keyring \
                --preserve-fds 3 -d --keep --no-subreaper box";
    let expected = CreateArgs {
        id: "box".into(),
        bundle: "/b".into(),
        config: Some("/c".into()),
        console_socket: Some("/s".into()),
        pidfd_socket: Some("/p".into()),
        pid_file: Some("/f".into()),
        no_pivot: true,
        no_new_keyring: true,
        preserve_fds: 3,
        detach: true,
        keep: true,
        no_subreaper: true,
    };
    assert_eq!(command(line), Command::Run(expected));
    assert_eq!(create("create box"), CreateArgs { id: "box".into(), ..CreateArgs::default() });
    // What containerd's NoPivot and crun's callers may send.
    assert!(create("create --detach --no-subreaper box").detach);
    assert_eq!(misuse("create --keep box").error.line(), "flag provided but not defined: -keep");
}

#[test]
fn exec_leaves_everything_after_the_id_to_the_program() {
    let args = exec(
        "exec --tty=false -e A=b,c -e D= -u 1:2 -g 5 -g=6 -c CAP_KILL --cap CAP_CHOWN id ls -l --tty -- -h",
    );
    assert_eq!(args.args, ["ls", "-l", "--tty", "--", "-h"]);
    assert_eq!(args.env, ["A=b,c", "D="]);
    assert_eq!(args.additional_gids, [5, 6]);
    assert_eq!(args.caps, ["CAP_KILL", "CAP_CHOWN"]);
    assert_eq!(args.user, "1:2");
    assert!(!args.tty);
    assert_eq!(args.no_new_privs, None);
    assert_eq!(exec("exec -- id ls -l").args, ["ls", "-l"]);
    assert_eq!(exec("exec id -- ls -l").args, ["ls", "-l"]);
    assert_eq!(exec("exec id --tty").args, ["--tty"]);
}

#[test]
fn every_other_flag_of_exec_arrives() {
    let line = "exec --console-socket /s --pidfd-socket /p --cwd /w --process /j -d --pid-file /f --process-label l \
                --apparmor a --no-new-privs=false --preserve-fds=2 --cgroup cpu,cpuacct:x --ignore-paused id";
    let args = exec(line);
    assert_eq!(args.console_socket.as_deref(), Some(Path::new("/s")));
    assert_eq!(args.pidfd_socket.as_deref(), Some(Path::new("/p")));
    assert_eq!(args.process.as_deref(), Some(Path::new("/j")));
    assert_eq!(args.pid_file.as_deref(), Some(Path::new("/f")));
    assert_eq!((args.cwd.as_str(), args.process_label.as_str(), args.apparmor.as_str()), ("/w", "l", "a"));
    assert_eq!((args.no_new_privs, args.preserve_fds), (Some(false), 2));
    assert_eq!(args.sub_cgroups().unwrap().len(), 2);
    assert!(args.detach && args.ignore_paused && args.args.is_empty());
}

#[test]
fn the_other_commands_take_their_arguments() {
    let id = || ContainerArgs { id: "x".into() };
    let kill = |signal: &str, all, regex| {
        Command::Kill(KillArgs { id: "x".into(), signal: signal.into(), all, regex })
    };
    let delete = |force, regex| Command::Delete(DeleteArgs { id: "x".into(), force, regex });
    let list = |format, quiet| Command::List(ListArgs { format, quiet });
    let ps = |format, options: &[&str]| {
        let options = options.iter().map(|&option| option.into()).collect();
        Command::Ps(PsArgs { id: "x".into(), options, format })
    };
    for (line, expected) in [
        ("start x", Command::Start(id())),
        ("state x", Command::State(id())),
        ("pause x", Command::Pause(id())),
        ("resume x", Command::Resume(id())),
        ("kill x", kill("SIGTERM", false, false)),
        ("kill --all x 9", kill("9", true, false)),
        ("kill -a x KILL", kill("KILL", true, false)),
        ("kill x -9", kill("-9", false, false)),
        ("kill -r x sigkill", kill("sigkill", false, true)),
        ("delete x", delete(false, false)),
        ("delete --force x", delete(true, false)),
        ("delete x -f --regex", delete(true, true)),
        ("list", list(ListFormat::Table, false)),
        ("list -q -f json", list(ListFormat::Json, true)),
        ("list --format=table", list(ListFormat::Table, false)),
        ("ps x", ps(ListFormat::Table, &[])),
        ("ps --format json x", ps(ListFormat::Json, &[])),
        ("ps x -aux --format", ps(ListFormat::Table, &["-aux", "--format"])),
        ("features", Command::Features),
    ] {
        assert_eq!(command(line), expected, "{line:?}");
    }
    let spec = |bundle: Option<&str>, file: Option<&str>, rootless| {
        Command::Spec(SpecArgs { bundle: bundle.map(Into::into), file: file.map(Into::into), rootless })
    };
    assert_eq!(command("seccomp"), Command::Seccomp(SeccompArgs::default()));
    assert_eq!(
        command("seccomp --arch SCMP_ARCH_X86 --profile /p openat -100 0x1"),
        Command::Seccomp(SeccompArgs {
            profile: Some("/p".into()),
            arch: Some(knarr_seccomp::Abi::X86),
            call: ["openat", "-100", "0x1"].map(str::to_owned).into(),
            ..SeccompArgs::default()
        })
    );
    assert_eq!(command("spec"), spec(None, None, false));
    assert_eq!(command("spec -b /b -f c.json --rootless"), spec(Some("/b"), Some("c.json"), true));
}

#[test]
fn global_flags_stand_before_or_after_the_command() {
    let flags = "--debug --log /l --log-format json --root /r --systemd-cgroup --rootless true";
    for line in [format!("{flags} state x"), format!("state {flags} x"), format!("state x {flags}")] {
        let globals = globals(&line);
        assert_eq!(globals.log, Target::File("/l".into()), "{line:?}");
        assert_eq!((globals.log_format, globals.log_level), (Format::Json, Level::Debug), "{line:?}");
        assert_eq!(globals.root.path, Path::new("/r"), "{line:?}");
        assert_eq!(globals.root.origin, Origin::Given, "{line:?}");
        assert_eq!(globals.cgroup_driver, Driver::Systemd, "{line:?}");
        assert!(globals.rootless(), "{line:?}");
    }
    // A command's own flag goes before a global one of the same name.
    assert!(matches!(command("spec --rootless"), Command::Spec(SpecArgs { rootless: true, .. })));
}

#[test]
fn global_flags_have_runc_s_defaults() {
    let globals = globals("state x");
    assert_eq!(
        (globals.log, globals.log_format, globals.log_level),
        (Target::Stderr, Format::Text, Level::Info)
    );
    assert_eq!(globals.cgroup_driver, Driver::Cgroupfs);
}

#[test]
fn crun_s_global_flags_are_understood() {
    for (line, manager) in [
        ("--cgroup-manager=systemd state x", Driver::Systemd),
        ("--cgroup-manager disabled state x", Driver::Disabled),
        ("--cgroup-manager=cgroupfs state x", Driver::Cgroupfs),
    ] {
        assert_eq!(globals(line).cgroup_driver, manager);
    }
    assert_eq!(globals("--log=journald:box --log-level=warning state x").log, Target::Journal("box".into()));
    assert_eq!(globals("--log-level=warning state x").log_level, Level::Warning);
    assert_eq!(globals("--debug --log-level=error state x").log_level, Level::Debug);
    assert_eq!(parse_as("crun", "state x").unwrap().globals.log_level, Level::Error);
}

#[test]
fn bad_global_values_are_refused_by_name() {
    for (line, why) in [
        ("--log-format xml state x", "invalid log-format: xml"),
        ("--root / state x", "Option --root argument should not be set to /"),
        (
            "--rootless perhaps state x",
            "invalid value \"perhaps\" for flag -rootless: must be true, false or auto",
        ),
        (
            "--cgroup-manager x state x",
            "invalid value \"x\" for flag -cgroup-manager: must be cgroupfs, systemd or disabled",
        ),
        (
            "--log-level loud state x",
            "invalid value \"loud\" for flag -log-level: must be error, warning, info or debug",
        ),
        ("--log", "flag needs an argument: --log"),
        ("--nonsense state x", "flag provided but not defined: -nonsense"),
        ("state --nonsense=1 x", "flag provided but not defined: -nonsense"),
        (
            "create --preserve-fds many x",
            "invalid value \"many\" for flag -preserve-fds: invalid digit found in string",
        ),
        (
            "create --preserve-fds -1 x",
            "invalid value \"-1\" for flag -preserve-fds: invalid digit found in string",
        ),
        ("exec -g -1 x sh", "invalid value \"-1\" for flag -g: additional-gids must be a positive number -1"),
        ("list -f xml", "invalid value \"xml\" for flag -f: invalid format option"),
        (
            "seccomp --arch x86 read",
            "invalid value \"x86\" for flag -arch: must be one of SCMP_ARCH_X86_64, SCMP_ARCH_X86, SCMP_ARCH_X32, \
             SCMP_ARCH_AARCH64, SCMP_ARCH_ARM, SCMP_ARCH_MIPSEL, SCMP_ARCH_MIPSEL64, SCMP_ARCH_MIPSEL64N32, \
             SCMP_ARCH_PPC64LE, SCMP_ARCH_RISCV64, SCMP_ARCH_LOONGARCH64",
        ),
        ("create -b", "flag needs an argument: -b"),
        ("create ''", "container id cannot be empty"),
    ] {
        let misuse = misuse(line);
        assert_eq!((misuse.error.line().as_str(), misuse.code), (why, 1), "{line:?}");
    }
}

#[test]
fn wrong_argument_counts_have_runc_s_text_and_show_the_usage() {
    for (line, why) in [
        ("create", "\"create\" requires exactly 1 argument(s)"),
        ("run a b", "\"run\" requires exactly 1 argument(s)"),
        ("state", "\"state\" requires exactly 1 argument(s)"),
        ("delete", "\"delete\" requires exactly 1 argument(s)"),
        ("list a", "\"list\" requires exactly 0 argument(s)"),
        ("spec a", "\"spec\" requires exactly 0 argument(s)"),
        ("features a", "\"features\" requires exactly 0 argument(s)"),
        ("exec", "\"exec\" requires a minimum of 1 argument(s)"),
        ("ps", "\"ps\" requires a minimum of 1 argument(s)"),
        ("kill", "\"kill\" requires a minimum of 1 argument(s)"),
        ("seccomp read 0 1 2 3 4 5 6", "\"seccomp\" requires a maximum of 7 argument(s)"),
        ("kill a b c", "\"kill\" requires a maximum of 2 argument(s)"),
    ] {
        let misuse = misuse(line);
        assert_eq!(misuse.error.line(), format!("/opt/bin/knarr: {why}"));
        assert_eq!(misuse.code, 1);
        assert!(misuse.usage.starts_with("Incorrect Usage.\n\nNAME:\n   knarr "), "{}", misuse.usage);
    }
}

#[test]
fn a_misuse_is_logged_where_the_flags_say() {
    let misuse = misuse("--log /l --log-format=json create");
    assert_eq!(misuse.globals.unwrap().log, Target::File("/l".into()));
}

#[test]
fn checkpoints_are_asked_for_as_engines_do() {
    let Command::Checkpoint(args) = command(
        "checkpoint --image-path /i --work-path= --leave-running --file-locks=false --status-fd 7 --empty-ns network c1",
    ) else {
        panic!("no checkpoint")
    };
    assert_eq!(
        (args.container.id.as_str(), args.image_path, args.work_path),
        ("c1", Some("/i".into()), None)
    );
    assert_eq!((args.leave_running, args.file_locks, args.status_fd), (true, false, Some(7)));
    assert_eq!(args.empty_ns, ["network"]);
    for (line, text) in [
        ("checkpoint", "/opt/bin/knarr: \"checkpoint\" requires exactly 1 argument(s)"),
        ("checkpoint --lsm-profile a:b c1", "flag provided but not defined: -lsm-profile"),
        ("restore --leave-running c1", "flag provided but not defined: -leave-running"),
    ] {
        assert_eq!(misuse(line).error.line(), text);
    }
    assert!(misuse("checkpoint --status-fd x c1").error.line().contains("flag -status-fd"));
}

#[test]
fn restores_are_asked_for_as_engines_do() {
    let line =
        "restore --bundle /b --pid-file p -no-subreaper --detach --lsm-profile selinux:x --lazy-pages c1";
    let Command::Restore(args) = command(line) else { panic!("no restore") };
    assert_eq!((args.container.id.as_str(), args.container.bundle), ("c1", "/b".into()));
    assert!(args.container.detach && args.container.no_subreaper && args.lazy_pages);
    assert_eq!(args.lsm_profile, "selinux:x");
}

#[test]
fn a_word_that_is_no_command_is_called_so() {
    for line in ["foo", "foo -h", "foo bar --baz"] {
        let misuse = misuse(line);
        assert_eq!((misuse.error.line().as_str(), misuse.code), ("No help topic for 'foo'", 3));
        assert_eq!(misuse.usage, "");
    }
}

#[test]
fn help_begins_as_runc_s_does() {
    for line in ["-h", "--help", "help", "h", "", "--debug -h", "help help"] {
        let text = text("/usr/bin/runc", line);
        assert!(text.starts_with("NAME:\n   runc - Open Container Initiative runtime\n"), "{line:?}: {text}");
    }
    for manual in MANUALS {
        for line in ["CMD -h", "CMD --help", "CMD --help x y z", "CMD -h --nonsense", "help CMD"] {
            let line = line.replace("CMD", manual.name);
            let text = text("runc", &line);
            assert!(
                text.starts_with(&format!("NAME:\n   runc {} - {}\n", manual.name, manual.summary)),
                "{line}"
            );
        }
    }
    assert!(text("knarr", "run -h").contains("--bundle value, -b value"));
    assert!(!text("knarr", "kill -h").contains("--all"));
}

#[test]
fn every_listed_command_parses() {
    for manual in MANUALS {
        let needs_id = manual.arguments.starts_with("<container-id>");
        command(&format!("{}{}", manual.name, if needs_id { " x" } else { "" }));
    }
    assert!(MANUALS.windows(2).all(|pair| pair[0].name < pair[1].name), "sorted for the help");
}

#[test]
fn version_wins_over_a_command_but_not_over_bad_flags() {
    for line in ["-v", "--version", "-V", "-version", "--version create", "--debug -v"] {
        assert!(text("knarr", line).starts_with("knarr version "), "{line:?}");
    }
    assert!(text("crun", "--root /x --version").contains("\nrundir: /x\n"));
    assert_eq!(misuse("state -v x").error.line(), "flag provided but not defined: -v");
}

#[test]
fn the_longest_line_containerd_sends_is_understood() {
    let line = "--root /run/containerd/runc/k8s.io --log /l/log.json --log-format json --systemd-cgroup create \
                --bundle /b --pid-file /b/init.pid --console-socket /tmp/pty/pty.sock --no-pivot --no-new-keyring \
                0b1c";
    let Invocation { globals, command: Command::Create(args) } = parse_as("runc", line).unwrap() else {
        panic!("not create");
    };
    assert_eq!(globals.root.path, Path::new("/run/containerd/runc/k8s.io"));
    assert_eq!(args.pid_file.as_deref(), Some(Path::new("/b/init.pid")));
    assert_eq!(args.id, "0b1c");
}
