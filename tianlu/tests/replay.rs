//! `tianlu replay` with small made-up files: order, ticks, forms, what is set aside, journals, brokers.
#![expect(
    clippy::unwrap_used,
    clippy::unwrap_in_result,
    clippy::indexing_slicing,
    reason = "tests"
)]

mod replay {
    pub(crate) mod broker;
    pub(crate) mod farm;
    mod faults;
    mod files;
    mod journal;
    mod order;
    mod publish;
}
