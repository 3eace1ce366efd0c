//! The statements of MQTT that fit an endpoint of publishers, and what goes beyond them.

mod property;
mod rig;
mod statements;
mod states;
mod tcp;
mod tls;
