//! Readings with numbers of their own, so that each can be told from every other.

use crate::audit::Audit;
use crate::influx::{At, Influx};
use crate::publisher::Message;

/// One reading of the profile `soil-5in1`.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// The device.
    pub device: String,
    /// `sampled_at` in milliseconds since 1970.
    pub at_ms: i64,
    /// Soil moisture in thousandths of m3/m3, from 130 to 429: above every alert limit of these tests.
    pub moisture_thousandths: u32,
    /// Soil temperature in tenths of a degree Celsius, from 50 to 249.
    pub temp_tenths: u32,
}

impl Sample {
    /// Makes the reading with the number `n` of a device; its values depend on the number alone.
    #[must_use]
    pub fn new(device: &str, at_ms: i64, n: u32) -> Self {
        let mixed = n.wrapping_mul(2_654_435_761) >> 8;
        let (moisture_thousandths, temp_tenths) = (130 + mixed % 300, 50 + mixed / 300 % 200);
        Self { device: device.to_owned(), at_ms, moisture_thousandths, temp_tenths }
    }

    /// Returns the soil moisture in m3/m3.
    #[must_use]
    pub fn moisture(&self) -> f64 {
        f64::from(self.moisture_thousandths) / 1000.0
    }

    /// Returns the soil temperature in degrees Celsius.
    #[must_use]
    pub fn temp(&self) -> f64 {
        f64::from(self.temp_tenths) / 10.0
    }

    /// Returns the JSON payload.
    #[must_use]
    pub fn payload(&self) -> String {
        let (at, moisture, temp) = (self.at_ms, self.moisture(), self.temp());
        format!(r#"{{"ts":{at},"soil_moisture_10cm":{moisture},"soil_temp":{temp}}}"#)
    }

    /// Returns the uplink.
    #[must_use]
    pub fn uplink(&self) -> Message {
        Message::uplink(&self.device, self.payload())
    }

    /// Returns the series and the time of its point.
    #[must_use]
    pub fn at(&self) -> At {
        (self.device.clone(), self.at_ms * 1_000_000)
    }
}

/// Makes `each` readings of each of `devices` devices, a second apart, round by round.
#[must_use]
pub fn fleet(prefix: &str, devices: u32, each: u32, start_ms: i64) -> Vec<Sample> {
    let numbers = (0..each).flat_map(|round| (0..devices).map(move |device| (round, device)));
    let make = |(round, device): (u32, u32)| {
        Sample::new(
            &format!("{prefix}{device:04}"),
            start_ms + i64::from(round) * 1000,
            round * devices + device,
        )
    };
    numbers.map(make).collect()
}

/// Fails unless exactly these readings stand in the measurement `soil`, each with its own time and values.
pub fn assert_stored(influx: &Influx, samples: &[Sample]) {
    let audit = Audit::of_influx(influx, "", samples);
    assert_eq!(audit.wrong(), None);
}

/// Fails unless these readings stand in the measurement `soil`, beside others.
pub fn assert_stored_among(influx: &Influx, samples: &[Sample]) {
    let mut audit = Audit::of_influx(influx, "", samples);
    audit.strange.clear();
    assert_eq!(audit.wrong(), None);
}
