//! Fleets of simulated sensors: soil on fields, detectors along roads, air stations in a city.
//!
//! ```text
//! Scenario (TOML) ─▶ Fleet (seed, start, devices) ─▶ uplink(device, time) ─▶ JSON as the device's profile reads it
//!                                                 ─▶ truth(from, to)      ─▶ what was done to the world, and when
//! ```
//!
//! - **F1 pure**: an uplink is a function of scenario, seed, start, device and time alone: whatever was asked
//!   before, on any thread, a run may begin anywhere.
//! - **F2 same bytes**: only operations that IEEE 754 rounds exactly are used, so that every machine computes the
//!   same.
//! - **F3 bounded**: a fleet keeps nothing for each device; a million of them cost what one costs.
//! - **F4 agreement**: flow, speed and occupancy of a detector obey flow = density × speed.
//!
//! It knows nothing of networks, files and clocks: no uplink here is lost, late or doubled, and no sensor fails.

mod air;
mod builtin;
mod fleet;
mod incident;
mod maths;
mod moment;
mod noise;
mod payload;
mod place;
mod read;
mod registry;
mod road;
mod scenario;
mod schedule;
mod soil;
mod truth;
mod weather;

pub use fleet::{Fleet, FleetError, SimDevice};
pub use scenario::{
    AirPart, Climate, Episode, Irrigation, Kind, Part, RoadPart, Scenario, Site, SoilPart,
};
pub use schedule::Schedule;
pub use truth::{Truth, TruthKind};
