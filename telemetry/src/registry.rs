//! The devices that a user knows: a CSV file, one row a device.

use std::collections::{BTreeMap, BTreeSet};

use hashbrown::HashTable;

use crate::document::{Problems, nearest};
use crate::hash::hash64_parts;
use crate::problem::{Problem, excerpt};
use crate::text::{Text, say};
use crate::topic::is_name;

/// Tenant of a device where no column and no topic names one.
pub const DEFAULT_TENANT: &str = "default";

const COLUMNS: [&str; 9] =
    ["tenant", "device", "profile", "site", "lat", "lon", "region", "name", "group"];

/// One device of the registry. An empty cell is `None`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Device {
    /// The tenant that it belongs to.
    pub tenant: String,
    /// Its name in topics and points.
    pub device: String,
    /// Name of its profile; beats the topic's.
    pub profile: Option<String>,
    /// Where it stands.
    pub site: Option<String>,
    /// Latitude in degrees, north positive.
    pub lat: Option<f64>,
    /// Longitude in degrees, east positive.
    pub lon: Option<f64>,
    /// GB/T 2260 code of the place: 6 digits, or 12 down to the village.
    pub region: Option<String>,
    /// Name for people.
    pub name: Option<String>,
    /// Devices of one group are judged together: the partition key.
    pub group: Option<String>,
    /// Every column with a value by its name, own ones too: what a profile's tags may name.
    pub columns: BTreeMap<String, String>,
}

impl Device {
    /// Returns its English name for people: the column `name_en`.
    #[must_use]
    pub fn name_en(&self) -> Option<&str> {
        self.columns.get("name_en").map(String::as_str)
    }

    /// Returns the name of its site for people: the column `site_name`.
    #[must_use]
    pub fn site_name(&self) -> Option<&str> {
        self.columns.get("site_name").map(String::as_str)
    }

    /// Returns the English name of its site for people: the column `site_name_en`.
    #[must_use]
    pub fn site_name_en(&self) -> Option<&str> {
        self.columns.get("site_name_en").map(String::as_str)
    }
}

/// The registry: devices in the order of tenant and name, found by both.
#[derive(Debug, Clone, Default)]
pub struct Registry {
    devices: Vec<Device>,
    index: HashTable<usize>,
}

impl Registry {
    /// Parses the file; notes every problem with its line and leaves out what is wrong: the row, or its place.
    #[must_use]
    pub fn parse(file: &str, text: &str, problems: &Problems) -> Self {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut reading = Reading { file, problems, header: Vec::new(), seen: BTreeSet::new() };
        let mut devices = reading.rows(text);
        devices.sort_by(|a, b| (&a.tenant, &a.device).cmp(&(&b.tenant, &b.device)));
        let mut index = HashTable::with_capacity(devices.len());
        for (at, device) in devices.iter().enumerate() {
            let rehash = |at: &usize| devices.get(*at).map_or(0, key_of);
            index.insert_unique(key_of(device), at, rehash);
        }
        Self { devices, index }
    }

    /// Returns a device.
    #[must_use]
    pub fn get(&self, tenant: &str, device: &str) -> Option<&Device> {
        if self.devices.is_empty() {
            return None;
        }
        let is_it = |at: &usize| {
            self.devices
                .get(*at)
                .is_some_and(|known| known.device == device && known.tenant == tenant)
        };
        let at = self.index.find(key(tenant, device), is_it)?;
        self.devices.get(*at)
    }

    /// Returns the devices in the order of tenant and name.
    pub fn iter(&self) -> impl Iterator<Item = &Device> {
        self.devices.iter()
    }

    /// Returns how many devices there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.devices.len()
    }

    /// Returns whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.devices.is_empty()
    }
}

fn key(tenant: &str, device: &str) -> u64 {
    hash64_parts(&[tenant.as_bytes(), device.as_bytes()])
}

fn key_of(device: &Device) -> u64 {
    key(&device.tenant, &device.device)
}

/// Returns whether a text is a GB/T 2260 code: 6 digits, or 12 with town and village.
#[must_use]
pub fn is_region(text: &str) -> bool {
    matches!(text.len(), 6 | 12)
        && text.bytes().all(|byte| byte.is_ascii_digit())
        && !text.starts_with('0')
}

struct Reading<'a> {
    file: &'a str,
    problems: &'a Problems,
    header: Vec<String>,
    seen: BTreeSet<(String, String)>,
}

