//! What `replay` and `simulate` share: time that passes at a pace, the stop signal, progress, where results go.

pub(crate) mod fault;
pub(crate) mod pace;
pub(crate) mod progress;
pub(crate) mod publisher;
pub(crate) mod sink;
pub(crate) mod stop;
