//! What `process` may and may not say.

use super::*;

const SUPPORT: Support = Support { last_capability: 40, apparmor: false, selinux: false };

fn minimal() -> spec::Process {
    spec::Process { args: vec!["sh".into()], cwd: "/".into(), ..spec::Process::default() }
}

fn plan_with(change: impl FnOnce(&mut spec::Process)) -> Result<ProcessPlan> {
    let mut process = minimal();
    change(&mut process);
    let linux = spec::Linux::default();
    ProcessPlan::new(Given { process: &process, linux: &linux, support: SUPPORT, keyring_for: None })
}

fn plan_linux(change: impl FnOnce(&mut spec::Linux)) -> Result<ProcessPlan> {
    let mut linux = spec::Linux::default();
    change(&mut linux);
    ProcessPlan::new(Given { process: &minimal(), linux: &linux, support: SUPPORT, keyring_for: Some("c1") })
}

fn texts(strings: &[CString]) -> Vec<&str> {
    strings.iter().map(|text| text.to_str().expect("utf-8")).collect()
}

fn strings(texts: &[&str]) -> Vec<String> {
    texts.iter().map(ToString::to_string).collect()
}

/// The refusal's field and text.
fn refusal(result: Result<ProcessPlan>) -> (String, String) {
    let error = result.expect_err("not refused");
    (error.field().unwrap_or_default().to_owned(), error.line())
}

fn assert_refused(result: Result<ProcessPlan>, field: &str, text: &str) {
    assert_eq!(refusal(result), (field.into(), text.into()));
}

#[test]
fn the_defaults_are_runcs() {
    let plan = plan_linux(|_| {}).expect("a plan");
    assert_eq!((plan.umask, plan.terminal), (0o022, Terminal::Inherited));
    assert_eq!(plan.capabilities, None);
    assert_eq!(plan.oom_score_adj, None);
    assert_eq!(plan.keyring.as_deref(), Some(c"_ses.c1"));
    assert_eq!(plan.env, Environment::default());
    assert_eq!(plan.env.home, Home::Missing);
}

#[test]
fn the_program_needs_arguments_and_a_directory() {
    assert_refused(plan_with(|p| p.args.clear()), "/process/args", "args must not be empty");
    assert_refused(plan_with(|p| p.cwd.clear()), "/process/cwd", "Cwd property must not be empty");
    assert_refused(plan_with(|p| p.cwd = "tmp".into()), "/process/cwd", "Cwd must be an absolute path");
    let (field, _) = refusal(plan_with(|p| p.args.push("a\0b".into())));
    assert_eq!(field, "/process/args/1");
}

#[test]
fn of_a_variable_given_twice_the_last_one_counts() {
    let given = ["A=1", "PATH=/a", "B=", "A=2=3", "PATH=/b", "C=x"];
    let env = plan_with(|p| p.env = strings(&given)).expect("a plan").env;
    assert_eq!(texts(&env.vars), ["B=", "A=2=3", "PATH=/b", "C=x"]);
    assert_eq!(env.path, "/b");
}

#[test]
fn an_empty_home_counts_as_none() {
    let cases: [(&[&str], Home, &[&str]); 4] = [
        (&["HOME=/root"], Home::Given, &["HOME=/root"]),
        (&["HOME="], Home::Missing, &[]),
        (&["HOME=/root", "HOME="], Home::Missing, &[]),
        (&["HOME=", "HOME=/x"], Home::Given, &["HOME=/x"]),
    ];
    for (given, home, vars) in cases {
        let env = plan_with(|p| p.env = strings(given)).expect("a plan").env;
        assert_eq!((env.home, texts(&env.vars)), (home, vars.to_vec()), "{given:?}");
    }
}

