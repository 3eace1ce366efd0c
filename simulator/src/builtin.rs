//! The scenarios that come with the program.

/// Name and text of each.
pub(crate) const SCENARIOS: [(&str, &str); 4] = [
    ("demo", include_str!("../../packs/scenarios/demo.toml")),
    ("soil-fields", include_str!("../../packs/scenarios/soil-fields.toml")),
    ("traffic-corridor", include_str!("../../packs/scenarios/traffic-corridor.toml")),
    ("air-city", include_str!("../../packs/scenarios/air-city.toml")),
];

#[cfg(test)]
mod tests {
    use telemetry::document::Problems;

    use crate::Scenario;

    #[test]
    fn each_is_free_of_problems_and_named_as_its_file() {
        for (name, text) in super::SCENARIOS {
            let problems = Problems::default();
            let scenario = Scenario::parse(name, text, &problems);
            assert_eq!(problems.take(), [], "{name}");
            assert_eq!(scenario.unwrap().name, name);
        }
        assert_eq!(Scenario::list().count(), super::SCENARIOS.len());
        assert_eq!(Scenario::named("nothing"), None);
    }
}
