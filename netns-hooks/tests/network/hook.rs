//! `knarr-netns` as a program and as a hook.
