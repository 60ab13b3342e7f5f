//! What a profile may not say: each refusal names the field and keeps the words engines look for.
#![allow(clippy::expect_used, reason = "a test may stop")]

mod support;

use knarr_seccomp::{Profile, compile};
use serde_json::{Value, json};

fn refusal(profile: Value) -> String {
    let profile: Profile = serde_json::from_value(profile).expect("a profile");
    compile(&profile).expect_err("refused").to_string()
}

/// An allow-all profile with a field replaced.
fn with(field: &str, value: Value) -> Value {
    let mut profile = json!({ "defaultAction": "SCMP_ACT_ALLOW" });
    profile[field] = value;
    profile
}

#[test]
fn unknown_names_are_refused_by_field() {
    assert_eq!(
        refusal(with("defaultAction", json!("SCMP_ACT_PANIC"))),
        "linux.seccomp.defaultAction: string SCMP_ACT_PANIC is not a valid action for seccomp"
    );
    assert_eq!(
        refusal(with("architectures", json!(["SCMP_ARCH_X86", "SCMP_ARCH_VAX"]))),
        "linux.seccomp.architectures[1]: string SCMP_ARCH_VAX is not a valid arch for seccomp"
    );
    assert_eq!(
        refusal(with("flags", json!(["SECCOMP_FILTER_FLAG_FAST"]))),
        "linux.seccomp.flags: seccomp flag SECCOMP_FILTER_FLAG_FAST is not known to knarr"
    );
    assert_eq!(
        refusal(with("syscalls", json!([{}, { "names": ["read"], "action": "ALLOW" }]))),
        "linux.seccomp.syscalls[0].action: string  is not a valid action for seccomp"
    );
    let args = json!([{ "index": 0, "value": 1, "op": "SCMP_CMP_EQ" }, { "index": 1, "op": "==" }]);
    let rule = json!([{ "names": ["read"], "action": "SCMP_ACT_ERRNO", "args": args }]);
    assert_eq!(
        refusal(with("syscalls", rule)),
        "linux.seccomp.syscalls[0].args[1].op: string == is not a valid operator for seccomp"
    );
}

#[test]
fn values_out_of_range_are_refused_by_field() {
    assert_eq!(
        refusal(json!({ "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 70000 })),
        "linux.seccomp.defaultAction: errnoRet 70000 does not fit in 16 bits"
    );
    let rule = |index: u32| json!([{ "names": ["read"], "action": "SCMP_ACT_ERRNO", "args": [{ "index": index, "op": "SCMP_CMP_EQ" }] }]);
    assert_eq!(
        refusal(with("syscalls", rule(6))),
        "linux.seccomp.syscalls[0].args[0].index: syscalls only have up to 6 arguments (6 given)"
    );
    assert_eq!(
        refusal(with("syscalls", json!([{ "names": ["read", ""], "action": "SCMP_ACT_ERRNO" }]))),
        "linux.seccomp.syscalls[0].names: empty string is not a valid syscall"
    );
}

#[test]
fn another_byte_order_is_refused() {
    assert_eq!(
        refusal(with("architectures", json!(["SCMP_ARCH_S390X"]))),
        "linux.seccomp.architectures[0]: error adding architecture to seccomp filter: SCMP_ARCH_S390X has another byte order than this host"
    );
}

#[test]
fn notify_is_refused_where_it_would_hang() {
    let notify = |name: &str| {
        let mut profile = with("syscalls", json!([{ "names": [name], "action": "SCMP_ACT_NOTIFY" }]));
        profile["listenerPath"] = json!("/run/agent.sock");
        profile
    };
    assert!(refusal(notify("write")).ends_with("SCMP_ACT_NOTIFY cannot be used for the write syscall"));
    assert!(
        refusal(json!({ "defaultAction": "SCMP_ACT_NOTIFY" }))
            .ends_with("SCMP_ACT_NOTIFY cannot be used as default action")
    );
    let mut nowhere = notify("mkdir");
    nowhere["listenerPath"] = json!("");
    assert_eq!(refusal(nowhere), "linux.seccomp.listenerPath: seccomp listenerPath is not set");
    assert_eq!(
        refusal(with("flags", json!(["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]))),
        "linux.seccomp.flags: SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV needs a rule with SCMP_ACT_NOTIFY"
    );
}

#[test]
fn null_and_absent_are_empty_as_in_go() {
    let profile: Profile = serde_json::from_value(json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "defaultErrnoRet": null,
        "architectures": null,
        "flags": null,
        "listenerPath": null,
        "syscalls": [{ "names": null, "action": "SCMP_ACT_ERRNO", "args": null, "comment": "unknown fields pass" }],
    }))
    .expect("a profile");
    let program = compile(&profile).expect("a program");
    assert_eq!(program.flags(), 4, "absent flags ask for SPEC_ALLOW");
    assert!(serde_json::from_str::<Profile>("{}").expect("a profile").is_disabled());
}

#[test]
fn flags_become_the_kernels() {
    let flags = |flags: Value| {
        let profile: Profile = serde_json::from_value(with("flags", flags)).expect("a profile");
        compile(&profile).expect("a program").flags()
    };
    assert_eq!(flags(json!([])), 0);
    assert_eq!(flags(json!(["SECCOMP_FILTER_FLAG_TSYNC"])), 0);
    assert_eq!(flags(json!(["SECCOMP_FILTER_FLAG_TSYNC", "SECCOMP_FILTER_FLAG_LOG"])), 2);
    assert_eq!(flags(json!(["SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_SPEC_ALLOW"])), 6);
}

#[test]
fn unknown_calls_are_left_out_and_listed() {
    let profile = Profile {
        default_action: "SCMP_ACT_ERRNO".into(),
        syscalls: vec![support::rule("SCMP_ACT_ALLOW", None, "read no_such_call write", vec![])],
        ..Profile::default()
    };
    assert_eq!(compile(&profile).expect("a program").unknown(), ["no_such_call"]);
}

#[test]
fn a_profile_survives_json() {
    let profile = support::podman();
    let text = serde_json::to_string(&profile).expect("JSON");
    assert_eq!(serde_json::from_str::<Profile>(&text).expect("a profile"), profile);
}