#[test]
fn what_is_no_variable_is_refused() {
    let cases = [
        ("A", "invalid environment variable: missing '='"),
        ("", "invalid environment variable: missing '='"),
        ("=x", "invalid environment variable: name cannot be empty"),
        ("A=x\0y", r#"invalid environment variable "A": contains nul byte (\x00)"#),
    ];
    for (variable, text) in cases {
        assert_refused(plan_with(|p| p.env = strings(&["OK=1", variable])), "/process/env/1", text);
    }
}

#[test]
fn a_terminal_has_a_size_only_if_both_sides_are_given() {
    let plan = |height, width| {
        plan_with(|p| {
            p.terminal = true;
            p.console_size = Some(spec::ConsoleSize { height, width });
        })
    };
    let size = Size { rows: 25, columns: 80 };
    assert_eq!(plan(25, 80).expect("a plan").terminal, Terminal::New(Some(size)));
    assert_eq!(plan(0, 80).expect("a plan").terminal, Terminal::New(None));
    assert_refused(
        plan(25, 65536),
        "/process/consoleSize/width",
        "invalid consoleSize.width: 65536: must be at most 65535",
    );
}

#[test]
fn a_umask_has_nine_bits() {
    assert_eq!(plan_with(|p| p.user.umask = Some(0o777)).expect("a plan").umask, 0o777);
    assert_refused(
        plan_with(|p| p.user.umask = Some(0o1000)),
        "/process/user/umask",
        "invalid umask: 0o1000: must be at most 0o777",
    );
}

#[test]
fn capabilities_become_masks_and_unknown_ones_a_warning() {
    let plan = plan_with(|p| {
        p.capabilities = Some(spec::Capabilities {
            bounding: strings(&["CAP_CHOWN", "CAP_CHECKPOINT_RESTORE", "CAP_NONSENSE"]),
            effective: strings(&["CAP_KILL", "cap_kill", "CAP_NONSENSE"]),
            inheritable: Some(strings(&["CAP_SYS_ADMIN"])),
            ..spec::Capabilities::default()
        });
    });
    let plan = plan.expect("a plan");
    let sets = plan.capabilities.expect("sets");
    assert_eq!((sets.bounding, sets.effective, sets.inheritable), (1 | 1 << 40, 1 << 5, 1 << 21));
    assert_eq!((sets.permitted, sets.ambient), (0, 0));
    assert_eq!(plan.warnings, ["ignoring unknown or unavailable capabilities: [CAP_NONSENSE cap_kill]"]);
}

#[test]
fn a_capability_newer_than_the_kernel_is_unknown() {
    let process = spec::Process {
        capabilities: Some(spec::Capabilities {
            bounding: strings(&["CAP_BPF", "CAP_PERFMON"]),
            ..Default::default()
        }),
        ..minimal()
    };
    let (linux, support) = (spec::Linux::default(), Support { last_capability: 38, ..SUPPORT });
    let plan = ProcessPlan::new(Given { process: &process, linux: &linux, support, keyring_for: None });
    let plan = plan.expect("a plan");
    assert_eq!(plan.capabilities.expect("sets").bounding, 1 << 38);
    assert_eq!(plan.warnings, ["ignoring unknown or unavailable capabilities: [CAP_BPF]"]);
}

fn with_limits(limits: &[(&str, u64, u64)]) -> Result<ProcessPlan> {
    let limit = |&(kind, soft, hard): &(&str, u64, u64)| spec::Rlimit { kind: kind.into(), soft, hard };
    plan_with(|p| p.rlimits = limits.iter().map(limit).collect())
}

#[test]
fn limits_are_known_ordered_and_given_once() {
    let plan = with_limits(&[("RLIMIT_NOFILE", 1, u64::MAX), ("RLIMIT_AS", 5, 5)]).expect("a plan");
    let limits: Vec<_> = plan.rlimits.iter().map(|limit| (limit.name, limit.soft, limit.hard)).collect();
    assert_eq!(limits, [("RLIMIT_NOFILE", 1, u64::MAX), ("RLIMIT_AS", 5, 5)]);

    assert_refused(
        with_limits(&[("RLIMIT_AS", 1, 1), ("RLIMIT_NOFILES", 1, 1)]),
        "/process/rlimits/1/type",
        "wrong rlimit value: RLIMIT_NOFILES",
    );
    assert_refused(
        with_limits(&[("RLIMIT_AS", 1, 1), ("RLIMIT_AS", 1, 1)]),
        "/process/rlimits/1/type",
        "rlimit RLIMIT_AS is given more than once",
    );
    assert_refused(
        with_limits(&[("RLIMIT_CORE", 2, 1)]),
        "/process/rlimits/0/soft",
        "invalid rlimit RLIMIT_CORE: soft limit 2 is above hard limit 1",
    );
}

#[test]
fn the_oom_score_has_a_range() {
    assert_eq!(plan_with(|p| p.oom_score_adj = Some(-1000)).expect("a plan").oom_score_adj, Some(-1000));
    for score in [1001, -1001, i64::MAX] {
        let text = format!("invalid oomScoreAdj: {score}: must be between -1000 and 1000");
        assert_refused(plan_with(|p| p.oom_score_adj = Some(score)), "/process/oomScoreAdj", &text);
    }
}

fn with_scheduler(policy: &str, change: impl FnOnce(&mut spec::Scheduler)) -> Result<ProcessPlan> {
    let mut scheduler = spec::Scheduler { policy: policy.into(), ..Default::default() };
    change(&mut scheduler);
    plan_with(|p| p.scheduler = Some(scheduler))
}

#[test]
fn a_scheduler_becomes_numbers() {
    let plan = with_scheduler("SCHED_DEADLINE", |s| {
        s.flags = strings(&["SCHED_FLAG_RESET_ON_FORK", "SCHED_FLAG_DL_OVERRUN"]);
        (s.runtime, s.deadline, s.period) = (1, 2, 3);
    });
    let attr = plan.expect("a plan").scheduler.expect("a scheduler");
    assert_eq!((attr.policy, attr.flags, attr.runtime, attr.deadline, attr.period), (6, 5, 1, 2, 3));
    assert_eq!(attr.size, 56);
}

#[test]
fn scheduler_fields_belong_to_policies() {
    let priority = "scheduler.priority can only be specified for SchedFIFO or SchedRR policy";
    let times = "scheduler runtime/deadline/period can only be specified for SchedDeadline policy";
    let cases = [
        (with_scheduler("", |_| {}), "policy", "scheduler policy is required"),
        (with_scheduler("OTHER", |_| {}), "policy", "invalid scheduler policy: OTHER"),
        (
            with_scheduler("SCHED_BATCH", |s| s.nice = 20),
            "nice",
            "invalid scheduler.nice: 20 when scheduler.policy is SCHED_BATCH",
        ),
        (with_scheduler("SCHED_OTHER", |s| s.priority = 1), "priority", priority),
        (with_scheduler("SCHED_FIFO", |s| s.priority = -1), "priority", "invalid scheduler.priority: -1"),
        (with_scheduler("SCHED_RR", |s| s.period = 1), "period", times),
        (
            with_scheduler("SCHED_RR", |s| s.flags = strings(&["SCHED_FLAG_X"])),
            "flags/0",
            "invalid scheduler flag: SCHED_FLAG_X",
        ),
    ];
    for (result, field, text) in cases {
        assert_refused(result, &format!("/process/scheduler/{field}"), text);
    }
}

#[test]
fn an_io_priority_has_a_class_and_a_level() {
    let with = |class: &str, priority| {
        plan_with(|p| p.io_priority = Some(spec::IoPriority { class: class.into(), priority }))
    };
    let plan = with("IOPRIO_CLASS_BE", 7).expect("a plan");
    assert_eq!(plan.io_priority, Some(IoPriority::new(2, 7)));
    assert_refused(
        with("IOPRIO_CLASS_RT", 8),
        "/process/ioPriority/priority",
        "invalid ioPriority.Priority: 8",
    );
    assert_refused(
        with("IOPRIO_CLASS_RT", -1),
        "/process/ioPriority/priority",
        "invalid ioPriority.Priority: -1",
    );
    assert_refused(with("BE", 0), "/process/ioPriority/class", r#"invalid ioPriority.Class: "BE""#);
}

#[test]
fn affinities_are_lists() {
    let with = |initial: &str, last: &str| {
        plan_with(|p| {
            p.exec_cpu_affinity = Some(spec::CpuAffinity { initial: initial.into(), last: last.into() });
        })
    };
    let affinity = with("0-1", "").expect("a plan").affinity;
    assert_eq!((affinity.initial.map(|mask| mask.words().to_vec()), affinity.last), (Some(vec![3]), None));
    assert_refused(
        with("", "3-1"),
        "/process/execCPUAffinity/final",
        "bad CPUAffinity.Final: invalid range: 3-1",
    );
}

#[test]
fn a_personality_is_one_of_two_and_its_flags_a_warning() {
    let with = |domain: &str, flags: &[&str]| {
        let personality = spec::Personality { domain: domain.into(), flags: strings(flags) };
        plan_linux(|linux| linux.personality = Some(personality))
    };
    let plan = with("LINUX32", &["A", "B"]).expect("a plan");
    assert_eq!(plan.personality, Some(Personality::Linux32));
    assert!(plan.warnings[0].starts_with("ignoring unsupported personality flags: [A B] because"));
    assert_refused(with("linux", &[]), "/linux/personality/domain", "invalid personality domain linux");
}

#[test]
fn memory_policies_take_the_nodes_of_their_mode() {
    let with = |mode: &str, nodes: &str, flags: &[&str]| {
        let policy = spec::MemoryPolicy { mode: mode.into(), nodes: nodes.into(), flags: strings(flags) };
        plan_linux(|linux| linux.memory_policy = Some(policy))
    };
    let plan = with("MPOL_BIND", "0,2", &["MPOL_F_STATIC_NODES"]).expect("a plan");
    let policy = plan.memory_policy.expect("a policy");
    assert_eq!((policy.mode, policy.nodes.words()), (2 | 1 << 15, &[5][..]));
    assert!(with("MPOL_PREFERRED", "", &[]).is_ok() && with("MPOL_PREFERRED", "0", &[]).is_ok());

    let cases = [
        (with("MPOL_X", "", &[]), "mode", r#"invalid memory policy mode "MPOL_X""#),
        (with("MPOL_BIND", "a", &[]), "nodes", r#"invalid memory policy nodes "a": "a" is not a number"#),
        (with("MPOL_BIND", "0", &["F"]), "flags/0", r#"invalid memory policy flag "F""#),
        (with("MPOL_BIND", "", &[]), "nodes", "memory policy mode requires at least one node but got 0"),
        (with("MPOL_LOCAL", "0-1", &[]), "nodes", "memory policy mode requires 0 nodes but got 2"),
    ];
    for (result, field, text) in cases {
        assert_refused(result, &format!("/linux/memoryPolicy/{field}"), text);
    }
}

#[test]
fn labels_need_their_security_module() {
    assert_refused(
        plan_with(|p| p.apparmor_profile = "docker-default".into()),
        "/process/apparmorProfile",
        "apparmor: config provided but apparmor not supported",
    );
    assert_refused(
        plan_with(|p| p.selinux_label = "a:b:c".into()),
        "/process/selinuxLabel",
        "selinux label is specified in config, but selinux is disabled or not supported",
    );
    let process = spec::Process { apparmor_profile: "p".into(), selinux_label: "l".into(), ..minimal() };
    let (linux, support) = (spec::Linux::default(), Support { apparmor: true, selinux: true, ..SUPPORT });
    let plan = ProcessPlan::new(Given { process: &process, linux: &linux, support, keyring_for: None });
    let plan = plan.expect("a plan");
    assert_eq!((plan.apparmor.as_deref(), plan.selinux.as_deref()), (Some("p"), Some("l")));
}