impl Reading<'_> {
    fn rows(&mut self, text: &str) -> Vec<Device> {
        let mut reader = csv::ReaderBuilder::new()
            .flexible(true)
            .has_headers(false)
            .trim(csv::Trim::All)
            .from_reader(text.as_bytes());
        let mut row = csv::StringRecord::new();
        let mut devices = Vec::new();
        let mut is_header = true;
        while match reader.read_record(&mut row) {
            Ok(more) => more,
            Err(error) => {
                self.problem(
                    None,
                    ("", ""),
                    say("registry.csv", &[("why", &error)]),
                    say("registry.csv.remedy", &[]),
                );
                false
            }
        } {
            let line = row.position().and_then(|at| u32::try_from(at.line()).ok());
            if !is_header {
                devices.extend(self.device(&row, line));
            } else if !self.take_header(&row, line) {
                return devices;
            }
            is_header = false;
        }
        if is_header {
            self.no_device_column(None);
        }
        devices
    }

    fn take_header(&mut self, row: &csv::StringRecord, line: Option<u32>) -> bool {
        self.header = row.iter().map(str::to_owned).collect();
        let mut names = BTreeSet::new();
        for name in &self.header {
            if name.is_empty() || !names.insert(name) {
                let what = say("registry.header", &[("name", name)]);
                self.problem(line, (name, ""), what, say("registry.header.remedy", &[]));
            }
        }
        let has_device = self.header.iter().any(|name| name == "device");
        if !has_device {
            self.no_device_column(line);
        }
        has_device
    }

    fn no_device_column(&self, line: Option<u32>) {
        let known: Vec<&str> = self.header.iter().map(String::as_str).collect();
        let remedy = match nearest("device", &known) {
            Some(near) => say("registry.no_device.near", &[("near", &near)]),
            None => say("registry.no_device.remedy", &[("columns", &COLUMNS.join(","))]),
        };
        self.problem(line, ("device", ""), say("registry.no_device", &[]), remedy);
    }

    fn device(&mut self, row: &csv::StringRecord, line: Option<u32>) -> Option<Device> {
        if row.len() != self.header.len() {
            let args: [(&str, &dyn std::fmt::Display); 2] =
                [("cells", &row.len()), ("columns", &self.header.len())];
            self.problem(
                line,
                ("", ""),
                say("registry.width", &args),
                say("registry.width.remedy", &args),
            );
            return None;
        }
        let cells =
            self.header.iter().map(String::as_str).zip(row).filter(|(_, cell)| !cell.is_empty());
        let columns: BTreeMap<String, String> =
            cells.map(|(name, cell)| (name.to_owned(), cell.to_owned())).collect();
        let get = |name: &str| columns.get(name).cloned();
        let tenant = get("tenant").unwrap_or_else(|| DEFAULT_TENANT.to_owned());
        let Some(device) = get("device") else {
            self.problem(
                line,
                ("device", ""),
                say("document.empty", &[]),
                say("registry.name.remedy", &[]),
            );
            return None;
        };
        let (lat, lon, region) = self.place(line, &columns);
        let names = [
            ("tenant", Some(&tenant)),
            ("device", Some(&device)),
            ("site", columns.get("site")),
            ("group", columns.get("group")),
        ];
        if !self.are_names(line, &names) {
            return None;
        }
        if !self.seen.insert((tenant.clone(), device.clone())) {
            let what = say("registry.twice", &[("tenant", &tenant)]);
            self.problem(line, ("device", &device), what, say("registry.twice.remedy", &[]));
            return None;
        }
        let (profile, site, name, group) = (get("profile"), get("site"), get("name"), get("group"));
        Some(Device { tenant, device, profile, site, lat, lon, region, name, group, columns })
    }

    fn are_names(&self, line: Option<u32>, names: &[(&str, Option<&String>)]) -> bool {
        let mut are_good = true;
        for (column, name) in names {
            let Some(name) = name.filter(|name| !is_name(name) || name.contains(['/', '+', '#']))
            else {
                continue;
            };
            are_good = false;
            let (what, remedy) = (say("registry.name", &[]), say("registry.name.remedy", &[]));
            self.problem(line, (column, name), what, remedy);
        }
        are_good
    }

    fn place(
        &self,
        line: Option<u32>,
        columns: &BTreeMap<String, String>,
    ) -> (Option<f64>, Option<f64>, Option<String>) {
        let (region, wrong) = match columns.get("region") {
            Some(region) if is_region(region) => (Some(region.clone()), None),
            written => (None, written),
        };
        if let Some(wrong) = wrong {
            let (what, remedy) = (say("registry.region", &[]), say("registry.region.remedy", &[]));
            self.problem(line, ("region", wrong), what, remedy);
        }
        if columns.contains_key("lat") != columns.contains_key("lon") {
            let (what, remedy) = (say("registry.half", &[]), say("registry.half.remedy", &[]));
            self.problem(line, ("lat", ""), what, remedy);
        }
        let lat = self.degrees(line, columns, ("lat", 90.0));
        (lat, self.degrees(line, columns, ("lon", 180.0)), region)
    }

    fn degrees(
        &self,
        line: Option<u32>,
        columns: &BTreeMap<String, String>,
        (name, most): (&str, f64),
    ) -> Option<f64> {
        let text = columns.get(name)?;
        let degrees = text.parse().ok().filter(|degrees: &f64| degrees.abs() <= most);
        if degrees.is_none() {
            let args: [(&str, &dyn std::fmt::Display); 1] = [("most", &most)];
            self.problem(
                line,
                (name, text),
                say("registry.degrees", &args),
                say("registry.degrees.remedy", &args),
            );
        }
        degrees
    }

    fn problem(&self, line: Option<u32>, (key, value): (&str, &str), what: Text, remedy: Text) {
        let (file, key) = (self.file.to_owned(), key.to_owned());
        self.problems.add(Problem { file, line, key, value: excerpt(value), what, remedy });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::Lang;

    fn parse(text: &str) -> (Registry, Vec<String>) {
        let problems = Problems::default();
        let registry = Registry::parse("devices.csv", text, &problems);
        let shown = problems.take().iter().map(|problem| problem.show(Lang::En)).collect();
        (registry, shown)
    }

    #[test]
    fn devices_are_found_by_tenant_and_name_and_listed_in_order() {
        let (registry, problems) = parse(
            "\u{feff}tenant,device,profile,site,lat,lon,region,name,group,depth_class\n\
             farm,s-02,soil-5in1,北田,34.76,113.65,410105,\"North, field\",g1,shallow\n\
             farm,s-01,,,,,410105001002,,,\n,s-01,,,,,,,,\n",
        );
        assert_eq!(problems, [] as [&str; 0]);
        let order: Vec<_> =
            registry.iter().map(|d| (d.tenant.as_str(), d.device.as_str())).collect();
        assert_eq!(order, [("default", "s-01"), ("farm", "s-01"), ("farm", "s-02")]);
        let found = registry.get("farm", "s-02").unwrap();
        assert_eq!(found.name.as_deref(), Some("North, field"));
        assert_eq!((found.lat, found.lon), (Some(34.76), Some(113.65)));
        assert_eq!(found.columns.get("depth_class").map(String::as_str), Some("shallow"));
        assert_eq!(registry.get("farm", "s-03"), None);
        assert_eq!(registry.len(), 3);
    }

    #[test]
    fn every_wrong_row_is_named_with_its_line_and_the_others_stay() {
        let (registry, problems) = parse(
            "tenant,device,lat,lon,region\n,a,91,0,\n,a,1,1,\n,b,x,0,\n,,1,1,\n,c,1,,41\n,d/e,1,1,\n,f,1\n,g,30,114,420106\n",
        );
        assert_eq!(
            problems,
            [
                "devices.csv:2: lat = 91: not a number of degrees within 90 -> write degrees as a decimal number from -90 to 90",
                "devices.csv:3: device = a: the device stands twice in tenant `default` -> remove one of the two rows",
                "devices.csv:4: lat = x: not a number of degrees within 90 -> write degrees as a decimal number from -90 to 90",
                "devices.csv:5: device: must not be empty -> write 1 to 256 bytes without `/`, `+`, `#` and control characters",
                "devices.csv:6: lat: only one of `lat` and `lon` is there -> give both, or none",
                "devices.csv:6: region = 41: not a GB/T 2260 code -> write 6 digits, or 12 down to the village",
                "devices.csv:7: device = d/e: not a name that a topic can carry -> write 1 to 256 bytes without `/`, `+`, `#` and control characters",
                "devices.csv:8: the row has 3 cells, the header 5 -> give it 5 cells (now 3); quote a text that has a comma in it",
            ]
        );
        let names: Vec<_> = registry.iter().map(|d| d.device.as_str()).collect();
        assert_eq!(names, ["a", "b", "c", "g"]);
        // What is kept of a row is right: `41` is no region.
        let regions: Vec<_> = registry.iter().map(|d| d.region.as_deref()).collect();
        assert_eq!(regions, [None, None, None, Some("420106")]);
    }

    #[test]
    fn a_file_without_the_device_column_is_one_problem() {
        for (text, remedy) in [
            ("tenant,devices\nx,y\n", "rename the column `devices`"),
            ("", "begin the file with `tenant,device,profile,site,lat,lon,region,name,group`"),
        ] {
            let (registry, problems) = parse(text);
            assert!(registry.is_empty());
            assert_eq!(problems.len(), 1);
            assert!(problems[0].ends_with(remedy), "{problems:?}");
        }
    }
}
