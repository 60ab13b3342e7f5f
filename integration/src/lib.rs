//! Tests of the runtime against the real kernel, with the runtime as a parameter.
//!
//! A case is a function over a [`World`]; [`cases!`] makes one libtest test of it for each runtime (`knarr`, and
//! Debian's runc, which tests the tests) and each cgroup layout (v1 hybrid, pure v2) that makes sense. What the
//! container sees comes from the `probe` program of this crate, as JSON.
//!
//! The crate owns no knowledge of how a runtime works inside: it looks at exit statuses, texts, files, processes
//! and mounts.

pub mod agent;
pub mod answer;
pub mod bundle;
pub mod console;
pub mod holder;
pub mod layout;
pub mod leftovers;
pub mod loop_device;
pub mod nest;
pub mod play;
pub mod runtime;
pub mod sys;
pub mod wait;
pub mod world;

pub use agent::{Agent, Listener};
pub use answer::Answer;
pub use console::Console;
pub use holder::{Holder, namespace_of};
pub use layout::Layout;
pub use loop_device::Loop;
pub use play::play;
pub use runtime::Runtime;
pub use serde_json::{Value, json};
pub use wait::eventually;
pub use world::World;

/// Turns functions over a `World` into tests, one per combination. A case reads
/// `WHERE fn name(world) { ... }` with WHERE one of
///
/// - `everywhere`: both runtimes, both layouts;
/// - `v1`, `v2`: both runtimes, that layout;
/// - `knarr("why")`, `knarr_v1("why")`, `knarr_v2("why")`: ours alone, because runc 1.1 differs or lacks it;
/// - `not_runc_v1("why")`, `not_runc_v2("why")`: everywhere but there;
/// - `machine`, `knarr_machine("why")`: v2, ignored unless asked for: it needs what the machine of `make test-vm` has;
/// - `limits`, `v2_limits`, `knarr_limits("why")`, `knarr_v2_limits("why")`, `not_runc_v2_limits("why")`: as those without
///   `_limits` and `everywhere`, but ignored on v2 unless `--ignored` or `--include-ignored` says that cgroup2 has the
///   controllers here.
#[macro_export]
macro_rules! cases {
    ($($cases:tt)*) => { $crate::cases_in! { combinations $($cases)* } };
}

/// The same, and once more with cgroups that systemd makes, for root and for a user: ignored, since that needs a machine
/// that has been booted, which `make test-vm` does.
#[macro_export]
macro_rules! cases_with_systemd {
    ($($cases:tt)*) => { $crate::cases_in! { combinations_with_systemd $($cases)* } };
}

/// See [`cases!`].
#[macro_export]
macro_rules! cases_in {
    ($combinations:ident
        $($(#[$note:meta])* $place:ident $(($why:literal))? fn $name:ident($world:ident) $body:block)*) => {$(
        $(#[$note])*
        mod $name {
            #[allow(unused_imports)] // not every case needs its file's imports
            use super::*;
            fn case($world: &mut $crate::World) $body
            $crate::$combinations!($place);
        }
    )*};
}

/// The tests of one case; see [`cases_with_systemd!`].
#[macro_export]
macro_rules! combinations_with_systemd {
    (@knarr $place:ident) => {
        $crate::combinations!($place);
        $crate::combinations!(@ #[ignore = "needs systemd"] knarr_systemd, Knarr, Systemd);
        $crate::combinations!(@ #[ignore = "needs a user's systemd"] knarr_user, Knarr, User);
    };
    (@both $place:ident) => {
        $crate::combinations_with_systemd!(@knarr $place);
        $crate::combinations!(@ #[ignore = "needs systemd"] runc_systemd, Runc, Systemd);
    };
    (v1) => { $crate::combinations!(v1); };
    (knarr_v1) => { $crate::combinations!(knarr_v1); };
    (everywhere) => { $crate::combinations_with_systemd!(@both everywhere); };
    (v2) => { $crate::combinations_with_systemd!(@both v2); };
    (not_runc_v1) => { $crate::combinations_with_systemd!(@both not_runc_v1); };
    ($place:ident) => { $crate::combinations_with_systemd!(@knarr $place); };
}

/// The tests of one case; see [`cases!`].
#[macro_export]
macro_rules! combinations {
    (everywhere) => { $crate::combinations!(v1); $crate::combinations!(v2); };
    (knarr) => { $crate::combinations!(knarr_v1); $crate::combinations!(knarr_v2); };
    (not_runc_v1) => { $crate::combinations!(knarr); $crate::combinations!(runc_v2); };
    (not_runc_v2) => { $crate::combinations!(knarr); $crate::combinations!(runc_v1); };
    (v1) => { $crate::combinations!(knarr_v1); $crate::combinations!(runc_v1); };
    (v2) => { $crate::combinations!(knarr_v2); $crate::combinations!(runc_v2); };
    (knarr_v1) => { $crate::combinations!(@ knarr_v1, Knarr, Hybrid); };
    (knarr_v2) => { $crate::combinations!(@ knarr_v2, Knarr, Unified); };
    (runc_v1) => { $crate::combinations!(@ runc_v1, Runc, Hybrid); };
    (runc_v2) => { $crate::combinations!(@ runc_v2, Runc, Unified); };
    (limits) => { $crate::combinations!(v1); $crate::combinations!(v2_limits); };
    (knarr_limits) => { $crate::combinations!(knarr_v1); $crate::combinations!(knarr_v2_limits); };
    (not_runc_v2_limits) => { $crate::combinations!(knarr_limits); $crate::combinations!(runc_v1); };
    (machine) => {
        $crate::combinations!(knarr_machine);
        $crate::combinations!(@ #[ignore = "run by make test-vm"] runc_v2, Runc, Unified);
    };
    (knarr_machine) => {
        $crate::combinations!(@ #[ignore = "run by make test-vm"] knarr_v2, Knarr, Unified);
    };
    (v2_limits) => {
        $crate::combinations!(knarr_v2_limits);
        $crate::combinations!(@ #[ignore = "needs cgroup2 with its controllers"] runc_v2, Runc, Unified);
    };
    (knarr_v2_limits) => {
        $crate::combinations!(@ #[ignore = "needs cgroup2 with its controllers"] knarr_v2, Knarr, Unified);
    };
    (@ $(#[$note:meta])* $test:ident, $runtime:ident, $layout:ident) => {
        #[test]
        $(#[$note])*
        fn $test() {
            let name = concat!(module_path!(), "::", stringify!($test));
            $crate::play(name, $crate::Runtime::$runtime, $crate::Layout::$layout, case);
        }
    };
}
