//! The fleet as a registry file.

use crate::fleet::Fleet;

/// The columns of a registry, then some that only people read.
const COLUMNS: [&str; 14] = [
    "tenant",
    "device",
    "profile",
    "site",
    "lat",
    "lon",
    "region",
    "name",
    "group",
    "name_en",
    "site_name",
    "site_name_en",
    "km",
    "kind",
];

impl Fleet {
    /// Returns the devices as the CSV text of a registry: `name` is Chinese, `name_en` English; `km` is the place
    /// along the road, by which the detectors of a site are in order.
    #[must_use]
    pub fn registry_csv(&self) -> String {
        let mut writer = csv::Writer::from_writer(Vec::new());
        // Memory takes every row.
        let mut is_whole = writer.write_record(COLUMNS).is_ok();
        for device in self.devices() {
            let km = device.km.map(|km| format!("{km:.3}")).unwrap_or_default();
            let (lat, lon) = (device.lat.to_string(), device.lon.to_string());
            let cells: [&str; 14] = [
                &device.tenant,
                &device.device,
                &device.profile,
                &device.site,
                &lat,
                &lon,
                &device.region,
                &device.name.zh,
                "",
                &device.name.en,
                &device.site_name.zh,
                &device.site_name.en,
                &km,
                device.kind,
            ];
            is_whole &= writer.write_record(cells).is_ok();
        }
        debug_assert!(is_whole, "memory takes every row");
        String::from_utf8(writer.into_inner().unwrap_or_default()).unwrap_or_default()
    }
}
